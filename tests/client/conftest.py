"""A scripted broker, and clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from aioqueue import Queue
from aioqueue.client.session import Session
from aioqueue.ground import Ground
from aioqueue.transport.address import TcpAddress
from aioqueue.transport.dialer import Dialer
from tests.support.fake_broker import FakeBroker, FakePeer


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    fake = await FakeBroker().start()
    try:
        yield fake
    finally:
        await fake.stop()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def started(stack: AsyncExitStack) -> Callable[[Awaitable[Any]], asyncio.Task[Any]]:
    """Runs a coroutine beside the test; whatever is left of it at the end is cancelled."""

    def start(call: Awaitable[Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(call)

        async def end() -> None:
            task.cancel()
            await asyncio.wait([task])

        stack.push_async_callback(end)
        return task

    return start


@asynccontextmanager
async def opened(session: Session, broker: FakeBroker, **welcome: Any) -> AsyncIterator[FakePeer]:
    opening = asyncio.ensure_future(session.open(5.0))
    peer = await broker.welcome(**welcome)
    await opening
    try:
        yield peer
    finally:
        await session.aclose(goodbye=False)


@pytest.fixture
def session_of(broker: FakeBroker, stack: AsyncExitStack) -> Callable[..., Awaitable[tuple[Session, FakePeer]]]:
    """A session with short deadlines where a test gives them, and the broker's end of its connection."""

    async def make(**arguments: Any) -> tuple[Session, FakePeer]:
        dialer = Dialer([TcpAddress("127.0.0.1", broker.port)])
        session = Session(dialer, ground=Ground(), namespace="default", **arguments)
        return session, await stack.enter_async_context(opened(session, broker))

    return make


@pytest.fixture
async def entered(broker: FakeBroker, stack: AsyncExitStack) -> tuple[Queue, FakePeer]:
    """A queue inside `async with`, and the broker's end of its connection."""
    queue = Queue(broker.url)
    entering = asyncio.ensure_future(stack.enter_async_context(queue))
    peer = await broker.welcome()
    await entering
    return queue, peer
