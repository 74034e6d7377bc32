"""What ended and is not archived yet, between a batch that is decided and one that is durable."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aioqueue.archive.memory import MemoryArchive
from aioqueue.broker.overlay import Overlay
from aioqueue.clock import ManualClock
from aioqueue.core.effects import ArchiveJob, ArchiveRun, Effect, ReviveJob
from aioqueue.ground import Ground
from aioqueue.model.states import JobState
from tests.support.finished import ended, finished, job_id


async def test_an_end_that_is_requeued_by_a_batch_in_flight_is_archived_all_the_same() -> None:
    archive = MemoryArchive()
    overlay = Overlay(archive, Ground(ManualClock()))
    end = finished(1, JobState.DEAD, position=1)
    overlay.take([ArchiveJob(end)])
    overlay.release(1)
    overlay.take([ReviveJob(end.id, 1)])
    await overlay.write()
    # Were the batch in flight lost now, replay would begin behind the archive's position.
    assert archive.synced == 1
    assert await archive.get([end.id]) == {end.id: end}
    assert await overlay.look_up([end.id]) == {}


async def test_an_end_that_was_requeued_leaves_the_archive_when_the_requeue_is_durable() -> None:
    archive = MemoryArchive()
    overlay = Overlay(archive, Ground(ManualClock()))
    overlay.take([ArchiveJob(finished(1, JobState.DEAD, position=1))])
    overlay.release(1)
    overlay.take([ReviveJob(job_id(1), 1)])
    await overlay.write()
    overlay.release(2)
    await overlay.write()
    assert await archive.get([job_id(1)]) == {}


async def has_room(overlay: Overlay) -> bool:
    """Whether the engine could go on."""
    waiting = asyncio.ensure_future(overlay.room())
    await asyncio.sleep(0)
    had = waiting.done()
    waiting.cancel()
    return had


@pytest.mark.parametrize(
    "effect",
    [
        ArchiveJob(finished(1, body=b"r" * 1_001, position=1)),
        ArchiveJob(finished(1, JobState.DEAD, args=b"a" * 1_001, position=1)),
        ArchiveRun(ended(1, body=b"e" * 1_001)),
    ],
)
async def test_the_engine_waits_while_too_many_bytes_are_not_archived(
    effect: Effect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioqueue.broker.overlay.OVERLAY_BYTES_MAX", 1_000)
    overlay = Overlay(MemoryArchive(), Ground(ManualClock()))
    overlay.take([effect])
    overlay.release(1)
    assert not await has_room(overlay)
    await overlay.write()
    assert await has_room(overlay)


async def test_an_end_that_takes_the_place_of_another_weighs_what_it_weighs_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aioqueue.broker.overlay.OVERLAY_BYTES_MAX", 1_000)
    overlay = Overlay(MemoryArchive(), Ground(ManualClock()))
    for position in (1, 2):
        overlay.take([ArchiveJob(finished(1, body=b"r" * 900, position=position))])
        overlay.release(position)
    assert await has_room(overlay)
    await overlay.write()
    overlay.take([ArchiveJob(finished(2, body=b"r" * 900, position=3))])
    overlay.release(3)
    assert await has_room(overlay)


async def test_the_engine_waits_while_too_many_runs_are_not_archived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioqueue.broker.overlay.OVERLAY_JOBS_MAX", 2)
    overlay = Overlay(MemoryArchive(), Ground(ManualClock()))
    overlay.take([ArchiveJob(finished(1, position=1)), *(ArchiveRun(ended(1, run)) for run in (1, 2))])
    overlay.release(1)
    assert not await has_room(overlay)
    await overlay.write()
    assert await has_room(overlay)


class BusyArchive(MemoryArchive):
    """An archive for which something more is there whenever it has written."""

    def __init__(self) -> None:
        super().__init__()
        self.overlay = Overlay(self, Ground(ManualClock()))
        self.retained = asyncio.Event()
        self._ends = 0

    def end_one(self) -> None:
        self._ends += 1
        self.overlay.take([ArchiveJob(finished(self._ends, position=self._ends))])
        self.overlay.release(self._ends)

    async def write(self, *rows: Any) -> None:
        await super().write(*rows)
        self.end_one()

    async def retain(self, now_ms: int, rows_max: int, bytes_max: int) -> int:
        self.retained.set()
        return await super().retain(now_ms, rows_max, bytes_max)


async def test_retention_has_its_turn_where_jobs_end_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioqueue.broker.overlay.RETAIN_SECONDS", 0.01)
    monkeypatch.setattr("aioqueue.broker.overlay.GATHER_SECONDS", 0.0)
    archive = BusyArchive()
    archive.end_one()
    emptying = asyncio.create_task(archive.overlay.run())
    keeping = asyncio.create_task(archive.overlay.run_retention())
    async with asyncio.timeout(60):
        await archive.retained.wait()
    for task in (emptying, keeping):
        task.cancel()
    await asyncio.gather(emptying, keeping, return_exceptions=True)


async def test_runs_of_a_bulk_that_was_cancelled_while_it_was_read_for_are_archived_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = MemoryArchive()
    overlay = Overlay(archive, Ground(ManualClock()))
    end = finished(1, position=1)
    run = ended(1)
    overlay.take([ArchiveRun(run), ArchiveJob(end)])
    overlay.release(1)
    read = overlay._bodies.fill

    async def never(ends: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(overlay._bodies, "fill", never)
    writing = asyncio.create_task(overlay.write())
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    monkeypatch.setattr(overlay._bodies, "fill", read)
    await overlay.write()
    assert archive.synced == 1
    assert await archive.runs(end.id) == [run]
