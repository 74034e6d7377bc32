"""`aioqueue check --salvage`: a new journal of what verifies, which a broker goes on with, and a list of the rest."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import aclosing, closing
from pathlib import Path
from typing import ClassVar

import pytest

from aioqueue import JobNotFound, Queue
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.broker.opening import open_broker
from aioqueue.broker.storage import JournalBounds
from aioqueue.cli.salvaging import _drop_what_ended, salvage
from aioqueue.clock import ManualClock, SystemClock
from aioqueue.core import events as e
from aioqueue.core.records import decode_events
from aioqueue.errors import JournalInUse
from aioqueue.ground import Ground
from aioqueue.journal.batch import Batch, BatchKind
from aioqueue.journal.salvage import Gap, remains
from aioqueue.limits import HOME_POSITIONS
from aioqueue.model.ids import id_text, own_id
from aioqueue.transport.address import SqliteAddress
from tests.support.churn import churn
from tests.support.finished import finished
from tests.support.patience import eventually
from tests.support.scene import job_id
from tests.support.shell import Shell

Runs = list[int]


def key(number: int) -> bytes:
    return own_id("default", "default", f"job-{number}")


def queue_at(path: Path, runs: Runs, *, worker: bool) -> Queue:
    queue = Queue(f"sqlite:{path}", worker=None if worker else False)

    @queue.task(name="double")
    async def double(number: int) -> int:
        runs.append(number)
        return 2 * number

    return queue


@pytest.fixture
async def journal(folder: Path) -> Path:
    """Jobs 1 to 3 are done and in the archive; 4 to 6 wait, each submitted in a batch of its own."""
    path = folder / "jobs.db"
    runs: Runs = []
    async with queue_at(path, runs, worker=True) as queue:
        for number in (1, 2, 3):
            assert (
                await (await queue.submit(queue.tasks.get("double").options(id=f"job-{number}"), number)) == 2 * number
            )
    async with queue_at(path, runs, worker=False) as queue:
        for number in (4, 5, 6):
            await queue.submit(queue.tasks.get("double").options(id=f"job-{number}"), number)
    assert sorted(runs) == [1, 2, 3]
    return path


def batches(path: Path) -> list[Batch]:
    with remains(path, 1) as left:
        return [item for item in left.read() if not isinstance(item, Gap)]


def lose(path: Path, wanted: Callable[[e.Event], bool]) -> int:
    """Overwrite the batches with such an event; how many there were."""
    positions = [
        batch.position
        for batch in batches(path)
        if batch.kind is BatchKind.EVENTS and any(wanted(event) for event in decode_events(batch.events, "test"))
    ]
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA secure_delete = ON")
        for position in positions:
            database.execute("UPDATE batches SET data = zeroblob(length(data)) WHERE position = ?", (position,))
    return len(positions)


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".lock"}


async def run_all(path: Path) -> tuple[Runs, dict[int, int | str]]:
    """What a worker runs on this journal, and what is known of jobs 1 to 6 when it has nothing left."""
    runs: Runs = []
    results: dict[int, int | str] = {}
    async with queue_at(path, runs, worker=True) as queue:
        for number in range(1, 7):
            try:
                results[number] = await (await queue.get(id_text(key(number)))).result(timeout=60)
            except Exception as error:
                results[number] = type(error).__name__
    return sorted(runs), results


async def test_a_whole_journal_becomes_another_with_all_its_jobs_and_results(journal: Path, shell: Shell) -> None:
    before = everything(journal.parent)
    report = await salvage(str(journal), str(journal.with_name("new.db")), SystemClock())

    assert (report.ok, report.lost, report.jobs, report.resubmitted, report.ended) == (True, [], 3, 0, 0)
    assert report.journal_id != report.old_id
    assert everything(journal.parent).items() >= before.items()
    runs, results = await run_all(journal.with_name("new.db"))
    assert runs == [4, 5, 6]
    assert results == {number: 2 * number for number in range(1, 7)}


async def test_a_tombstone_of_an_id_that_was_used_again_ends_no_later_job(tmp_path: Path) -> None:
    own, other, plain = key(1), key(2), job_id(3)
    path = str(tmp_path / "archive")
    async with aclosing(await SqliteArchive.open(path, journal_id=b"j" * 16)) as archive:
        await archive.write(
            [finished(n, id=each, generation=1) for n, each in enumerate((own, other, plain))], [], [], 1
        )
        await archive.retain(2**50, 10, 1 << 40)

    class Rescuing:
        dropped: ClassVar[set[bytes]] = set()

        def living(self) -> dict[bytes, int]:
            return {own: 2, other: 1, plain: 1}

        def drop(self, ids: Iterable[bytes]) -> None:
            self.dropped.update(ids)

    await _drop_what_ended(Rescuing(), path, b"j" * 16)  # type: ignore[arg-type]
    assert Rescuing.dropped == {other, plain}


async def test_a_lost_submit_is_listed_and_all_later_jobs_run(journal: Path) -> None:
    lost = key(4)
    assert lose(journal, lambda event: isinstance(event, e.JobSubmitted) and event.id == lost) == 1
    report = await salvage(str(journal), str(journal.with_name("new.db")), SystemClock())

    assert not report.ok
    [sentence] = report.lost
    assert "its header" in sentence or "starts with" in sentence or "nothing of it" in sentence
    assert (report.jobs, report.resubmitted) == (2, 2)
    runs, results = await run_all(journal.with_name("new.db"))
    assert runs == [5, 6]
    assert results[4] == JobNotFound.__name__
    assert {number: results[number] for number in (1, 2, 3, 5, 6)} == {1: 2, 2: 4, 3: 6, 5: 10, 6: 12}


async def test_a_job_whose_end_only_the_archive_knows_does_not_run_again(journal: Path) -> None:
    assert lose(journal, lambda event: isinstance(event, e.JobSucceeded)) == 3
    report = await salvage(str(journal), str(journal.with_name("new.db")), SystemClock())

    assert report.archive == "copied, with 3 finished jobs"
    runs, results = await run_all(journal.with_name("new.db"))
    assert runs == [4, 5, 6]
    assert results == {number: 2 * number for number in range(1, 7)}


async def test_with_nothing_but_its_end_left_a_job_does_not_run_again(journal: Path) -> None:
    os.unlink(f"{journal}-archive")
    assert lose(journal, lambda event: isinstance(event, e.JobLeased)) >= 1
    report = await salvage(str(journal), str(journal.with_name("new.db")), SystemClock())

    assert report.archive == "there is none"
    runs, _ = await run_all(journal.with_name("new.db"))
    assert runs == [4, 5, 6]


async def test_a_batch_that_cannot_be_replayed_is_a_gap_too(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aioqueue.core.partition import Partition

    real = Partition.replay

    def replay(self: Partition, events: list[e.Event], bodies: bytes, position: int, wall_ms: int) -> object:
        effects = real(self, events, bodies, position, wall_ms)
        # It fails when the state is changed already, as a real one would.
        if position == last and wall_ms != 1:
            raise ValueError("planted")
        return effects

    last = batches(journal)[-1].position
    monkeypatch.setattr(Partition, "replay", replay)
    report = await salvage(str(journal), str(journal.with_name("new.db")), ManualClock(wall_ms=1))

    assert report.lost == [f"batch {last}: it cannot be replayed: planted"]
    assert (report.kept, report.jobs) == (last - 1, 2)


async def test_the_archive_of_another_journal_is_left_behind_and_told(journal: Path, folder: Path) -> None:
    other = folder / "other.db"
    async with open_broker(SqliteAddress(str(other)), ground=Ground()):
        pass
    os.replace(f"{other}-archive", f"{journal}-archive")
    report = await salvage(str(journal), str(folder / "new.db"), SystemClock())

    assert report.archive == "left behind"
    assert "it belongs to journal" in report.lost[0]
    assert report.jobs == 3
    # What the journal itself knows of ends makes a new archive.
    assert (await run_all(folder / "new.db"))[1] == {number: 2 * number for number in range(1, 7)}


async def test_a_salvage_that_fails_leaves_nothing(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aioqueue.journal.fresh import FreshJournal

    before = everything(journal.parent)

    def finish(self: FreshJournal) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FreshJournal, "finish", finish)
    with pytest.raises(Exception, match="No space left on device"):
        await salvage(str(journal), str(journal.with_name("new.db")), SystemClock())
    assert everything(journal.parent) == before


async def test_a_journal_in_use_is_not_salvaged(journal: Path) -> None:
    async with open_broker(SqliteAddress(str(journal)), ground=Ground()):
        with pytest.raises(JournalInUse):
            await salvage(str(journal), str(journal.with_name("new.db")), SystemClock())
    assert not journal.with_name("new.db").exists()


def test_a_folder_that_is_missing_is_named(journal: Path, shell: Shell) -> None:
    told = shell.run("check", str(journal), "--salvage", "gone/new.db").refused()
    assert f"the folder {journal.parent / 'gone'} does not exist; make it first" in told


@pytest.mark.parametrize("suffix", ["", "-wal", ".mark", "-archive"])
def test_what_is_there_is_not_written_over(journal: Path, shell: Shell, suffix: str) -> None:
    taken = journal.with_name(f"new.db{suffix}")
    taken.write_bytes(b"mine")

    assert f"{taken} exists already" in shell.run("check", str(journal), "--salvage", "new.db").refused()
    assert taken.read_bytes() == b"mine"


def test_the_report_is_printed_and_tells_by_the_exit_code_whether_anything_was_lost(
    journal: Path, shell: Shell
) -> None:
    whole = shell.run("check", str(journal), "--salvage", "sqlite:new.db")
    lose(journal, lambda event: isinstance(event, e.JobSubmitted))
    ended = shell.run("check", str(journal), "--salvage", "second.db")
    report = shell.run("check", str(journal), "--salvage", "third.db", "--json").json

    assert (whole.code, whole.err) == (0, "")
    assert whole.out.splitlines()[-1] == "nothing was lost"
    assert ended.code == 1
    assert "is damaged: what verifies is in" in ended.err
    assert any(line.startswith("lost:      batch") for line in ended.out.splitlines())
    assert report["ok"] is False
    assert report["lost_jobs"] == []
    assert shell.run("check", "second.db").code == 0


def test_an_old_copy_is_put_back_as_a_journal_of_its_own(journal: Path, shell: Shell, folder: Path) -> None:
    backup = folder / "backup.db"
    for suffix in ("", "-archive"):
        Path(f"{backup}{suffix}").write_bytes(Path(f"{journal}{suffix}").read_bytes())
    for path in folder.glob("jobs.db*"):
        path.unlink()

    assert shell.run("check", str(backup), "--salvage", str(journal)).code == 0
    assert shell.run("check", str(journal), "--json").json["jobs"] == 3


@pytest.fixture
async def cut(folder: Path) -> Path:
    """A journal whose log was cut twice at least: jobs 1 to 5 were carried, 6 to 120 are over and in the archive."""
    path = folder / "cut.db"
    async with open_broker(SqliteAddress(str(path)), ground=Ground(), bounds=JournalBounds(20_000)) as broker:
        await churn(broker, range(1, 6), living=True)
        await churn(broker, range(6, 121))
        await eventually(lambda: broker.engine.partition.state.base > 5 * HOME_POSITIONS)
    return path


def zero(path: Path, position: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA secure_delete = ON")
        database.execute("UPDATE batches SET data = zeroblob(length(data)) WHERE position = ?", (position,))


async def living_in(path: Path) -> set[bytes]:
    async with open_broker(SqliteAddress(str(path)), ground=Ground()) as broker:
        return set(broker.engine.partition.state.jobs)


LIVING = {job_id(number) for number in range(1, 6)}


async def test_a_journal_that_was_cut_is_saved_from_its_base_on(cut: Path) -> None:
    report = await salvage(str(cut), str(cut.with_name("new.db")), SystemClock())

    assert (report.ok, report.lost, report.jobs, report.resubmitted) == (True, [], 5, 0)
    assert await living_in(cut.with_name("new.db")) == LIVING


async def test_damaged_history_costs_nothing(cut: Path) -> None:
    zero(cut, 3)
    report = await salvage(str(cut), str(cut.with_name("new.db")), SystemClock())

    assert (report.ok, report.jobs, report.resubmitted) == (True, 5, 0)
    assert await living_in(cut.with_name("new.db")) == LIVING


async def test_where_a_base_is_lost_history_helps_and_what_was_carried_is_known_by_its_record(cut: Path) -> None:
    based = [
        event.base
        for batch in batches(cut)
        if batch.kind is BatchKind.EVENTS
        for event in decode_events(batch.events, "test")
        if isinstance(event, e.BaseMoved)
    ]
    zero(cut, based[-1] + 1)
    report = await salvage(str(cut), str(cut.with_name("new.db")), SystemClock())

    assert len(report.lost) == 1
    assert await living_in(cut.with_name("new.db")) == LIVING


async def test_without_any_base_the_records_alone_bring_the_jobs_back(cut: Path) -> None:
    lose(cut, lambda event: isinstance(event, e.BaseMoved))
    zero(cut, 1)
    report = await salvage(str(cut), str(cut.with_name("new.db")), SystemClock())

    assert not report.ok
    assert report.resubmitted == 5
    assert await living_in(cut.with_name("new.db")) == LIVING
