"""`aioqueue check`: what is whole, what is damaged, and what cannot be checked."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aioqueue.broker.opening import open_broker
from aioqueue.broker.storage import JournalBounds
from aioqueue.cli.checking import Replay
from aioqueue.client.queue import Queue
from aioqueue.clock import ManualClock
from aioqueue.core import events as e
from aioqueue.core.records import encode_events
from aioqueue.errors import JournalNewer
from aioqueue.ground import Ground
from aioqueue.journal.batch import Batch, BatchKind
from aioqueue.limits import HOME_POSITIONS
from aioqueue.model.states import JobState
from aioqueue.transport.address import SqliteAddress
from tests.support.churn import churn
from tests.support.patience import eventually
from tests.support.shell import Shell


@pytest.fixture
async def cut(folder: Path) -> Path:
    """A journal whose log was cut: jobs 1 to 5 were carried, 6 to 80 are over."""
    path = folder / "cut.db"
    async with open_broker(SqliteAddress(str(path)), ground=Ground(), bounds=JournalBounds(20_000)) as broker:
        await churn(broker, range(1, 6), living=True)
        await churn(broker, range(6, 81))
        await eventually(lambda: broker.engine.partition.state.base > HOME_POSITIONS)
    return path


@pytest.fixture
async def journal(folder: Path) -> Path:
    """A journal with three batches of jobs."""
    path = folder / "jobs.db"
    async with Queue(f"sqlite:{path}", worker=False) as queue:
        for number in range(3):
            await queue.submit("shop.add", number)
    return path


def test_a_whole_journal_is_counted(journal: Path, shell: Shell) -> None:
    report = shell.run("check", str(journal), "--json").json

    assert (report["ok"], report["problems"], report["events"], report["jobs"]) == (True, [], 3, 3)
    assert (report["first_position"], report["last_position"]) == (1, 4)


def test_a_whole_journal_is_told_in_words(journal: Path, shell: Shell) -> None:
    ended = shell.run("check", f"sqlite:{journal}")

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-2:] == ["jobs:      3 living", "the journal is whole"]


def test_a_damaged_batch_is_a_problem_with_its_place_and_exit_code_1(journal: Path, shell: Shell) -> None:
    with closing(sqlite3.connect(journal)) as database:
        database.execute("UPDATE batches SET data = zeroblob(length(data)) WHERE position = 3")
        database.commit()

    ended = shell.run("check", str(journal))
    report = shell.run("check", str(journal), "--json").json

    assert ended.code == 1
    assert ended.err.startswith(f"aioqueue: {journal} is damaged: ")
    assert "jobs:      unknown" in ended.out
    assert any(line.startswith("problem:") and "batch 3" in line for line in ended.out.splitlines())
    assert (report["ok"], report["jobs"]) == (False, None)


def test_a_missing_batch_is_a_problem(journal: Path, shell: Shell) -> None:
    with closing(sqlite3.connect(journal)) as database:
        database.execute("DELETE FROM batches WHERE position = 2")
        database.commit()

    assert shell.run("check", str(journal)).code == 1


async def test_a_journal_in_use_is_not_checked(journal: Path, folder: Path) -> None:
    from aioqueue.cli.checking import check_and_tell
    from aioqueue.errors import JournalInUse

    async with open_broker(SqliteAddress(str(journal)), ground=Ground(ManualClock())):
        with pytest.raises(JournalInUse):
            await check_and_tell(str(journal), json=True)


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("gone.db", "gone.db is not an aioqueue journal: there is no such file"),
        ("shop.py", "shop.py is not an aioqueue journal: it is some other kind of file"),
        (".", "is not an aioqueue journal: it is a directory"),
    ],
)
def test_what_is_no_journal_is_one_sentence(name: str, fragment: str, shell: Shell) -> None:
    assert fragment in shell.run("check", name).refused()


def test_a_journal_of_a_newer_version_is_one_sentence(journal: Path, shell: Shell) -> None:
    with closing(sqlite3.connect(journal)) as database:
        database.execute("PRAGMA user_version = 99")

    assert "was written by a newer aioqueue (format 99)" in shell.run("check", str(journal)).refused()


def test_a_chain_that_is_whole_and_says_what_cannot_be_is_a_problem_of_its_first_batch_only() -> None:
    replay = Replay("jobs.db")
    replay.take(_batch(1, e.JobCancelled(b"j" * 16), kind=BatchKind.EPOCH))

    with pytest.raises(ValueError, match="it cannot be replayed"):
        replay.take(_batch(2, e.JobDue(b"j" * 16, 7)))
    replay.take(_batch(3, e.JobDue(b"j" * 16, 7)))

    assert (replay.events, replay.jobs) == (2, None)


def test_a_record_that_does_not_read_is_a_problem_and_a_newer_one_is_not() -> None:
    replay = Replay("jobs.db")

    with pytest.raises(ValueError, match="its events cannot be read"):
        replay.take(Batch(1, 1, BatchKind.EVENTS, 0, b"", b"\xc1", b""))
    with pytest.raises(JournalNewer):
        replay.take(Batch(2, 1, BatchKind.EVENTS, 0, b"", b"\x91\x92\x63\x00", b""))


def test_batches_after_a_gap_are_not_replayed_onto_the_wrong_state() -> None:
    replay = Replay("jobs.db")

    replay.take(_batch(1, e.SessionEnded(1, 1), kind=BatchKind.EPOCH))
    replay.take(_batch(3, e.JobFailed(b"j" * 16, 1, JobState.DEAD, 0, 0, 0, 0)))

    assert replay.jobs is None


def _batch(position: int, *events: e.Event, kind: BatchKind = BatchKind.EVENTS) -> Batch:
    return Batch(position, 1, kind, 0, b"", encode_events(events), b"")


def test_a_journal_that_was_cut_is_whole_and_so_is_its_history(cut: Path, shell: Shell) -> None:
    report = shell.run("check", str(cut), "--json").json

    assert (report["ok"], report["problems"], report["notes"], report["jobs"]) == (True, [], [], 5)
    assert report["first_position"] == report["history"] + 1 > HOME_POSITIONS
    assert f"history:   {report['history']} batches below" in shell.run("check", str(cut)).out


def test_damaged_history_is_a_note_and_no_problem(cut: Path, shell: Shell) -> None:
    with closing(sqlite3.connect(cut, isolation_level=None)) as database:
        database.execute("UPDATE batches SET data = zeroblob(length(data)) WHERE position = 3")
    report = shell.run("check", str(cut), "--json").json

    assert (report["ok"], report["problems"], report["jobs"]) == (True, [], 5)
    assert any("history" in note and "batch 3" in note for note in report["notes"])


def test_a_log_that_begins_where_nothing_says_that_it_may_is_a_problem(journal: Path, shell: Shell) -> None:
    with closing(sqlite3.connect(journal, isolation_level=None)) as database:
        database.execute("DELETE FROM batches WHERE position < 3")
        database.execute("UPDATE journal SET first = 3, before = (SELECT substr(data, 41, 16) FROM batches LIMIT 1)")
    ended = shell.run("check", str(journal))

    assert ended.code == 1
    assert "problem:   the log begins at batch 3, and no batch says that it may" in ended.out
