"""The broker (and the worker) inside the program that uses them: what `memory:` and `sqlite:PATH` mean for a `Queue`.

`Queue` finds this module through its table of URL schemes and never imports it otherwise, so that a program which only
submits over TCP loads no storage. An embedded broker speaks the same protocol, over in-memory streams, and over a Unix
socket to other processes that name the same `sqlite:PATH`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from aioqueue.embedded.owning import EmbeddedBroker
from aioqueue.embedded.sharing import SharedBroker
from aioqueue.ground import Ground
from aioqueue.transport.address import MemoryAddress, SqliteAddress
from aioqueue.transport.dialer import Dials
from aioqueue.worker.wiring import Wiring
from aioqueue.worker.worker import Worker

if TYPE_CHECKING:
    from aioqueue.client.queue import Queue

__all__ = ["EmbeddedBroker", "SharedBroker", "running"]


@asynccontextmanager
async def running(
    queue: Queue, address: SqliteAddress | MemoryAddress, slots: int, *, lazy: bool = False
) -> AsyncIterator[Dials]:
    """The broker of `address`, which is yielded, and a worker of so many slots for the queue's tasks.

    0 slots: no worker. Raises the journal's errors where the storage cannot be opened. A `lazy` one opens it for the
    first who connects, and tells them.
    """
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(_embedded(address, queue.ground, lazy))
        if slots:
            wiring = Wiring(dialer=broker)
            await stack.enter_async_context(Worker(queue, concurrency=slots, wiring=wiring))
        yield broker


@asynccontextmanager
async def _embedded(
    address: SqliteAddress | MemoryAddress, ground: Ground, lazy: bool
) -> AsyncIterator[EmbeddedBroker | SharedBroker]:
    broker = SharedBroker(address, ground) if isinstance(address, SqliteAddress) else EmbeddedBroker(address, ground)
    # One that is shared is opened, or found, by whoever asks it for a connection.
    if not (lazy and isinstance(broker, SharedBroker)):
        await broker.start()
    try:
        yield broker
    finally:
        with anyio.CancelScope(shield=True):
            await broker.aclose()
