"""The machines of a world: the broker's, those of workers with their supervisors or heartbeats, and those of clients.

What runs in them is the real program; a host only starts it, ends it in every way there is, and starts it again. A
heartbeat is a thread with a socket of its own in production; here it is a party of its own that says the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Final, Protocol

import anyio

from aioqueue.broker.broker import Broker
from aioqueue.broker.storage import Storage
from aioqueue.client.queue import Queue
from aioqueue.client.task import Task
from aioqueue.errors import (
    AioqueueError,
    AppendUnknown,
    ArchiveFailed,
    BrokerUnavailable,
    JournalError,
    JournalFailed,
    JournalUnavailable,
)
from aioqueue.ground import Ground
from aioqueue.limits import CONNECT_SECONDS, HEARTBEATS_A_TTL
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side
from aioqueue.transport.connection import Connection
from aioqueue.worker.wiring import Wiring
from aioqueue.worker.worker import Worker
from tests.simulator.shells.ground import Clocks
from tests.simulator.shells.loop import PARTY, Party, VirtualLoop
from tests.simulator.shells.network import URL, Network
from tests.simulator.shells.storage import NAME, Disk, SimulatedArchive, SimulatedJournal, watch

NAMESPACE: Final = "sim"
_CODEC: Final = Codec()
# Which Pong says that the end of a process is on record.
_RECORDED: Final = 1
# What the faults of a disk end a broker with. One that only refuses is waited for, but not by a broker that begins.
_STORAGE_ERRORS: Final = (AppendUnknown, ArchiveFailed, JournalFailed)
_ERRORS_AT_FIRST: Final = (*_STORAGE_ERRORS, JournalUnavailable)
# How long it is tried to tell of it.
TELL_SECONDS: Final = 300.0


class Site(Protocol):
    """What a host needs of its world."""

    loop: VirtualLoop
    rng: Random
    network: Network
    disk: Disk
    ttl_ms: int

    def say(self, *words: object) -> None: ...


class BrokerHost:
    """One broker after another on the same disk."""

    def __init__(self, site: Site, begun: Callable[[], None], over: Callable[[], None]) -> None:
        self._site = site
        self._begun = begun
        self._over = over
        self._lives = 0
        self.clocks = Clocks(site.loop, site.rng.randrange(1_000, 10**9))
        self.party: Party
        # The one that has recovered and listens.
        self._broker: Broker | None = None
        self.stopped: asyncio.Event
        self._may_end_with: tuple[type[JournalError], ...]
        self.task: asyncio.Task[None]

    def start(self) -> None:
        self._lives += 1
        self.party = Party(self._site.loop, f"broker{self._lives}")
        self.stopped = asyncio.Event()
        self._may_end_with = _ERRORS_AT_FIRST
        self.task = self.party.start(self._life())

    @property
    def broker(self) -> Broker | None:
        """The one that serves: it listens, nobody told it to stop, and it is not dying of its storage."""
        broker = self._broker
        return broker if broker is not None and not broker.engine.ended else None

    def stop(self) -> None:
        """Stop in good order."""
        self._broker = None
        self.party.call(self.stopped.set)

    def kill(self, power: bool = False) -> None:
        """A crash; with `power` the whole machine goes dark and nobody's connection is closed."""
        self._broker = None
        self.party.kill()
        self._site.network.lose(self.party, power)
        self._over()

    async def _life(self) -> None:
        site = self._site
        try:
            async with anyio.create_task_group() as connections:
                await self._serve(connections)
                connections.cancel_scope.cancel()
            site.say("the broker stopped in good order")
        except* self._may_end_with as group:
            site.say("the broker stopped:", group.exceptions[0])
        except* Exception as group:
            site.loop.note(f"defect: the broker broke down: {group.exceptions!r}", group)
        self.party.kill()
        site.network.lose(self.party)
        self._over()

    async def _serve(self, connections: anyio.abc.TaskGroup) -> None:
        site, stopped = self._site, self.stopped
        storage = Storage(
            NAME, SimulatedJournal(site.disk), self._open_archive, watch(site.disk),
            site.rng.choice((1, 300, 1_000_000)), site.bounds,
        )  # fmt: skip
        opening = Broker.open(
            storage, ground=Ground(self.clocks, site.rng.randbytes), owner=self.party.name, session_ttl_ms=site.ttl_ms
        )
        async with opening as broker:
            try:
                site.network.listen(lambda stream: connections.start_soon(broker.attend, stream))
                self._broker = broker
                self._may_end_with = _STORAGE_ERRORS
                self._begun()
                site.say("the broker listens:", len(broker.engine.partition.state.jobs), "jobs")
                await stopped.wait()
            finally:
                # One that stops, or that one of its tasks has failed in, is to be found no more, as in `cli.serving`.
                self._broker = None
                site.network.close()

    async def _open_archive(self, journal_id: bytes) -> SimulatedArchive:
        return SimulatedArchive(self._site.disk)


