"""How the journal's file is opened and closed: settings in force, strangers refused, nothing changed unasked."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import struct
import zlib
from contextlib import closing

import pytest

from aioqueue.clock import ManualClock
from aioqueue.errors import HistoryLost, JournalDamaged, JournalError, JournalInUse, JournalNewer, NotAJournal
from aioqueue.journal import files
from aioqueue.journal.batch import HEADER_BYTES, BatchKind
from aioqueue.journal.check import check_journal
from aioqueue.journal.sqlite import SqliteJournal


def contents(directory):
    """Every file beside the journal, byte for byte, save the lock."""
    return {
        name: (directory / name).read_bytes() for name in sorted(os.listdir(directory)) if not name.endswith(".lock")
    }


def crashed(path, tmp_path):
    """A copy of an open journal's files, as a power cut would leave them."""
    directory = tmp_path / "crashed"
    directory.mkdir()
    for name in ("journal", "journal-wal"):
        shutil.copy(path.with_name(name), directory / name)
    return directory / "journal"


def rewrite(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


def newer_batch(data):
    """The batch as a later format would begin it: another number, a CRC that fits."""
    head = bytearray(data[: HEADER_BYTES - 4])
    head[4] = 2
    return bytes(head) + struct.pack(">I", zlib.crc32(bytes(head))) + data[HEADER_BYTES:]


async def opened(path):
    return await SqliteJournal.open(path, ManualClock())


async def pragma(journal, name):
    return (await journal._connection.execute(f"PRAGMA {name}"))[0][0]


async def test_the_settings_are_really_in_force(place, fill):
    journal = await place.open()
    await fill(journal, 1)
    assert {
        name: await pragma(journal, name)
        for name in (
            "journal_mode",
            "synchronous",
            "locking_mode",
            "wal_autocheckpoint",
            "auto_vacuum",
            "application_id",
            "user_version",
            "page_size",
        )
    } == {
        "journal_mode": "wal",
        "synchronous": 2,
        "locking_mode": "exclusive",
        "wal_autocheckpoint": 0,
        "auto_vacuum": 2,
        "application_id": 0x61696F71,
        "user_version": 1,
        "page_size": 4096,
    }
    assert journal._connection._database.isolation_level is None


async def test_no_other_program_reads_or_writes_an_open_journal(place, fill):
    await fill(await place.open(), 1)
    with (
        closing(sqlite3.connect(place.path, timeout=0)) as database,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        database.execute("SELECT * FROM batches")


async def test_an_open_journal_shares_no_memory_file(place, fill):
    await fill(await place.open(), 1)
    assert sorted(os.listdir(place.path.parent)) == ["journal", "journal-wal", "journal.lock", "journal.mark"]


async def test_a_closed_journal_is_one_file_and_its_mark(place, fill):
    journal = await place.open()
    await fill(journal, 1)
    await journal.aclose()
    assert list(contents(place.path.parent)) == ["journal", "journal.mark"]


async def test_a_journal_held_by_another_program_is_in_use(place, child):
    await (await place.open()).aclose()
    holder = await child("foreign", place.path)
    assert await holder.stdout.readline() == b"held\n"
    with pytest.raises(JournalInUse, match="a program other than aioqueue"):
        await place.open()


async def test_a_second_process_is_told_who_owns_the_journal(place, child):
    owner = await child("hold", place.path)
    assert await owner.stdout.readline() == b"open\n"
    with pytest.raises(JournalInUse) as caught:
        await place.open()
    assert caught.value.pid == owner.pid
    owner.stdin.close()
    assert await owner.stdout.readline() == b"closed\n"
    await place.open()


async def test_a_link_to_a_journal_is_the_same_journal(place, tmp_path):
    await place.open()
    link = tmp_path / "link"
    link.symlink_to(place.path)
    with pytest.raises(JournalInUse):
        await opened(link)


async def test_an_open_that_was_refused_lets_go_of_the_lock(place):
    await (await place.open()).aclose()
    rewrite(place.path, "PRAGMA user_version = 2")
    with pytest.raises(JournalNewer):
        await place.open()
    rewrite(place.path, "PRAGMA user_version = 1")
    await place.open()


async def test_an_open_that_was_cancelled_lets_go_of_the_lock(place):
    cancelled = 0
    for turns in range(12):
        opening = asyncio.create_task(place.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait({opening})
        cancelled += opening.cancelled()
        if not opening.cancelled():
            await opening.result().aclose()
        # The thread that locks may still be at it; it lets go when it is done.
        while True:
            try:
                await (await place.open()).aclose()
                break
            except JournalInUse:
                await asyncio.sleep(0)
    assert cancelled > 1


async def test_a_journal_that_was_only_checked_or_read_stays_byte_for_byte(place, fill, collect, tmp_path):
    await fill(await place.open(), 20)
    path = crashed(place.path, tmp_path)
    before = contents(path.parent)
    assert len(before["journal-wal"]) > 0
    assert (await check_journal(path)).batches == 21
    assert contents(path.parent) == before
    journal = await opened(path)
    assert len(await collect(journal)) == 21
    await journal.aclose()
    assert contents(path.parent) == before


async def test_a_newer_file_is_refused_byte_for_byte(place, fill):
    journal = await place.open()
    await fill(journal, 1)
    await journal.aclose()
    rewrite(place.path, "PRAGMA user_version = 2")
    before = contents(place.path.parent)
    with pytest.raises(JournalNewer, match="format 2"):
        await place.open()
    assert contents(place.path.parent) == before


async def test_a_newer_format_that_is_only_in_the_log_is_refused_byte_for_byte(place, fill, tmp_path):
    journal = await place.open()
    await fill(journal, 1)
    await journal._connection.execute("PRAGMA user_version = 2")
    path = crashed(place.path, tmp_path)
    before = contents(path.parent)
    assert before["journal"][60:64] == b"\0\0\0\1"
    for refused in (opened(path), check_journal(path)):
        with pytest.raises(JournalNewer, match="format 2"):
            await refused
        assert contents(path.parent) == before


async def test_a_newer_last_batch_is_refused_byte_for_byte(place, fill, tmp_path):
    journal = await place.open()
    data = (await fill(journal, 1))[0]
    await journal._connection.execute("UPDATE batches SET data = ? WHERE position = 2", (newer_batch(data),))
    path = crashed(place.path, tmp_path)
    before = contents(path.parent)
    with pytest.raises(JournalNewer, match="batch format 2"):
        await opened(path)
    assert contents(path.parent) == before


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "it is a directory"),
        (os.mkfifo, "it is no regular file"),
        (lambda path: path.write_bytes(b"hello"), "some other kind of file"),
        (lambda path: path.write_bytes(b"x" * 5_000), "some other kind of file"),
        (lambda path: rewrite(path, "CREATE TABLE theirs (x)"), "another program's SQLite file"),
    ],
    ids=["directory", "pipe", "short", "text", "sqlite"],
)
async def test_what_is_no_journal_is_refused_and_left_alone(tmp_path, make, words):
    path = tmp_path / "journal"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for refused in (opened(path), check_journal(path)):
        with pytest.raises(NotAJournal, match=words):
            await refused
        assert os.listdir(tmp_path) == ["journal"]
        assert before is None or path.read_bytes() == before


