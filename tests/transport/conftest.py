"""Every test here runs on both event loops, and the streams' suite over both kinds of stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest
import uvloop

from aioqueue.transport import tcp
from aioqueue.transport.memory import memory_pair
from aioqueue.transport.stream import Stream

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
async def in_memory() -> AsyncIterator[Pair]:
    yield memory_pair()


@pytest.fixture(params=["memory", "tcp"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Two connected streams."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(tcp_pair() if request.param == "tcp" else in_memory())


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
