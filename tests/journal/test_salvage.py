"""What is found of damaged journals: everything that was not itself hit, wherever it stands."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import msgspec
import pytest

from aioqueue.errors import JournalError, JournalInUse, JournalNewer, NotAJournal
from aioqueue.journal.mark import MarkFile
from aioqueue.journal.salvage import Gap, remains
from aioqueue.journal.wal import FRAME_BYTES, HEADER_BYTES
from tests.journal.killed import EVERYTHING, live_and_die, sample

pytestmark = pytest.mark.timeout(0 if EVERYTHING else 300)

# Rows that stand on their leaf alone, that leave some of them there, and that leave the least.
SIZES = (10, 3_000, 9_000, 4_150, 100, 20, 6_000)
PAGE = 4_096


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A journal with one life in its file and another in its log."""
    return live_and_die(tmp_path_factory.mktemp("lived"), (100, 6_000, 30, 20_000), SIZES)


@pytest.fixture
def killed(lived, tmp_path):
    return msgspec.structs.replace(lived, folder=tmp_path / "killed")


def found(path):
    """The batch ids by position, and the gaps."""
    with remains(path, 1) as left:
        items = list(left.read())
    batches = {item.position: item.batch_id.hex() for item in items if not isinstance(item, Gap)}
    return batches, [item for item in items if isinstance(item, Gap)]


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]


async def test_a_sound_journal_is_found_whole(place, fill, collect):
    journal = await place.open()
    await fill(journal, 300, bodies=40)
    read = await collect(journal)
    await journal.aclose()
    with remains(place.path, 1) as left:
        assert list(left.read()) == read
        assert (left.last, left.journal_id) == (301, journal._handle.journal_id)


def test_a_killed_journal_is_found_whole_and_left_as_it_is(killed):
    path = killed.lay_out()
    before = killed.files()
    assert found(path) == (killed.acknowledged, [])
    assert killed.files() == before


async def test_appends_behind_a_bad_frame_are_found_though_sqlite_drops_them(killed):
    path = killed.lay_out(log=flipped(killed.log, HEADER_BYTES + 24 + 3_000), mark=b"")
    with closing(sqlite3.connect(path)) as database:
        ((last,),) = database.execute("SELECT max(position) FROM batches")
    assert last == 5
    path = killed.lay_out(log=flipped(killed.log, HEADER_BYTES + 24 + 3_000))
    batches, gaps = found(path)
    assert max(batches) == max(killed.acknowledged)
    assert len(gaps) <= 1


@pytest.mark.faults
@pytest.mark.slow
def test_one_bad_byte_of_the_log_costs_one_batch_at_most(killed):
    for at in sample(range(len(killed.log)), 150):
        batches, gaps = found(killed.lay_out(log=flipped(killed.log, at)))
        lost = killed.acknowledged.keys() - batches.keys()
        assert batches.items() <= killed.acknowledged.items()
        assert {position for gap in gaps for position in range(gap.first, gap.last + 1)} == lost, at
        assert len(lost) <= 1, at


@pytest.mark.faults
@pytest.mark.slow
def test_one_bad_page_of_the_file_costs_what_began_or_went_on_there(killed):
    for at in range(0, len(killed.file), PAGE):
        batches, gaps = found(killed.lay_out(file=killed.file[:at] + bytes(PAGE) + killed.file[at + PAGE :]))
        assert batches.items() <= killed.acknowledged.items()
        lost = killed.acknowledged.keys() - batches.keys()
        # What is in the log is found there.
        assert lost <= set(range(1, 6)), at
        assert {position for gap in gaps for position in range(gap.first, gap.last + 1)} == lost


def test_without_its_log_a_journal_is_found_as_far_as_its_file_goes_and_the_mark_tells_the_rest(killed):
    batches, gaps = found(killed.lay_out(log=b""))
    last = max(killed.acknowledged)
    assert max(batches) == 5
    assert gaps == [Gap(6, last, "nothing of it was found")]
    assert str(gaps[0]) == f"batches 6 to {last}: nothing of it was found"


def test_with_a_bad_header_the_log_is_found_all_the_same(killed):
    path = killed.lay_out(log=bytes(HEADER_BYTES) + killed.log[HEADER_BYTES:])
    assert found(path) == (killed.acknowledged, [])


