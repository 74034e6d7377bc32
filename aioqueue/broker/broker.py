"""The broker put together: a follower that leads its journal, an engine, and a `Peer` for each connection.

    async with Broker.open(storage, ground=Ground()) as broker:
        await broker.attend(stream)        # one connection, until it ends

Who listens where is the caller's affair (`aioqueue serve`, an embedded queue): a broker only needs streams.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from aioqueue.broker.backup import Backups
from aioqueue.broker.beats import Beats
from aioqueue.broker.compaction import Compactor
from aioqueue.broker.connections import Connections
from aioqueue.broker.crowd import Crowd
from aioqueue.broker.engine import Engine
from aioqueue.broker.failures import FailureLog
from aioqueue.broker.follower import Follower
from aioqueue.broker.idleness import IdleWatch
from aioqueue.broker.line import Query, nobody
from aioqueue.broker.outlet import Outlet
from aioqueue.broker.pages import Listings
from aioqueue.broker.peers.peer import Peer
from aioqueue.broker.room import Room
from aioqueue.broker.seats import LAST_WORD_SECONDS, Seats
from aioqueue.broker.services import Services
from aioqueue.broker.statistics import Statistician
from aioqueue.broker.storage import Storage
from aioqueue.broker.translate.refusals import refusal
from aioqueue.broker.translate.submits import Translator
from aioqueue.broker.waiters import Waiters
from aioqueue.broker.watching import Watching
from aioqueue.core import commands as c
from aioqueue.core.admission import USUAL_LIMITS, BacklogLimits
from aioqueue.errors import JournalError
from aioqueue.ground import Ground
from aioqueue.journal.base import Leadership
from aioqueue.limits import DISK_LOOK_SECONDS, IDLE_MS, SESSION_TTL_MS
from aioqueue.protocol import messages as m
from aioqueue.transport.stream import Stream

log = logging.getLogger(__name__)

IDLE_SENTENCE: Final = (
    "worker %s (session %d) has %d free slots beside %d ready jobs for more than %d ms; this is a defect of aioqueue, "
    "please report it"
)


class Broker:
    """One partition at work. Made by `Broker.open`."""

    def __init__(self, follower: Follower, leadership: Leadership) -> None:
        storage, ground = follower.storage, follower.ground
        state = follower.partition.state
        self.recovered = follower.recovered
        # The path of its journal, if there was none.
        self.created = storage.created
        self.room: Room | None = storage.room
        self.overlay = follower.overlay
        self.bodies = follower.bodies
        self._idleness = IdleWatch(state)
        beats, waiters, seats = Beats(), Waiters[Peer](), Seats[Peer](self.spawn)
        self._statistician = statistician = Statistician(state, beats, self._idleness, ground.now(), storage.room)
        outlet = Outlet(seats, waiters, statistician, ground)
        self.engine = engine = Engine(
            follower.partition, storage.journal, leadership, follower.overlay, follower.bodies, outlet, ground,
            follower.span,
        )  # fmt: skip
        backups = Backups(
            storage.journal, follower.archive, leadership.journal_id, lambda: engine.position, storage.keeps
        )
        self.services = Services(
            storage.name, ground, engine, follower.overlay, follower.bodies, outlet, Translator(), Listings(state),
            backups, beats, Crowd(), seats, waiters, Watching(engine, statistician, ground), follower.witness,
            self.spawn,
        )  # fmt: skip
        self._connections = Connections(self.services)
        self.compactor: Compactor | None = None
        if storage.bounds is not None:
            self.compactor = Compactor(
                engine, storage.journal, follower.overlay, follower.bodies, storage.bounds, storage.name
            )
        if self.room is not None and self.room.shut is not None:
            self._heed(self.room)
        self._task_group: TaskGroup

    @classmethod
    @asynccontextmanager
    async def open(
        cls, storage: Storage, *, ground: Ground, owner: str = "broker", session_ttl_ms: int = SESSION_TTL_MS,
        limits: BacklogLimits = USUAL_LIMITS,
    ) -> AsyncIterator[Broker]:  # fmt: skip
        """Recover, lead the journal, and run until the block is left; journal and archive are closed then.

        Raises `JournalError` for what cannot be opened or replayed, and out of the block when the journal fails later.
        """
        async with Follower.open(storage, ground=ground, session_ttl_ms=session_ttl_ms, limits=limits) as follower:
            broker = cls(follower, await follower.lead(owner))
            async with broker._running():
                yield broker

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        failure: JournalError | None = None
        try:
            async with anyio.create_task_group() as self._task_group:
                self.spawn(self._run_engine)
                self.spawn(self.overlay.run)
                self.spawn(self.overlay.run_retention)
                self.spawn(self.services.watching.run)
                self.spawn(self._connections.notice_silence)
                self.spawn(self._connections.watch_crowd)
                self.spawn(self._connections.excuse_unread)
                self.spawn(self._notice_idleness)
                if self.room is not None:
                    self.spawn(self._watch_room, self.room)
                if self.compactor is not None:
                    self.spawn(self.compactor.run)
                    self.spawn(self.compactor.run_trims)
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._answer_all()
                        await self._connections.close(m.Closing("the broker stops"))
                    self._task_group.cancel_scope.cancel()
        except* JournalError as group:
            failure = _first(group)
        if failure is not None:
            raise failure
        with anyio.CancelScope(shield=True):
            await self.overlay.write()

    async def _run_engine(self) -> None:
        try:
            await self.engine.run()
        except JournalError as error:
            log.critical("%s", error)
            with anyio.CancelScope(shield=True):
                await self._connections.close(refusal(0, error))
            raise

    async def _answer_all(self) -> None:
        """Wait until what was asked by now has been answered: replies leave in the order of their commands."""
        with anyio.move_on_after(LAST_WORD_SECONDS):
            await self.engine.answered()

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """Run something beside the engine, for as long as the broker lives."""
        self._task_group.start_soon(work, *arguments)

    def log_failures(self) -> None:
        """Have each failed attempt in the log: for a broker that serves the workers of other programs."""
        failures = FailureLog(self.services.ground)
        self._statistician.on_failure = failures.tell
        self.spawn(failures.run)

    async def attend(self, stream: Stream) -> None:
        """Serve one connection until it ends; what its peer does wrong, or a defect here, ends nothing else."""
        await self._connections.attend(stream)

    # --- what is looked after ---------------------------------------------------------------------------------------

    async def _watch_room(self, room: Room) -> None:
        async for _ in self.services.ground.every(DISK_LOOK_SECONDS):
            if await anyio.to_thread.run_sync(room.look):
                self._heed(room)
                if self.compactor is not None and self.compactor.scarce:
                    self.spawn(self.compactor.make_room)

    def _heed(self, room: Room) -> None:
        """Where there is no room take no new jobs, and keep no history."""
        self.engine.post(c.LimitAdmission(room.shut), nobody)
        if self.compactor is not None:
            self.compactor.scarce = room.low is not None

    async def _notice_idleness(self) -> None:
        async for _ in self.services.ground.every(IDLE_MS / 1000):
            for idle in self._idleness.look(self.engine.settled):
                log.error(IDLE_SENTENCE, idle.name, idle.session, idle.free, idle.ready, IDLE_MS)
                # Any command makes a batch, and each batch gives out what it can.
                self.engine.post(Query(lambda: None), nobody)


def _first(group: BaseExceptionGroup[JournalError]) -> JournalError:
    first = group.exceptions[0]
    return first if isinstance(first, JournalError) else _first(first)
