"""What ended and is not archived yet, between a batch that is decided and one that is durable."""

from __future__ import annotations

import asyncio

import pytest

from aioqueue.archive.memory import MemoryArchive
from aioqueue.broker.overlay import Overlay
from aioqueue.clock import ManualClock
from aioqueue.core.effects import ArchiveJob, ArchiveRun, Effect, ReviveJob
from aioqueue.model.states import JobState
from tests.support.finished import ended, finished, job_id


async def test_an_end_that_is_requeued_by_a_batch_in_flight_is_archived_all_the_same() -> None:
    archive = MemoryArchive()
    overlay = Overlay(archive, ManualClock())
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
    overlay = Overlay(archive, ManualClock())
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
    overlay = Overlay(MemoryArchive(), ManualClock())
    overlay.take([effect])
    overlay.release(1)
    assert not await has_room(overlay)
    await overlay.write()
    assert await has_room(overlay)


async def test_the_engine_waits_while_too_many_runs_are_not_archived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioqueue.broker.overlay.OVERLAY_JOBS_MAX", 2)
    overlay = Overlay(MemoryArchive(), ManualClock())
    overlay.take([ArchiveJob(finished(1, position=1)), *(ArchiveRun(ended(1, run)) for run in (1, 2))])
    overlay.release(1)
    assert not await has_room(overlay)
    await overlay.write()
    assert await has_room(overlay)
