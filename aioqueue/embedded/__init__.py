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
from aioqueue.errors import JournalError, JournalFailed, QueueClosed
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
        self._serves = False
        self._failure: JournalFailed | None = None
        self._broker: Broker
        self._connections: TaskGroup
        self._task: asyncio.Task[None]

    async def start(self) -> None:
        """Open the storage and recover; raises what the journal raises. Cancelled, it leaves nothing open."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(ready), name="aioqueue embedded broker")
        try:
            await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait({self._task})
            raise
        if not ready.done():
            self._task.result()

    async def _run(self, ready: asyncio.Future[None]) -> None:
        try:
            async with (
                open_broker(self._address, clock=SystemClock()) as self._broker,
                anyio.create_task_group() as self._connections,
            ):
                self._serves = True
                ready.set_result(None)
                try:
                    await self._stop.wait()
                finally:
                    # From here on the task group takes no more connections.
                    self._serves = False
                    self._connections.cancel_scope.cancel()
        except JournalError as error:
            if not ready.done():
                raise
            log.error("the broker in this program has stopped: %s", error)
            self._failure = JournalFailed(path=error.fields.get("path", ""), reason=str(error))

    async def open_stream(self) -> Stream:
        """A new connection to the broker; raises `JournalFailed` where the journal did, `QueueClosed` after the end."""
        if not self._serves:
            if not self._stop.is_set():
                # It is ending by itself; why is known when it has ended.
                await asyncio.wait({self._task})
            raise self._failure or QueueClosed(what="a connection")
        near, far = memory_pair()
        self._connections.start_soon(self._broker.attend, far)
        return near

    async def aclose(self) -> None:
        """Let go of the storage; waits until what was acknowledged is archived."""
        self._stop.set()
        await self._task
