"""A broker in a task of its own, inside the program that uses it. The owner of a `sqlite:` journal shares it with the
other processes of its machine, over a socket beside the file.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

import anyio
from anyio.abc import TaskGroup

from aioqueue.broker.broker import Broker
from aioqueue.broker.opening import open_broker
from aioqueue.errors import JournalError, JournalFailed, QueueClosed
from aioqueue.ground import Ground
from aioqueue.transport.address import MemoryAddress, SqliteAddress
from aioqueue.transport.memory import memory_pair
from aioqueue.transport.stream import Stream
from aioqueue.transport.unix import listening_beside

log = logging.getLogger(__name__)


class EmbeddedBroker:
    """A broker at an address whose path, if any, is a real one; it is its own `Dials`.

    A journal that fails ends it, and never the program.
    """

    def __init__(self, address: SqliteAddress | MemoryAddress, ground: Ground) -> None:
        self._ground = ground
        self._address = address
        self.url = str(address)
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
        failure: Exception | None = None
        async with anyio.create_task_group() as self._connections:
            try:
                await self._serve(ready)
            except Exception as error:
                failure = error
            # The broker has told and closed every connection; what is left of them ends here.
            self._connections.cancel_scope.cancel()
        if failure is None:
            return
        if not (ready.done() and isinstance(failure, JournalError)):
            raise failure
        log.error("the broker in this program has stopped: %s", failure)
        self._failure = JournalFailed(path=failure.fields.get("path", ""), reason=str(failure))

    async def _serve(self, ready: asyncio.Future[None]) -> None:
        async with open_broker(self._address, ground=self._ground) as self._broker, AsyncExitStack() as stack:
            if isinstance(self._address, SqliteAddress):
                sharing = listening_beside(self._address.path, self._broker.attend, self._connections)
                await stack.enter_async_context(sharing)
            self._serves = True
            ready.set_result(None)
            try:
                await self._stop.wait()
            finally:
                self._serves = False

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
