"""A worker whose broker has fallen silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aioqueue import BadOption, Queue, Worker
from aioqueue.ground import Ground
from aioqueue.protocol import messages as m
from aioqueue.worker.partition import PartitionWatch
from tests.support.fake_broker import FakeBroker, FakePeer
from tests.support.workers import wired

RunOf = Callable[..., m.DeliverItem]
TTL_MS = 300
LONG_MS = 600_000


@asynccontextmanager
async def working(queue: Queue, broker: FakeBroker, on_partition: Any) -> AsyncIterator[FakePeer]:
    worker = Worker(queue, on_partition=on_partition, cancel_grace=5, wiring=wired(broker))
    running = asyncio.create_task(worker.run())
    try:
        peer = await broker.accept()
        await peer.welcome(ttl_ms=TTL_MS)
        await peer.expect(m.Capacity)
        yield peer
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.mark.parametrize("on_partition", ["run", "stop"])
async def test_jobs_are_stopped_when_nothing_is_answered_for_a_session_ttl_if_so_asked(
    queue: Queue, broker: FakeBroker, run_of: RunOf, on_partition: str
) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @queue.task(name="long")
    async def long() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    run = run_of("long")
    async with working(queue, broker, on_partition) as peer:
        peer.send(m.Deliver([run]))
        await begun.wait()
        # Nobody reads its pings any more; it gives the connection up, and comes back.
        if on_partition == "stop":
            await cancelled.wait()
        again = await broker.accept()
        await again.welcome(fresh=False, ttl_ms=10_000)
        resume = await again.expect(m.Resume)
        if on_partition == "run":
            assert (resume.held, resume.settles) == ([m.HeldRun(run.job, run.fence)], [])
            assert not cancelled.is_set()
        else:
            # By its fence: where the job has passed on, this changes nothing.
            assert resume.held == []
            assert [(end.fence, end.end) for end in resume.settles] == [(run.fence, m.RunEnd.RELEASED)]


GROUND = Ground()


class Heard:
    """What the watch sees of a link. No machine stands still for as long as its time to live."""

    url = "tcp://x:1"
    session_ttl_ms = LONG_MS

    def __init__(self, ago_ms: int) -> None:
        self.heard_ns = GROUND.mono_ns() - ago_ms * 1_000_000


def _look(heard: Heard, *, late_ms: int = 0) -> int:
    stopped: list[int] = []

    def stop_jobs() -> int:
        stopped.append(1)
        return 1

    watch = PartitionWatch(heard, stop_jobs, GROUND)  # type: ignore[arg-type]
    watch._look(GROUND.mono_ns() - late_ms * 1_000_000)
    return len(stopped)


async def test_silence_counts_from_the_last_ping_that_was_answered() -> None:
    assert _look(Heard(LONG_MS // 2)) == 0
    assert _look(Heard(LONG_MS)) == 1
    never = Heard(0)
    never.heard_ns = 0
    assert _look(never) == 0


async def test_a_look_that_comes_late_proves_nothing() -> None:
    # A task has blocked the event loop: what the broker said meanwhile lies in the socket.
    assert _look(Heard(3 * LONG_MS), late_ms=3 * LONG_MS) == 0


def test_another_word_is_refused() -> None:
    with pytest.raises(BadOption, match="run, stop"):
        Worker(Queue("memory:"), on_partition="wait")  # type: ignore[arg-type]