class Beater:
    """What `worker.heartbeat` does in a thread: beats for one session over a connection of its own."""

    def __init__(self, network: Network, secret: bytes, namespace: str, name: str) -> None:
        self._network = network
        self._hello = m.Hello(
            m.PROTOCOL_VERSION_MIN, m.PROTOCOL_VERSION, m.Role.HEARTBEAT, secret, namespace, name
        )  # fmt: skip
        self._wake = asyncio.Event()
        self._stopping = False
        self._dead = False
        # When the broker had recorded that the worker died; 0 before.
        self.told_ms = 0
        self.session = 0

    def died(self) -> None:
        """Tell the broker that the process is gone, and beat no more."""
        self._dead = True
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def run(self, patience_seconds: float) -> None:
        """Until stopped, or until the death is told or could not be for so long."""
        loop = asyncio.get_running_loop()
        give_up = float("inf")
        while not self._stopping and not self.told_ms:
            try:
                stream = await self._network.open_stream()
                await self._serve(
                    Connection(stream, decode=_CODEC.decode_broker, conversation=Conversation(Side.CLIENT))
                )
            except (AioqueueError, TimeoutError, anyio.EndOfStream):
                await asyncio.sleep(0.1)
            if self._dead:
                give_up = min(give_up, loop.time() + patience_seconds)
                if loop.time() >= give_up:
                    return

    async def _serve(self, connection: Connection[Any]) -> None:
        self._pong, self._recorded = asyncio.Event(), asyncio.Event()
        self._welcome: asyncio.Future[m.Welcome] = asyncio.get_running_loop().create_future()
        tasks = [asyncio.create_task(connection.run_writer()), asyncio.create_task(self._read(connection))]
        try:
            connection.send_nowait(self._hello)
            async with asyncio.timeout(CONNECT_SECONDS):
                ttl_ms = (await self._welcome).session_ttl_ms
            await self._beat(connection, ttl_ms / 1000 / HEARTBEATS_A_TTL)
        finally:
            for task in tasks:
                task.cancel()
            await connection.aclose()

    async def _beat(self, connection: Connection[Any], pause: float) -> None:
        silent = 0
        while not self._stopping and silent < HEARTBEATS_A_TTL:
            self._pong.clear()
            if self._dead:
                connection.send_nowait(m.WorkerDied("it was killed", _RECORDED))
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._recorded.wait()
                self.told_ms = int(asyncio.get_running_loop().time() * 1000)
                return
            connection.send_nowait(m.Beat(), m.Ping())
            self._wake.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                silent = 0 if self._pong.is_set() else silent + 1

    async def _read(self, connection: Connection[Any]) -> None:
        try:
            while True:
                for message in await connection.receive():
                    if isinstance(message, m.Welcome):
                        self.session = message.session
                        self._welcome.set_result(message)
                    elif isinstance(message, m.Pong):
                        (self._recorded if message.number == _RECORDED else self._pong).set()
        except (AioqueueError, anyio.EndOfStream) as error:
            if not self._welcome.done():
                self._welcome.set_exception(error)


