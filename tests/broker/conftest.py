"""A real broker on a memory journal, and peers that say exactly what a test wants over in-memory streams."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import anyio
import pytest

from aioqueue.archive.base import Archive
from aioqueue.archive.memory import MemoryArchive
from aioqueue.broker.broker import Broker
from aioqueue.broker.disk import DiskWatch
from aioqueue.broker.storage import Storage
from aioqueue.clock import Clock
from aioqueue.core.admission import USUAL_LIMITS, BacklogLimits
from aioqueue.ground import Ground
from aioqueue.journal.memory import Faults, MemoryJournal, MemoryStore
from aioqueue.limits import BODY_CACHE_BYTES
from aioqueue.model.ids import generated_id
from aioqueue.model.spec import Spec, pack_spec
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side
from aioqueue.transport.connection import Connection
from aioqueue.transport.memory import memory_pair

M = TypeVar("M")
ARGS = b"\x01\x92\x90\x80"
RESULT = b"\x01\xc0"


class Script:
    """A peer of the broker that a test speaks for."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.connection = connection
        self.request = 0
        self._inbox: list[Any] = []

    def say(self, *messages: Any) -> None:
        self.connection.send_nowait(*messages)

    def ask(self) -> int:
        self.request += 1
        return self.request

    async def hear(self, kind: type[M]) -> M:
        """The next message of this kind; others are passed over."""
        async with asyncio.timeout(60):
            while True:
                for index, message in enumerate(self._inbox):
                    if isinstance(message, kind):
                        del self._inbox[: index + 1]
                        return message
                self._inbox += await self.connection.receive()

    async def heard_nothing(self) -> bool:
        """Whether nothing is there after the event loop has run dry for a moment."""
        for _ in range(50):
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(0.05):
                self._inbox += await self.connection.receive()
        except TimeoutError:
            return not self._inbox
        return False

    async def submit(self, *items: m.SubmitItem) -> m.Submitted:
        self.say(m.Submit(self.ask(), list(items)))
        return await self.hear(m.Submitted)

    async def runs(self) -> list[m.DeliverItem]:
        return (await self.hear(m.Deliver)).items

    async def settle(self, *items: m.SettleItem) -> m.Settled:
        self.say(m.Settle(self.ask(), list(items)))
        return await self.hear(m.Settled)


class House:
    """What survives a broker's end: its journal's bytes and its archive."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.archive = MemoryArchive()

    async def keep_archive(self, journal_id: bytes) -> Archive:
        return _Kept(self.archive)


class _Kept:
    """The archive, which outlives the broker that closes it."""

    def __init__(self, archive: MemoryArchive) -> None:
        self._archive = archive

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)

    async def aclose(self) -> None:
        return None


class Running:
    """A running broker and the peers that connected to it."""

    def __init__(self, broker: Broker, stack: AsyncExitStack, tasks: Any) -> None:
        self.broker = broker
        self._stack = stack
        self._tasks = tasks

    async def connect(self) -> Script:
        near, far = memory_pair()
        connection = Connection(near, decode=Codec().decode_broker, conversation=Conversation(Side.CLIENT))
        self._tasks.start_soon(self.broker.attend, far)
        self._tasks.start_soon(connection.run_writer)
        return Script(connection)

    async def peer(self, role: m.Role = m.Role.CLIENT, secret: bytes | None = None, **hello: Any) -> Script:
        script = await self.connect()
        script.say(m.Hello(1, 1, role, secret or os.urandom(16), **hello))
        script.welcome = await script.hear(m.Welcome)  # type: ignore[attr-defined]
        return script

    async def worker(self, slots: int, *queues: str, secret: bytes | None = None) -> Script:
        script = await self.peer(m.Role.WORKER, secret)
        script.say(m.Capacity(slots, list(queues or ("default",))))
        return script


@asynccontextmanager
async def running(
    house: House,
    faults: Faults | None = None,
    session_ttl_ms: int = 10_000,
    limits: BacklogLimits = USUAL_LIMITS,
    clock: Clock | None = None,
    disk: DiskWatch | None = None,
    body_cache_bytes: int = BODY_CACHE_BYTES,
    keeps: bool = True,
) -> AsyncIterator[Running]:
    journal = MemoryJournal(house.store, faults)
    storage = Storage("memory:", journal, house.keep_archive, disk, body_cache_bytes, keeps=keeps)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(
            Broker.open(storage, ground=Ground(clock), session_ttl_ms=session_ttl_ms, limits=limits)
        )
        async with anyio.create_task_group() as tasks:
            try:
                yield Running(broker, stack, tasks)
            finally:
                tasks.cancel_scope.cancel()


@pytest.fixture
def house() -> House:
    return House()


def item(queue: str = "default", job: bytes | None = None, **fields: Any) -> m.SubmitItem:
    spec_fields = {name: fields.pop(name) for name in ("priority", "retry", "namespace", "keep_ms") if name in fields}
    task = fields.pop("task", "test.task")
    spec = Spec(spec_fields.pop("namespace", "default"), queue, task, **spec_fields)
    job = job or generated_id(spec.namespace, queue, 1_700_000_000_000, os.urandom(8))
    return m.SubmitItem(job, pack_spec(spec), ARGS, **fields)


Gate = Callable[[], Awaitable[object]]