def test_with_its_first_page_gone_a_journal_is_still_found(killed):
    log = killed.log[:HEADER_BYTES]
    batches, _ = found(killed.lay_out(file=bytes(PAGE) + killed.file[PAGE:], log=log, mark=b""))
    assert sorted(batches) == [1, 2, 3, 4, 5]


def test_frames_in_any_order_are_found(killed):
    frames = [killed.log[at : at + FRAME_BYTES] for at in range(HEADER_BYTES, len(killed.log), FRAME_BYTES)]
    path = killed.lay_out(log=killed.log[:HEADER_BYTES] + b"".join(reversed(frames)))
    assert found(path) == (killed.acknowledged, [])


def test_frames_that_do_not_verify_hide_no_page_that_does(killed):
    pages = range(1, len(killed.file) // PAGE + 20)
    garbage = b"".join(page.to_bytes(4, "big") + bytes(20) + os.urandom(PAGE) for page in pages)
    path = killed.lay_out(log=killed.log + garbage)
    assert found(path) == (killed.acknowledged, [])


async def test_damage_is_told_with_its_reason(place, fill):
    journal = await place.open()
    await fill(journal, 9)
    await journal.aclose()
    with closing(sqlite3.connect(place.path, isolation_level=None)) as database:
        # The pages of what is deleted would tell of it for a while.
        database.execute("PRAGMA secure_delete = ON")
        (data,) = database.execute("SELECT data FROM batches WHERE position = 4").fetchone()
        database.execute("UPDATE batches SET data = ? WHERE position = 4", (data[:-1] + b"?",))
        database.execute("DELETE FROM batches WHERE position IN (7, 8)")
    batches, gaps = found(place.path)
    assert gaps == [Gap(4, 4, "its hash does not fit its bytes"), Gap(7, 8, "nothing of it was found")]
    assert str(gaps[0]) == "batch 4: its hash does not fit its bytes"
    assert sorted(batches) == [1, 2, 3, 5, 6, 9, 10]


async def test_a_batch_that_does_not_follow_is_lost(place, fill, tmp_path):
    journal = await place.open()
    await fill(journal, 3)
    await journal.aclose()
    for statement in (
        "UPDATE batches SET position = -1 WHERE position = 2",
        "UPDATE batches SET position = 2 WHERE position = 3",
        "UPDATE batches SET position = 3 WHERE position = -1",
    ):
        with place.raw() as database:
            database.execute("PRAGMA secure_delete = ON")
            database.execute(statement)
    batches, gaps = found(place.path)
    assert sorted(batches) == [1, 4]
    assert gaps == [Gap(2, 3, "nothing of it was found")]


async def test_batches_of_another_journal_are_not_mixed_in(place, fill, tmp_path, killed):
    journal = await place.open()
    await fill(journal, 20)
    await journal.aclose()
    # The log of another journal came beside this file.
    os.rename(killed.lay_out().with_name("journal-wal"), f"{place.path}-wal")
    with remains(place.path, 1) as left:
        assert left.journal_id == journal._handle.journal_id
        assert [item.position for item in left.read()] == list(range(1, 22))


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_bytes(os.urandom(20_000)), None])
def test_where_no_batch_is_nothing_can_be_salvaged(tmp_path, make):
    path = tmp_path / "journal"
    if make:
        make(path)
    with pytest.raises(NotAJournal), remains(path, 1):
        pass


async def test_a_journal_in_use_is_not_salvaged(place):
    await place.open()
    with pytest.raises(JournalInUse), remains(place.path, 1):
        pass


async def test_a_newer_journal_is_left_alone(place, fill):
    journal = await place.open()
    await fill(journal, 1)
    await journal.aclose()
    with place.raw() as database:
        database.execute("PRAGMA user_version = 2")
    with pytest.raises(JournalNewer), remains(place.path, 1):
        pass


async def test_a_log_that_cannot_be_read_is_a_clear_error(place, fill):
    journal = await place.open()
    await fill(journal, 1)
    await journal.aclose()
    os.mkdir(f"{place.path}-wal")
    with pytest.raises(JournalError, match="it cannot be read"), remains(place.path, 1):
        pass


def test_a_mark_of_another_journal_says_nothing_of_this_one(killed):
    path = killed.lay_out(mark=b"")
    mark = MarkFile.open(str(path), bytes(16))
    mark.write(10**12)
    mark.close()
    assert found(path) == (killed.acknowledged, [])
