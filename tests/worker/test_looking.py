"""Tasks that look after a worker."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aioqueue.ground import Ground
from aioqueue.worker.idleness import IdleWatch
from aioqueue.worker.partition import PartitionWatch


class Silent:
    """A link to a broker that has not answered for long."""

    url = "tcp://x:1"
    session_ttl_ms = 100
    heard_ns = 1


class Broken:
    """A part that cannot be looked at."""

    def stuck(self) -> str:
        raise RuntimeError("nobody can tell")

    def nudge(self) -> None: ...


async def test_a_watch_that_fails_says_so_at_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = IdleWatch(Broken(), every=Ground().every, idle_ms=1)
    watch.start()
    assert watch._task is not None
    await asyncio.wait({watch._task})
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the watch for an idle worker has failed" in record.getMessage()
    assert record.exc_info is not None
    assert "nobody can tell" in str(record.exc_info[1])
    watch.stop()


async def test_a_watch_that_is_stopped_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    watch = IdleWatch(every=Ground().every, idle_ms=10_000)
    watch.start()
    assert watch._task is not None
    watch.stop()
    await asyncio.wait({watch._task})
    assert caplog.records == []


async def test_a_worker_whose_jobs_cannot_be_stopped_is_looked_after_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: asyncio.Queue[None] = asyncio.Queue()

    def stop_jobs() -> int:
        asked.put_nowait(None)
        raise RuntimeError("it will not stop")

    watch = PartitionWatch(Silent(), stop_jobs, Ground())  # type: ignore[arg-type]
    watch.start()
    for _ in range(3):
        await asked.get()
    watch.stop()
    assert "jobs could not be stopped" in caplog.text
