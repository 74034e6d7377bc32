"""The mark: what it is the witness of, and what it is not."""

from __future__ import annotations

import logging
import os
import struct
import zlib

import pytest

from aioqueue.errors import HistoryLost, JournalError
from aioqueue.journal.check import check_journal
from aioqueue.journal.mark import MARK_BYTES, Mark, MarkFile, check_mark, check_no_mark, missing_by_mark, read_mark

ID = bytes(range(16))


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "journal")


def mark(path, position=7, journal_id=ID):
    file = MarkFile.open(path, journal_id)
    file.write(position)
    file.close()


def mark_bytes(fields):
    return fields + struct.pack(">I", zlib.crc32(fields))


def test_what_was_marked_is_read_again(path):
    mark(path, 3)
    mark(path, 2**40)
    assert read_mark(path) == Mark(ID, 2**40)
    assert os.path.getsize(path + ".mark") == MARK_BYTES


def test_the_bytes_are_those_of_the_document(path):
    mark(path, 258)
    with open(path + ".mark", "rb") as file:
        assert file.read() == mark_bytes(b"AQMK\x01\0\0\0" + ID + b"\0\0\0\0\0\0\x01\x02")


def test_no_mark_is_none(path):
    assert read_mark(path) is None
    check_mark(path, ID, 0)
    check_no_mark(path)


@pytest.mark.parametrize("at", range(MARK_BYTES))
def test_a_mark_with_any_byte_changed_is_of_no_use(path, at, caplog):
    mark(path)
    with open(path + ".mark", "r+b") as file:
        byte = file.read()[at]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    assert isinstance(read_mark(path), str)
    with caplog.at_level(logging.WARNING):
        check_mark(path, bytes(16), 0)
    assert "is of no use" in caplog.text
    check_no_mark(path)


@pytest.mark.parametrize("data", [b"", b"AQMK", bytes(MARK_BYTES), bytes(MARK_BYTES + 1), bytes(1_000)])
def test_what_is_no_mark_is_said_to_be_none(path, data):
    with open(path + ".mark", "wb") as file:
        file.write(data)
    assert isinstance(read_mark(path), str)
    mark(path)
    assert read_mark(path) == Mark(ID, 7)


@pytest.mark.parametrize("fields", [b"AQMK\x02\0\0\0", b"MARK\x01\0\0\0"])
def test_a_mark_of_another_kind_is_of_no_use(path, fields):
    with open(path + ".mark", "wb") as file:
        file.write(mark_bytes(fields + bytes(24)))
    assert "begins with" in str(read_mark(path))


def test_a_mark_that_cannot_be_read_or_opened_says_why(path):
    os.mkdir(path + ".mark")
    assert str(read_mark(path)).startswith("it cannot be read")
    with pytest.raises(JournalError, match="its mark cannot be opened"):
        MarkFile.open(path, ID)


def test_a_journal_that_ends_below_its_mark_has_lost_history(path):
    mark(path, 7)
    for tail in (7, 8):
        check_mark(path, ID, tail)
    for tail in (0, 6):
        with pytest.raises(
            HistoryLost, match=rf"batch 7 was durable, as .*\.mark says, but the journal ends at {tail}"
        ):
            check_mark(path, ID, tail)


def test_a_mark_of_another_journal_is_refused_with_the_way_out(path):
    reason = missing_by_mark(path, Mark(ID, 7), bytes(16), 100)
    assert "belongs to journal 000102030405060708090a0b0c0d0e0f, which had 7 batches" in reason
    assert "remove that file if this is the journal you mean" in reason


def test_a_mark_that_cannot_be_written_is_given_up_once(path, caplog):
    mark(path, 3)
    file = MarkFile.open(path, ID)
    read_only = os.open(path + ".mark", os.O_RDONLY)
    os.dup2(read_only, file._descriptor)
    os.close(read_only)
    for position in (4, 5):
        file.write(position)
    file.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert read_mark(path) == Mark(ID, 3)


async def test_an_append_is_marked_before_anybody_is_told(place):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    path = journal.path
    assert read_mark(path) == Mark(leadership.journal_id, 1)
    position = 1
    for _ in range(3):
        position = await journal.append(leadership.chain.encode(1, b"one"), position)
        assert read_mark(path).position == position


async def test_a_journal_that_is_only_read_is_not_marked(place, fill, collect):
    journal = await place.open()
    await fill(journal, 2)
    await journal.aclose()
    os.unlink(f"{place.path}.mark")
    journal = await place.open()
    await collect(journal)
    await journal.aclose()
    assert read_mark(str(place.path)) is None


async def test_a_last_batch_that_is_gone_is_noticed_at_the_start(place, fill):
    journal = await place.open()
    await fill(journal, 3)
    await journal.aclose()
    place.drop(4)
    with pytest.raises(HistoryLost, match="batch 4 was durable"):
        await place.open()
    report = await check_journal(place.path)
    assert [problem[:25] for problem in report.problems] == ["mark: batch 4 was durable"]
    assert report.last_position == 3


async def test_a_journal_that_is_gone_is_noticed_at_the_start(place, fill):
    journal = await place.open()
    await fill(journal, 3)
    await journal.aclose()
    for damage in (lambda: os.truncate(place.path, 0), place.path.unlink):
        damage()
        with pytest.raises(HistoryLost, match=r"one of 4 batches was here.*remove that file to begin a new journal"):
            await place.open()
    os.unlink(f"{place.path}.mark")
    await place.open()


async def test_another_journal_in_its_place_is_noticed_at_the_start(place, fill, tmp_path):
    from aioqueue.clock import ManualClock
    from aioqueue.journal.sqlite import SqliteJournal

    journal = await place.open()
    await fill(journal, 3)
    await journal.aclose()
    other = await SqliteJournal.open(tmp_path / "other", ManualClock())
    await fill(other, 9)
    await other.aclose()
    os.rename(tmp_path / "other", place.path)
    with pytest.raises(HistoryLost, match="belongs to journal"):
        await place.open()


async def test_a_torn_mark_does_not_block_the_start_and_is_noted(place, fill):
    journal = await place.open()
    await fill(journal, 3)
    await journal.aclose()
    os.truncate(f"{place.path}.mark", 10)
    report = await check_journal(place.path)
    assert (report.ok, report.notes) == (True, ["mark: it is not 36 bytes long; a start writes it anew"])
    journal = await place.open()
    await journal.lead("me", 2)
    assert read_mark(journal.path).position == 5


async def test_a_mark_that_cannot_be_made_stops_the_leader_before_its_first_append(place, collect):
    os.mkdir(f"{place.path}.mark")
    journal = await place.open()
    with pytest.raises(JournalError, match="its mark cannot be opened"):
        await journal.lead("me", 1)
    assert await collect(journal) == []
