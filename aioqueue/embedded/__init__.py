"""The broker (and the worker) inside the program that uses them: what `memory:` and `sqlite:PATH` mean for a `Queue`.

`Queue` finds this module through its table of URL schemes and never imports it otherwise, so that a program which only
submits over TCP loads no storage. An embedded broker speaks the same protocol, over in-memory streams.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from aioqueue.broker.broker import Broker
from aioqueue.broker.opening import open_broker
from aioqueue.clock import SystemClock
from aioqueue.errors import JournalError, QueueClosed
from aioqueue.transport.address import MemoryAddress, SqliteAddress
from aioqueue.transport.memory import memory_pair
from aioqueue.transport.stream import Stream
from aioqueue.worker.worker import Worker

if TYPE_CHECKING:
    from aioqueue.client.queue import Queue

log = logging.getLogger(__name__)

OpenStream = Callable[[], Awaitable[Stream]]


@asynccontextmanager
async def running(queue: Queue, address: SqliteAddress | MemoryAddress, slots: int) -> AsyncIterator[OpenStream]:
    """The broker of `address`, reachable by what is yielded, and a worker of so many slots for the queue's tasks.

    0 slots: no worker. Raises the journal's errors where the storage cannot be opened.
    """
    async with AsyncExitStack() as stack:
        open_stream = (await stack.enter_async_context(_embedded(address))).open_stream
        if slots:
            await stack.enter_async_context(Worker(queue, queues=None, concurrency=slots, open_stream=open_stream))
        yield open_stream


@asynccontextmanager
async def _embedded(address: SqliteAddress | MemoryAddress) -> AsyncIterator[EmbeddedBroker]:
    embedded = EmbeddedBroker(address)
    await embedded.start()
    try:
        yield embedded
    finally:
        with anyio.CancelScope(shield=True):
            await embedded.aclose()


class EmbeddedBroker:
    """A broker in a task of its own. A journal that fails ends it, and never the program around it."""

    def __init__(self, address: SqliteAddress | MemoryAddress) -> None:
        self._address = address
        self._stop = asyncio.Event()
        self._failure: JournalError | None = None
        self._broker: Broker
        self._connections: TaskGroup
        self._task: asyncio.Task[None]

    async def start(self) -> None:
        """Open the storage and recover; raises what the journal raises."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(ready), name="aioqueue embedded broker")
        await ready

    async def _run(self, ready: asyncio.Future[None]) -> None:
        try:
            async with (
                open_broker(self._address, clock=SystemClock()) as self._broker,
                anyio.create_task_group() as self._connections,
            ):
                ready.set_result(None)
                await self._stop.wait()
                self._connections.cancel_scope.cancel()
        except JournalError as error:
            self._failure = error
            if not ready.done():
                ready.set_exception(error)

    async def open_stream(self) -> Stream:
        """A new connection to the broker; raises the error that the journal failed with, if it did."""
        if self._failure is not None:
            raise self._failure
        if self._stop.is_set():
            raise QueueClosed(what="a connection")
        near, far = memory_pair()
        self._connections.start_soon(self._broker.attend, far)
        return near

    async def aclose(self) -> None:
        """Let go of the storage; waits until what was acknowledged is archived."""
        self._stop.set()
        await self._task
