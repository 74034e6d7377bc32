"""An archive goes over to another journal: all that verifies, under its id, and the source as it was."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from aioqueue.archive.adopt import Adopted, adopt_archive
from aioqueue.archive.base import Tombstone
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.errors import AlreadyThere, ArchiveFailed, NotAJournal
from tests.support.finished import act, ended, finished, job_id, logged

OLD, NEW = b"o" * 16, b"n" * 16


@pytest.fixture
async def source(tmp_path: Path) -> Path:
    """The archive of twenty jobs with a run each, up to position 50."""
    path = tmp_path / "old-archive"
    archive = await SqliteArchive.open(path, journal_id=OLD)
    await archive.write([finished(number) for number in range(20)], [ended(number) for number in range(20)], [], 50)
    await archive.aclose()
    return path


def adopt(source: Path, position: int = 30) -> Adopted:
    return adopt_archive(str(source), str(source.with_name("new-archive")), old_id=OLD, new_id=NEW, position=position)


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


async def test_all_rows_go_over_and_the_source_stays_as_it_was(source: Path) -> None:
    before = source.read_bytes()
    assert adopt(source) == Adopted(20, 0)
    assert sorted(os.listdir(source.parent)) == ["new-archive", "old-archive"]
    assert source.read_bytes() == before
    archive = await SqliteArchive.open(source.with_name("new-archive"), journal_id=NEW)
    assert archive.synced == 30
    found = await archive.get([job_id(number) for number in range(20)])
    assert found == {job_id(number): finished(number) for number in range(20)}
    assert await archive.runs(job_id(3)) == [ended(3)]
    await archive.aclose()


@pytest.mark.usefixtures("open_umask")
async def test_a_copy_is_for_its_owner_alone_whatever_the_source_was(source: Path) -> None:
    source.chmod(0o644)
    adopt(source)
    assert stat.S_IMODE(source.with_name("new-archive").stat().st_mode) == 0o600


async def test_acts_and_logs_go_over_and_those_that_do_not_read_are_left_out(source: Path) -> None:
    archive = await SqliteArchive.open(source, journal_id=OLD)
    acts, logs = [act(number) for number in range(4)], [logged(3, part) for part in range(3)]
    await archive.write([], [], [], 51, acts, logs)
    await archive.aclose()
    change(source, "UPDATE acts SET at_ms = 7 WHERE number = 1", "UPDATE logs SET row = zeroblob(9) WHERE number = 2")
    assert adopt(source) == Adopted(20, 2)
    archive = await SqliteArchive.open(source.with_name("new-archive"), journal_id=NEW)
    assert await archive.acts(10, b"") == (acts[:0:-1], b"")
    assert await archive.logs(job_id(3)) == logs[:2]
    await archive.aclose()


async def test_it_is_never_ahead_of_what_it_had(source: Path) -> None:
    adopt(source, 1_000)
    archive = await SqliteArchive.open(source.with_name("new-archive"), journal_id=NEW)
    assert archive.synced == 50
    await archive.aclose()


async def test_what_is_only_in_the_log_goes_over_too(source: Path) -> None:
    archive = await SqliteArchive.open(source, journal_id=OLD)
    await archive.write([finished(99)], [], [], 60)
    killed = source.with_name("killed-archive")
    for suffix in ("", "-wal"):
        shutil.copy(f"{source}{suffix}", f"{killed}{suffix}")
    await archive.aclose()
    assert adopt(killed) == Adopted(21, 0)


async def test_rows_that_do_not_read_are_left_out_and_counted(source: Path) -> None:
    archive = await SqliteArchive.open(source, journal_id=OLD)
    day_ms = 86_400_000
    assert await archive.retain(finished(5).finished_ms + 40 * day_ms, 3, 1 << 40) > 0
    tombs = [key for key, row in (await archive.get([job_id(n) for n in range(20)])).items() if type(row) is Tombstone]
    await archive.aclose()
    assert tombs
    change(
        source,
        "UPDATE jobs SET row = zeroblob(30) WHERE number = (SELECT max(number) FROM jobs)",
        "UPDATE jobs SET ended_ms = 7 WHERE number = (SELECT max(number) - 1 FROM jobs)",
        "UPDATE runs SET row = x'00' WHERE id = (SELECT max(id) FROM runs)",
        "UPDATE tombstones SET seal = 1 WHERE number = (SELECT min(number) FROM tombstones)",
    )
    assert adopt(source).left_out == 4
    assert adopt_again(source) == 0


def adopt_again(source: Path) -> int:
    """What the copy itself would leave out."""
    again = adopt_archive(
        str(source.with_name("new-archive")), str(source.with_name("newer-archive")), old_id=NEW, new_id=OLD, position=1
    )
    return again.left_out


async def test_the_archive_of_another_journal_does_not_go_over(source: Path) -> None:
    with pytest.raises(NotAJournal, match="it belongs to journal"):
        adopt_archive(str(source), str(source.with_name("new-archive")), old_id=NEW, new_id=OLD, position=1)
    assert os.listdir(source.parent) == ["old-archive"]


async def test_an_archive_whose_pages_are_damaged_does_not_go_over(source: Path) -> None:
    data = bytearray(source.read_bytes())
    data[4_096 * 3 : 4_096 * 4] = b"\xff" * 4_096
    source.write_bytes(data)
    with pytest.raises(ArchiveFailed):
        adopt(source)
    assert os.listdir(source.parent) == ["old-archive"]


async def test_nothing_is_written_over(source: Path) -> None:
    source.with_name("new-archive").write_bytes(b"mine")
    with pytest.raises(AlreadyThere):
        adopt(source)
    assert source.with_name("new-archive").read_bytes() == b"mine"
