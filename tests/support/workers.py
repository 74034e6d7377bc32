"""A worker at a scripted broker, and slots without any broker."""

from __future__ import annotations

import asyncio
from typing import Any

from aioqueue import Queue, Worker
from aioqueue.ground import Ground
from aioqueue.model.views import Failure
from aioqueue.protocol import messages as m
from aioqueue.transport.address import TcpAddress
from aioqueue.transport.dialer import Dialer
from aioqueue.worker.calls import Calls
from aioqueue.worker.deadlines import Deadlines
from aioqueue.worker.processes import Processes
from aioqueue.worker.runners import Runners
from aioqueue.worker.threads import Threads
from aioqueue.worker.wiring import Wiring
from tests.support.fake_broker import FakeBroker, FakePeer
from tests.support.runs import failure_in


def wired(broker: FakeBroker, **more: Any) -> Wiring:
    """The wiring of a worker at the broker; it has a secret, so it beats not itself."""
    return Wiring(secret=b"s" * 16, dialer=Dialer([TcpAddress("127.0.0.1", broker.port)]), **more)


class Desk:
    """A worker that is connected, and the broker's end of its connection."""

    def __init__(self, worker: Worker, peer: FakePeer, hello: m.Hello, capacity: m.Capacity) -> None:
        self.worker = worker
        self.peer = peer
        self.hello = hello
        self.capacity = capacity

    async def settle(self) -> list[m.SettleItem]:
        """The next ends that the worker tells, recorded."""
        told = await self.peer.expect(m.Settle)
        self.peer.send(m.Settled(told.request, 1))
        return told.items

    async def end_of(self, item: m.DeliverItem) -> m.SettleItem:
        """Deliver one run and give its end."""
        self.peer.send(m.Deliver([item]))
        (end,) = await self.settle()
        assert (end.job, end.fence) == (item.job, item.fence)
        return end


class Slots:
    """Runners without a broker: what they settle can be awaited."""

    def __init__(self, queue: Queue, slots: int, cancel_grace_ms: int) -> None:
        self.threads = Threads(4)
        self.deadlines = Deadlines(Ground().mono_ns)
        self._ends: asyncio.Queue[m.SettleItem] = asyncio.Queue()
        self.processes = Processes(2, queue.tasks)
        calls = Calls(queue.tasks, self.threads, self.processes)
        self.runners = Runners(slots, calls, self._ends.put_nowait, self.deadlines, cancel_grace_ms, Ground().mono_ns)

    def offer(self, *items: m.DeliverItem) -> None:
        self.runners.offer(items)

    async def end(self) -> m.SettleItem:
        """The next end that is settled."""
        return await self._ends.get()

    async def failure(self) -> Failure:
        """The next end, which must be a failure."""
        return failure_in(await self.end())

    def ended(self) -> int:
        """How many ends were settled and not looked at."""
        return self._ends.qsize()

    async def aclose(self) -> None:
        await self.runners.aclose()
        await self.processes.aclose()
        self.deadlines.close()
        self.threads.close()
