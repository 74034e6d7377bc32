"""Every test here runs on both event loops, and the streams' suite over every kind of stream."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import anyio
import pytest
import uvloop

from aioqueue.transport import tcp, unix
from aioqueue.transport.memory import memory_pair
from aioqueue.transport.stream import Stream
from tests.simulator.shells.network import Weather, simulated_pair

Pair = tuple[Stream, Stream]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@asynccontextmanager
async def tcp_pair() -> AsyncIterator[Pair]:
    """Both ends of a real connection over loopback."""
    accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()

    async def keep(stream: Stream) -> None:
        accepted.set_result(stream)

    async with anyio.create_task_group() as tasks:
        listener = await tcp.listen("127.0.0.1", 0)
        tasks.start_soon(listener.serve, keep, tasks)
        near = await tcp.connect("127.0.0.1", listener.port)
        far = await accepted
        await listener.aclose()
    try:
        yield near, far
    finally:
        await near.aclose()
        await far.aclose()


@asynccontextmanager
async def unix_pair() -> AsyncIterator[Pair]:
    """Both ends of a real connection over a Unix socket."""
    accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()

    async def keep(stream: Stream) -> None:
        accepted.set_result(stream)

    with tempfile.TemporaryDirectory() as folder:
        async with anyio.create_task_group() as tasks:
            listener = await unix.listen(os.path.join(folder, "jobs.db.sock"))
            tasks.start_soon(listener.serve, keep, tasks)
            near = await unix.connect(listener.path)
            far = await accepted
            await listener.aclose()
        try:
            yield near, far
        finally:
            await near.aclose()
            await far.aclose()


@asynccontextmanager
async def in_memory() -> AsyncIterator[Pair]:
    yield memory_pair()


@asynccontextmanager
async def simulated() -> AsyncIterator[Pair]:
    """As over the simulator's network, where writes arrive in pieces and late."""
    yield simulated_pair(Weather((0.0, 0.0001), torn=0.01), random.Random(7))


PAIRS: Final = {"memory": in_memory, "simulated": simulated, "tcp": tcp_pair, "unix": unix_pair}


@pytest.fixture(params=PAIRS)
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Two connected streams."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(PAIRS[request.param]())


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as exits:
        yield exits


@pytest.fixture
def turns() -> Iterator[Callable[[], Awaitable[None]]]:
    """Let everything that is ready run: enough turns of the loop for any chain of wake-ups within one process."""

    async def run() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    return run
