"""A scripted broker, workers of it, and runners without any broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop

from aioqueue import Queue, Worker
from aioqueue.model.bodies import pack_body, pack_headers
from aioqueue.protocol import messages as m
from tests.support.fake_broker import FakeBroker
from tests.support.supervising import APP, Running, Supervised, start_supervisor
from tests.support.workers import Desk, Slots, wired

# These start real processes, which have loops of their own.
_PROCESSES = ("test_supervisor", "test_processes", "test_forked", "test_terminal")


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Workers run on both event loops; a supervisor on one, and its children, processes of their own, on the other.

    Each run of `test_processes` starts real ones too, and `test_supervisor` has one of them under uvloop.
    """
    both = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop} if item.path.stem in _PROCESSES else both


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    fake = await FakeBroker().start()
    try:
        yield fake
    finally:
        await fake.stop()


@pytest.fixture
def queue() -> Queue:
    """A queue whose tasks a test declares; it is never entered."""
    return Queue("memory:")


@pytest.fixture
async def serving(broker: FakeBroker) -> AsyncIterator[Callable[..., Any]]:
    """`await serving(queue)` gives a `Desk`. The worker has a secret, so it beats not itself."""
    async with AsyncExitStack() as stack:

        async def serve(queue: Queue, **options: Any) -> Desk:
            worker = Worker(queue, **{"wiring": wired(broker), "cancel_grace": 60, **options})
            running = asyncio.create_task(worker.run())

            async def end() -> None:
                await broker.stop()
                running.cancel()
                await asyncio.wait([running])

            stack.push_async_callback(end)
            peer = await broker.accept()
            hello = await peer.welcome()
            return Desk(worker, peer, hello, await peer.expect(m.Capacity))

        yield serve


@pytest.fixture
async def supervised(broker: FakeBroker, tmp_path: Path) -> AsyncIterator[Supervised]:
    """`await supervised(APP)` starts a supervisor in a directory where `shop.py` holds that text."""
    made: list[Running] = []

    async def start(app: str = APP, processes: int = 1, **options: Any) -> Running:
        made.append(await start_supervisor(broker, tmp_path, app, processes, **options))
        return made[-1]

    yield start
    for each in made:
        await each.aclose()


@pytest.fixture
async def slots_of(queue: Queue) -> AsyncIterator[Callable[..., Slots]]:
    """`slots_of(2)` gives two slots for the tasks of `queue`."""
    made: list[Slots] = []

    def make(slots: int = 10, cancel_grace_ms: int = 60_000) -> Slots:
        made.append(Slots(queue, slots, cancel_grace_ms))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


@pytest.fixture
def run_of() -> Callable[..., m.DeliverItem]:
    """`run_of("name", 1, 2)` is a run of task `name` with these arguments, with a job and a fence of its own."""
    fences = iter(range(1, 1_000_000))

    def make(task: str, *args: Any, timeout_ms: int = 0, headers: dict[str, str] | None = None, **kwargs: Any) -> Any:
        fence = next(fences)
        return m.DeliverItem(
            fence.to_bytes(16, "big"), fence, 1, task, pack_body((args, kwargs)), pack_headers(headers or {}),
            timeout_ms=timeout_ms, queue="default",
        )  # fmt: skip

    return make
