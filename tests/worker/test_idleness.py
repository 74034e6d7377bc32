"""A worker that is idle for a reason of its own notices it, tells it, and goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aioqueue import Queue
from aioqueue.ground import Every
from aioqueue.protocol import messages as m
from aioqueue.worker import session as session_module
from aioqueue.worker import worker as worker_module
from aioqueue.worker.idleness import IdleWatch
from aioqueue.worker.runners import Runners
from tests.support.fake_broker import FakeBroker
from tests.support.patience import eventually
from tests.support.workers import Desk

Serving = Callable[..., Any]
RunOf = Callable[..., m.DeliverItem]


@pytest.fixture
def watches(monkeypatch: pytest.MonkeyPatch) -> list[IdleWatch]:
    """Every watch that a worker begins; they look every few milliseconds."""
    made: list[IdleWatch] = []

    def begin(*parts: Any, every: Every) -> IdleWatch:
        made.append(IdleWatch(*parts, every=every, idle_ms=50))
        return made[-1]

    monkeypatch.setattr(worker_module, "IdleWatch", begin)
    return made


async def test_slots_that_a_new_connection_was_not_told_of_are_told(
    queue: Queue, serving: Serving, broker: FakeBroker, watches: list[IdleWatch], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    desk: Desk = await serving(queue, concurrency=7)
    offer = session_module.Session._tell_capacity
    forgotten = asyncio.Event()

    def forget(session: session_module.Session) -> None:
        monkeypatch.setattr(session_module.Session, "_tell_capacity", offer)
        forgotten.set()

    monkeypatch.setattr(session_module.Session, "_tell_capacity", forget)
    desk.peer.abort()
    peer = await broker.welcome()
    await forgotten.wait()
    assert (await peer.expect(m.Capacity)).slots == 7
    assert "it is connected, and has not told the broker of its 7 slots" in caplog.text
    assert [watch.found for watch in watches] == [1]


async def test_a_run_that_waits_beside_a_free_slot_is_begun(
    queue: Queue, serving: Serving, run_of: RunOf, watches: list[IdleWatch], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    @queue.task
    async def step() -> int:
        return 42

    desk: Desk = await serving(queue, concurrency=2)
    wake = Runners._wake
    monkeypatch.setattr(Runners, "_wake", lambda runners: None)
    item = run_of(step.name)
    desk.peer.send(m.Deliver([item]))
    await eventually(lambda: "waits beside 2 free slots; this is a defect of aioqueue" in caplog.text)
    monkeypatch.setattr(Runners, "_wake", wake)
    assert [end.job for end in await desk.settle()] == [item.job]


async def test_a_busy_worker_and_one_that_drains_are_not_accused(
    queue: Queue, serving: Serving, run_of: RunOf, watches: list[IdleWatch], caplog: pytest.LogCaptureFixture
) -> None:
    @queue.task
    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)

    desk: Desk = await serving(queue, concurrency=1)
    desk.peer.send(m.Deliver([run_of(wait.name, 0.3), run_of(wait.name, 0.01)]))
    await desk.settle()
    await desk.settle()
    desk.worker.stop()
    assert (await desk.peer.expect(m.Capacity)).slots == 0
    assert [watch.found for watch in watches] == [0]
    assert "defect" not in caplog.text
