"""The broker (and the worker) inside the program that uses them: what `memory:` and `sqlite:PATH` mean for a `Queue`.

`Queue` finds this module through its table of URL schemes and never imports it otherwise, so that a program which only
submits over TCP loads no storage. An embedded broker speaks the same protocol, over in-memory streams, and over a Unix
socket to other processes that name the same `sqlite:PATH`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from aioqueue.embedded.owning import EmbeddedBroker
from aioqueue.embedded.sharing import SharedBroker
from aioqueue.transport.address import MemoryAddress, SqliteAddress
from aioqueue.transport.stream import Stream
from aioqueue.worker.wiring import Wiring
from aioqueue.worker.worker import Worker

if TYPE_CHECKING:
    from aioqueue.client.queue import Queue

__all__ = ["EmbeddedBroker", "SharedBroker", "running"]

OpenStream = Callable[[], Awaitable[Stream]]


@asynccontextmanager
async def running(queue: Queue, address: SqliteAddress | MemoryAddress, slots: int) -> AsyncIterator[OpenStream]:
    """The broker of `address`, reachable by what is yielded, and a worker of so many slots for the queue's tasks.

    0 slots: no worker. Raises the journal's errors where the storage cannot be opened.
    """
    async with AsyncExitStack() as stack:
        open_stream = (await stack.enter_async_context(_embedded(address))).open_stream
        if slots:
            wiring = Wiring(open_stream=open_stream)
            await stack.enter_async_context(Worker(queue, queues=None, concurrency=slots, wiring=wiring))
        yield open_stream


@asynccontextmanager
async def _embedded(address: SqliteAddress | MemoryAddress) -> AsyncIterator[EmbeddedBroker | SharedBroker]:
    broker = SharedBroker(address) if isinstance(address, SqliteAddress) else EmbeddedBroker(address)
    await broker.start()
    try:
        yield broker
    finally:
        with anyio.CancelScope(shield=True):
            await broker.aclose()