async def test_a_directory_that_does_not_exist_is_a_clear_error(tmp_path):
    with pytest.raises(NotAJournal, match="its directory does not exist"):
        await opened(tmp_path / "nowhere" / "journal")


async def test_any_file_name_will_do(tmp_path, fill, collect):
    path = tmp_path / "a b?mode=ro&x=%41#c;'\u00e9\n.db"
    journal = await opened(path)
    await fill(journal, 1)
    await journal.aclose()
    assert sorted(os.listdir(tmp_path)) == [path.name, path.name + ".lock", path.name + ".mark"]
    journal = await opened(path)
    assert len(await collect(journal)) == 2
    await journal.aclose()


async def test_an_empty_file_becomes_a_journal(tmp_path, fill, collect):
    path = tmp_path / "journal"
    path.touch()
    journal = await opened(path)
    await fill(journal, 1)
    await journal.aclose()
    journal = await opened(path)
    assert [batch.kind for batch in await collect(journal)] == [BatchKind.EPOCH, BatchKind.EVENTS]
    await journal.aclose()


async def test_a_log_without_its_file_is_lost_history(place, fill, tmp_path):
    await fill(await place.open(), 3)
    path = crashed(place.path, tmp_path)
    for damage in (lambda: os.truncate(path, 0), path.unlink):
        damage()
        before = contents(path.parent)
        with pytest.raises(HistoryLost, match="-wal is still there"):
            await opened(path)
        assert contents(path.parent) == before


async def test_what_an_interrupted_creation_left_behind_is_no_hindrance(place, fill, collect):
    for name in ("journal.new", "journal.new-wal", "journal.new-journal"):
        place.path.with_name(name).write_bytes(b"half")
    journal = await place.open()
    await fill(journal, 1)
    await journal.aclose()
    assert list(contents(place.path.parent)) == ["journal", "journal.mark"]


def test_creating_where_nothing_can_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "journal.new").mkdir()
    with pytest.raises(JournalError, match="it cannot be created"):
        files.create(str(tmp_path / "journal"))


async def test_a_file_with_other_settings_is_refused(tmp_path):
    path = tmp_path / "journal"
    rewrite(path, *(statement for statement in files._CREATE if "auto_vacuum" not in statement))
    with pytest.raises(JournalDamaged, match="its settings"):
        await opened(path)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM journal",
        "UPDATE journal SET id = x'00'",
        "UPDATE journal SET first = 0",
        "UPDATE journal SET before = x''",
        "DROP TABLE batches",
    ],
)
async def test_a_file_without_its_origin_is_refused(place, fill, damage):
    journal = await place.open()
    await fill(journal, 1)
    await journal.aclose()
    rewrite(place.path, damage)
    with pytest.raises(JournalError):
        await place.open()


async def test_pages_that_make_no_sense_are_damage(place, fill, collect):
    journal = await place.open()
    await fill(journal, 500, bodies=40)
    await journal.aclose()
    data = bytearray(place.path.read_bytes())
    data[4096 * 5 :] = bytes(len(data) - 4096 * 5)
    place.path.write_bytes(data)
    with pytest.raises(JournalDamaged):
        await collect(await place.open())
