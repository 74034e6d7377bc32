"""A journal made of batches at hand: whole or not there, and one that a broker opens."""

from __future__ import annotations

import os

import pytest

from aioqueue.clock import ManualClock
from aioqueue.errors import AlreadyThere, BatchTooLarge, JournalError
from aioqueue.journal import fresh as module
from aioqueue.journal.batch import BatchKind
from aioqueue.journal.check import check_journal
from aioqueue.journal.fresh import fresh_journal
from aioqueue.journal.mark import Mark, read_mark
from aioqueue.journal.sqlite import SqliteJournal


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "made")


async def test_copied_batches_are_what_they_were_under_a_new_id(place, fill, collect, path):
    journal = await place.open()
    await fill(journal, 20)
    await journal.lead("again", 5)
    batches = await collect(journal)
    with fresh_journal(path) as fresh:
        for batch in batches:
            fresh.copy(batch)
        fresh.begin_epoch("me", 9)
        fresh.append(10, b"events", [b"one", b"two"])
        assert fresh.position == len(batches) + 2
    assert read_mark(path) == Mark(fresh.journal_id, len(batches) + 2)
    assert sorted(os.listdir(os.path.dirname(path)))[-2:] == ["made", "made.mark"]
    assert (await check_journal(path)).problems == []
    made = await SqliteJournal.open(path, ManualClock())
    *copied, epoch, last = await collect(made)
    for batch, copy in zip(batches, copied, strict=True):
        for name in ("position", "epoch", "kind", "wall_ms", "events", "bodies"):
            assert getattr(batch, name) == getattr(copy, name)
    assert (epoch.kind, epoch.epoch, epoch.events, epoch.wall_ms) == (BatchKind.EPOCH, 3, b"me", 9)
    assert (last.events, last.bodies, last.wall_ms) == (b"events", b"onetwo", 10)
    leadership = await made.lead("broker", 11)
    assert leadership.journal_id == fresh.journal_id != journal._handle.journal_id
    await made.aclose()


async def test_many_batches_are_committed_piece_by_piece(path, monkeypatch):
    monkeypatch.setattr(module, "READ_RANGE_BYTES", 10_000)
    with fresh_journal(path) as fresh:
        fresh.begin_epoch("me", 1)
        for number in range(50):
            fresh.append(1, b"%d" % number, [bytes(3_000)])
    report = await check_journal(path)
    assert (report.ok, report.batches) == (True, 51)


@pytest.mark.parametrize("suffix", ["", "-wal", ".mark"])
def test_nothing_is_written_over(path, suffix):
    with open(path + suffix, "wb") as file:
        file.write(b"mine")
    with pytest.raises(AlreadyThere, match=f"made{suffix} exists already"), fresh_journal(path):
        pass
    assert os.listdir(os.path.dirname(path)) == [f"made{suffix}"]


def test_what_came_meanwhile_is_not_written_over_either(path):
    def make():
        with fresh_journal(path) as fresh:
            fresh.begin_epoch("me", 1)
            with open(path, "wb") as file:
                file.write(b"mine")

    with pytest.raises(AlreadyThere):
        make()
    with open(path, "rb") as file:
        assert file.read() == b"mine"


def test_a_journal_that_was_not_finished_is_not_there(path):
    def make():
        with fresh_journal(path) as fresh:
            fresh.begin_epoch("me", 1)
            fresh.append(1, b"", [bytes(9 * 1024 * 1024)])

    with pytest.raises(BatchTooLarge):
        make()
    assert os.listdir(os.path.dirname(path)) == []


def test_what_an_interrupted_salvage_left_behind_is_no_hindrance(path):
    for suffix in ("", "-wal", ".lock"):
        with open(f"{path}.salvage{suffix}", "wb") as file:
            file.write(b"half")
    with fresh_journal(path) as fresh:
        fresh.begin_epoch("me", 1)
    assert sorted(os.listdir(os.path.dirname(path))) == ["made", "made.mark"]


def test_a_directory_that_does_not_exist_is_a_clear_error(tmp_path):
    with pytest.raises(JournalError, match="it cannot be"), fresh_journal(str(tmp_path / "nowhere" / "made")):
        pass
