"""What `check_journal` finds, and that it changes nothing."""

from __future__ import annotations

import os
import struct

import pytest

from aioqueue.clock import ManualClock
from aioqueue.errors import JournalInUse, JournalNewer, NotAJournal
from aioqueue.journal import check
from aioqueue.journal.check import check_journal
from aioqueue.journal.sqlite import SqliteJournal


@pytest.fixture
async def closed(place, fill):
    """A journal of an epoch record and nine batches, then a second epoch; closed."""
    journal = await place.open()
    await fill(journal, 9)
    await journal.lead("again", 1)
    await journal.aclose()
    return place


def files_of(place):
    return {name: (place.path.parent / name).read_bytes() for name in os.listdir(place.path.parent)}


async def test_a_sound_journal_is_told_in_full(closed):
    seen = []
    report = await check_journal(closed.path, seen.append, ManualClock())
    journal = await closed.open()
    read = [batch async for batch in journal.read(0)]
    assert seen == read
    assert report.ok
    assert report.problems == []
    assert report.path == str(closed.path)
    assert report.journal_id == (await journal.lead("me", 1)).journal_id.hex()
    assert (report.format, report.epoch, report.batches) == (1, 2, 11)
    assert (report.first_position, report.last_position) == (1, 11)
    assert report.events_bytes == sum(len(batch.events) for batch in read)
    assert report.bodies_bytes == sum(len(batch.bodies) for batch in read) > 0


async def test_a_journal_without_batches_is_sound(place):
    await (await place.open()).aclose()
    report = await check_journal(place.path)
    assert (report.ok, report.batches, report.first_position, report.last_position) == (True, 0, 0, 0)


async def test_a_trimmed_journal_is_sound(place, fill):
    journal = await place.open()
    await fill(journal, 9)
    await journal.trim(5)
    await journal.aclose()
    report = await check_journal(place.path)
    assert (report.ok, report.batches, report.first_position, report.last_position) == (True, 6, 5, 10)


async def test_checking_changes_nothing(closed):
    closed.damage(4, lambda data: data[:-1])
    before = files_of(closed)
    await check_journal(closed.path)
    assert {**files_of(closed), "journal.lock": b""} == {**before, "journal.lock": b""}


@pytest.mark.parametrize(
    ("damage", "problems"),
    [
        (lambda place: place.damage(4, lambda data: data[:-1] + b"?"), ["batch 4: its hash does not fit its bytes"]),
        (
            lambda place: place.damage(4, lambda data: data[:50]),
            ["batch 4: it is 50 bytes, shorter than a header of 92"],
        ),
        (lambda place: place.drop(4), ["batch 4 is missing before batch 5"]),
        (lambda place: (place.drop(1), place.drop(2)), ["batches 1 to 2 are missing before batch 3"]),
        (
            lambda place: place.swap(4, 5),
            ["at position 4 stands batch 5", "at position 5 stands batch 4"],
        ),
        (
            lambda place: (place.damage(4, lambda data: data[:-1]), place.drop(8)),
            ["batch 4: its payload is 21 bytes, its header says 22", "batch 8 is missing before batch 9"],
        ),
    ],
    ids=["flipped", "torn", "dropped", "first dropped", "swapped", "two"],
)
async def test_damage_is_listed_and_the_rest_still_verified(closed, damage, problems):
    damage(closed)
    report = await check_journal(closed.path)
    assert not report.ok
    assert report.problems == problems
    assert report.batches >= 8


async def test_a_row_that_tells_another_place_of_its_bodies_is_listed(closed):
    with closed.raw() as database:
        database.execute("UPDATE batches SET bodies_at = 7 WHERE position = 4")
    report = await check_journal(closed.path)
    assert report.problems == ["batch 4: its row says that the bodies begin at 7"]


async def test_a_row_that_holds_no_bytes_is_listed(closed):
    with closed.raw() as database:
        database.execute("UPDATE batches SET data = 'text' WHERE position = 4")
    report = await check_journal(closed.path)
    assert report.problems == ["batch 4: a str is stored in its place"]


async def test_all_batches_missing_behind_a_trim_is_listed(place, fill):
    journal = await place.open()
    await fill(journal, 4)
    await journal.trim(4)
    await journal.aclose()
    place.drop(4)
    place.drop(5)
    report = await check_journal(place.path)
    assert report.problems[0] == "all batches from 4 on are missing"


async def test_one_bad_page_hides_no_other_batch(place):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    for number in range(20):
        await journal.append(leadership.chain.encode(1, b"", [bytes([number]) * 10_000]), 1 + number)
    await journal.aclose()
    data = bytearray(place.path.read_bytes())
    # The last page of a chain of overflow pages: four bytes that are zero, then the batch's own.
    at = data.index(struct.pack(">I", 0) + bytes([7]) * 500)
    data[at : at + 4] = b"\xff" * 4
    data[at + 4 : at + 100] = b"\xff" * 96
    place.path.write_bytes(data)
    report = await check_journal(place.path)
    assert not report.ok
    assert any(problem.startswith("SQLite: ") for problem in report.problems)
    assert any(problem.startswith("batch 9") for problem in report.problems)
    assert report.batches == 20


async def test_pages_that_make_no_sense_are_listed_not_raised(closed):
    data = closed.path.read_bytes()
    closed.path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    report = await check_journal(closed.path)
    assert not report.ok
    assert report.path == str(closed.path)


async def test_a_journal_without_origin_is_listed_not_raised(closed):
    with closed.raw() as database:
        database.execute("DELETE FROM journal")
    report = await check_journal(closed.path)
    assert len(report.problems) == 1
    assert "its origin" in report.problems[0]


async def test_a_list_of_damage_has_an_end(place, fill, monkeypatch):
    monkeypatch.setattr(check, "CHECK_PROBLEMS_MAX", 3)
    journal = await place.open()
    await fill(journal, 9)
    await journal.aclose()
    for position in range(2, 10):
        place.damage(position, lambda data: data[:-1])
    assert len((await check_journal(place.path)).problems) == 3


@pytest.mark.parametrize("error", [ValueError("no such job"), NotAJournal("no such job")])
async def test_what_the_visitor_refuses_is_a_problem_of_that_batch(closed, error):
    def visit(batch):
        if batch.position == 3:
            raise error

    report = await check_journal(closed.path, visit)
    assert report.problems == ["batch 3: no such job"]
    assert report.batches == 11


async def test_a_visitor_that_meets_a_newer_record_ends_the_check(closed):
    def visit(batch):
        raise JournalNewer(path="here", found="record 99", known="record 9")

    with pytest.raises(JournalNewer):
        await check_journal(closed.path, visit)
    await closed.open()


async def test_a_missing_file_is_a_clear_error_and_is_not_made(tmp_path):
    with pytest.raises(NotAJournal, match="there is no such file"):
        await check_journal(tmp_path / "journal")
    assert os.listdir(tmp_path) == []


async def test_a_journal_in_use_is_not_checked(place):
    await place.open()
    with pytest.raises(JournalInUse, match=str(os.getpid())):
        await check_journal(place.path)


async def test_a_journal_is_free_again_after_its_check(closed):
    await check_journal(closed.path)
    await (await SqliteJournal.open(closed.path, ManualClock())).aclose()