class Process:
    """One worker process: a session, the party that works and the one that beats for it.

    A `supervised` one is beaten for by another process, which outlives it and tells of its death; otherwise by a thread
    of its own, which dies and is stopped with it.
    """

    def __init__(self, host: WorkerHost, name: str, supervised: bool) -> None:
        site = host.site
        self._site = site
        self._over = host.over
        self.supervised = supervised
        self.main = Party(site.loop, name)
        self.beats = Party(site.loop, f"{name}/beats")
        self.secret = site.rng.randbytes(16)
        self.queue = Queue(URL, namespace=NAMESPACE)
        self.tasks = host.declare(self)
        # While the queue is entered, so that what runs may submit children.
        self.is_entered = False
        self._leaving = asyncio.Event()
        self.worker = Worker(
            self.queue, queues=host.queues, concurrency=host.slots, grace=0.5, cancel_grace=0.3, name=name,
            wiring=Wiring(secret=self.secret, dialer=site.network),
        )  # fmt: skip
        self.beater = Beater(site.network, self.secret, NAMESPACE, name)
        self.beats.start(self.beater.run(TELL_SECONDS))
        # Tasks at work by their leases, as they count themselves.
        self.runs: dict[int, Any] = {}
        self.task = self.main.start(self._run())

    async def _run(self) -> None:
        entered = self.main.start(self._enter())
        await self.worker.run()
        self._leaving.set()
        await entered
        self.beater.stop()
        self._over(self)

    async def _enter(self) -> None:
        while not self._leaving.is_set():
            try:
                async with self.queue:
                    self.is_entered = True
                    await self._leaving.wait()
                    self.is_entered = False
            except BrokerUnavailable:
                await asyncio.sleep(0.2)

    @property
    def is_leaving(self) -> bool:
        """Whether what runs here may find its queue closed."""
        return self._leaving.is_set()

    @property
    def over(self) -> bool:
        return self.main.dead or self.task.done()

    @property
    def parties(self) -> tuple[Party, ...]:
        """Those that are one process to the system, and stop and go on together."""
        return (self.main,) if self.supervised else (self.main, self.beats)

    def kill(self, power: bool = False) -> None:
        """Its end without a word."""
        for party in (self.main, self.beats) if power else self.parties:
            party.kill()
            self._site.network.lose(party, power)
        if self.supervised and not power:
            self.beats.call(self.beater.died)


class WorkerHost:
    """One worker after another, each with a session of its own."""

    def __init__(
        self,
        site: Site,
        number: int,
        queues: list[str],
        slots: int,
        declare: Callable[[Process], dict[str, Task[[int], int]]],
        over: Callable[[Process], None],
    ) -> None:
        self.site = site
        self.queues = queues
        self.slots = slots
        self.declare = declare
        # Told when a process has stopped in good order.
        self.over = over
        self._number = number
        self._lives = 0
        self.process: Process

    def start(self) -> None:
        self._lives += 1
        self.process = Process(self, f"worker{self._number}.{self._lives}", self.site.rng.random() < 0.6)


class ClientHost:
    """One client process after another, each with a queue that its users share."""

    def __init__(self, site: Site, number: int, live: Callable[[ClientHost], Coroutine[Any, Any, None]]) -> None:
        self.site = site
        self._live = live
        self._number = number
        self._lives = 0
        self.queue: Queue | None = None
        self.party: Party
        self.task: asyncio.Task[None]

    def start(self) -> None:
        self._lives += 1
        self.party = Party(self.site.loop, f"client{self._number}.{self._lives}")
        self.task = self.party.start(self._live(self))

    def kill(self, power: bool = False) -> None:
        self.queue = None
        self.party.kill()
        self.site.network.lose(self.party, power)


def current() -> Party:
    """The party that runs now."""
    return PARTY.get()
