"""The broker put together: journal, archive and engine below, one `Peer` for each connection above.

    async with Broker.open(journal, open_archive, clock=SystemClock(), path="jobs.sqlite") as broker:
        await broker.attend(stream)        # one connection, until it ends

Who listens where is the caller's affair (`aioqueue serve`, an embedded queue): a broker only needs streams.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from itertools import count
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from aioqueue.archive.base import Archive
from aioqueue.broker import translate as t
from aioqueue.broker.backlog import room_for_more
from aioqueue.broker.backup import Backup
from aioqueue.broker.beats import Beats
from aioqueue.broker.bodies import Bodies
from aioqueue.broker.compaction import USUAL_BOUNDS, Compactor, JournalBounds
from aioqueue.broker.crowd import LOOK_SECONDS, Crowd
from aioqueue.broker.disk import DiskWatch
from aioqueue.broker.engine import Engine
from aioqueue.broker.hearing import hear_all
from aioqueue.broker.idleness import IdleWatch
from aioqueue.broker.line import Query
from aioqueue.broker.overlay import Overlay
from aioqueue.broker.pages import Listings
from aioqueue.broker.peer import Peer, check_witness
from aioqueue.broker.recovery import Recovered, Recovery
from aioqueue.broker.silence import Silences
from aioqueue.broker.span import LogSpan
from aioqueue.broker.statistics import Statistician
from aioqueue.broker.translate import Translator
from aioqueue.broker.waiters import Waiters
from aioqueue.clock import Clock
from aioqueue.core import commands as c
from aioqueue.core.admission import USUAL_LIMITS, BacklogLimits
from aioqueue.core.effects import ArchiveJob, ArchiveRun, CloseSession, DeliverJob, Effect, StopRun
from aioqueue.core.partition import Partition
from aioqueue.errors import (
    BackupFailed,
    ConnectionLost,
    HistoryLost,
    JournalError,
    PeerMisbehaved,
    Refused,
    TooManyConnections,
)
from aioqueue.journal.base import Journal, Leadership
from aioqueue.limits import (
    BACKUPS_MAX,
    BODY_CACHE_BYTES,
    DEAF_NAMED_MAX,
    DISK_LOOK_SECONDS,
    FRAME_BYTES_TARGET,
    HANDSHAKE_MS,
    HEARTBEATS_A_TTL,
    IDLE_MS,
    ITEMS_A_FRAME_MAX,
    SESSION_TTL_MS,
    SLOW_FROM,
    SLOW_SECONDS_MAX,
    STATISTICS_MS,
)
from aioqueue.model.views import Block
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side
from aioqueue.transport.connection import Connection
from aioqueue.transport.stream import Stream

log = logging.getLogger(__name__)

_T = TypeVar("_T")

# How long a last word (a refusal, "closing") may take to leave before the connection is cut.
LAST_WORD_SECONDS: Final = 2.0
IDLE_SENTENCE: Final = (
    "worker %s (session %d) has %d free slots beside %d ready jobs for more than %d ms; this is a defect of aioqueue, "
    "please report it"
)
# What the journal of a broker is called that keeps nothing.
MEMORY_PATH: Final = "memory:"


class Broker:
    """One partition at work. Made by `Broker.open`."""

    def __init__(
        self, engine_parts: tuple[Partition, Journal, Leadership], archive: Archive, overlay: Overlay, bodies: Bodies,
        clock: Clock, path: str,
    ) -> None:  # fmt: skip
        partition, journal, leadership = engine_parts
        self.path = path
        self.clock = clock
        self.overlay = overlay
        self.bodies = bodies
        self.engine = Engine(partition, journal, leadership, overlay, bodies, self, clock)
        self.translator = Translator()
        self.listings = Listings(partition.state)
        self.waiters: Waiters[Peer] = Waiters()
        self.recovered = Recovered(0, 0, 0, 0)
        self.disk: DiskWatch | None = None
        self.compactor: Compactor | None = None
        self._archive = archive
        self._journal = journal
        self._backups: set[Backup] = set()
        self._beats = Beats()
        self._idleness = IdleWatch(partition.state)
        self._statistician = Statistician(partition.state, self._beats, self._idleness, clock.now())
        self._decode = Codec().decode_client
        self.crowd = Crowd()
        self._peers: set[Peer] = set()
        self._links = count(1)
        self._at_data: dict[int, Peer] = {}
        self._at_heartbeat: dict[int, Peer] = {}
        self._watchers: set[Peer] = set()
        self._watched = anyio.Event()
        self._task_group: TaskGroup

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        journal: Journal,
        open_archive: Callable[[bytes], Awaitable[Archive]],
        *,
        clock: Clock,
        path: str,
        owner: str = "broker",
        session_ttl_ms: int = SESSION_TTL_MS,
        limits: BacklogLimits = USUAL_LIMITS,
        disk: DiskWatch | None = None,
        body_cache_bytes: int | None = BODY_CACHE_BYTES,
        bounds: JournalBounds | None = USUAL_BOUNDS,
    ) -> AsyncIterator[Broker]:
        """Recover, lead the journal, and run until the block is left; both files are closed then.

        `body_cache_bytes` bounds what is held of the arguments of living jobs, None where the journal forgets them.
        The journal is kept within `bounds`; None never trims it.
        Raises `JournalError` for what cannot be opened or replayed, and out of the block when the journal fails later.
        """
        try:
            if disk is not None:
                # Before anything is written, which a reserve that was left behind may have to make room for.
                await anyio.to_thread.run_sync(disk.look)
            archive = await open_archive(journal.journal_id)
            try:
                partition = Partition(session_ttl_ms, limits)
                bodies = Bodies(journal, body_cache_bytes, path)
                overlay = Overlay(archive, clock, bodies)
                span = LogSpan((bounds or USUAL_BOUNDS).log_bytes)
                recovery = Recovery(journal, archive, overlay, bodies, partition, span, path, clock)
                # Nothing is written to a journal that cannot be replayed: what is left of it is for salvage.
                await recovery.replay()
                leadership = await journal.lead(owner, clock.now().wall_ms)
                recovered = await recovery.finish(leadership.position)
                broker = cls((partition, journal, leadership), archive, overlay, bodies, clock, path)
                broker.recovered = recovered
                broker.engine.span = span
                broker.disk = broker._statistician.disk = disk
                if disk is not None and disk.shut is not None:
                    broker.engine.post(c.LimitAdmission(disk.shut), _nothing)
                if bounds is not None:
                    broker.compactor = Compactor(broker.engine, journal, overlay, bodies, bounds, path)
                    broker.compactor.scarce = disk is not None and disk.low is not None
                async with broker._running():
                    yield broker
            finally:
                with anyio.CancelScope(shield=True):
                    await archive.aclose()
                    if disk is not None:
                        disk.close()
        finally:
            with anyio.CancelScope(shield=True):
                await journal.aclose()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        failure: JournalError | None = None
        try:
            async with anyio.create_task_group() as self._task_group:
                self._task_group.start_soon(self._run_engine)
                self._task_group.start_soon(self.overlay.run)
                self._task_group.start_soon(self._tell_watchers)
                self._task_group.start_soon(self._notice_silence)
                self._task_group.start_soon(self._notice_idleness)
                self._task_group.start_soon(self._watch_crowd)
                if self.disk is not None:
                    self._task_group.start_soon(self._watch_disk, self.disk)
                if self.compactor is not None:
                    self._task_group.start_soon(self.compactor.run)
                    self._task_group.start_soon(self.compactor.run_trims)
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._answer_all()
                        await self._close_peers(m.Closing("the broker stops"))
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
                await self._close_peers(t.refusal(0, error))
            raise

    async def _watch_disk(self, disk: DiskWatch) -> None:
        while True:
            await anyio.sleep(DISK_LOOK_SECONDS)
            if await anyio.to_thread.run_sync(disk.look):
                self.engine.post(c.LimitAdmission(disk.shut), _nothing)
                if self.compactor is not None:
                    self.compactor.scarce = disk.low is not None
                    if disk.low is not None:
                        self.spawn(self.compactor.make_room)

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """Run something beside the engine, for as long as the broker lives."""
        self._task_group.start_soon(work, *arguments)

    # --- connections ------------------------------------------------------------------------------------------------

    async def attend(self, stream: Stream) -> None:
        """Serve one connection until it ends; what its peer does wrong, or a defect here, ends nothing else."""
        peer: Peer | None = None

        def outbox_grew(size: int) -> None:
            self.crowd.outbox_grew(size)
            if size < 0 and peer is not None:
                peer.later.moved()
                if peer.throttled:
                    peer.throttle()

        connection = Connection(
            stream, decode=self._decode, conversation=Conversation(Side.BROKER), on_outbox=outbox_grew
        )
        try:
            gauge = self.crowd.enter(connection, stream)
        except TooManyConnections as error:
            await self._turn_away(connection, error)
            return
        peer = Peer(self, connection, next(self._links), gauge)
        self._peers.add(peer)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connection.run_writer)
                try:
                    await self._converse(peer)
                except (PeerMisbehaved, Refused, HistoryLost) as error:
                    log.warning("%s: %s", connection.peer, error)
                    await self._last_word(peer, t.refusal(0, error))
                except (anyio.EndOfStream, ConnectionLost):
                    pass
                finally:
                    tasks.cancel_scope.cancel()
        except Exception:
            log.exception("the connection of %s failed", connection.peer)
        finally:
            self._leave(peer)
            self.crowd.leave(connection)
            with anyio.CancelScope(shield=True):
                await connection.aclose()

    async def _turn_away(self, connection: Connection[m.ClientMessage], error: TooManyConnections) -> None:
        if self.crowd.may_tell():
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(connection.run_writer)
                    with anyio.move_on_after(LAST_WORD_SECONDS), suppress(ConnectionLost):
                        connection.send_nowait(t.refusal(0, error))
                        await connection.flush()
                    tasks.cancel_scope.cancel()
            finally:
                self.crowd.told()
        with anyio.CancelScope(shield=True):
            await connection.aclose()

    async def _converse(self, peer: Peer) -> None:
        connection = peer.connection
        with anyio.move_on_after(HANDSHAKE_MS / 1000) as scope:
            while True:
                before = connection.understood_bytes
                messages = await connection.receive()
                if scope.deadline != float("inf") and connection.conversation.state.name != "EXPECT_HELLO":
                    scope.deadline = float("inf")
                peer.heard(self.clock.now().mono_ms)
                for message in messages:
                    peer.dispatch(message)
                peer.line.asked(connection.understood_bytes - before, peer.gauge)
                await self._until_readable(peer)
        raise PeerMisbehaved(reason=f"no Hello came within {HANDSHAKE_MS} ms")

    async def _until_readable(self, peer: Peer) -> None:
        """Let the peer wait for what it asked, and slow it down where it fills a backlog that is nearly full."""
        peer.reading = False
        await room_for_more(self.engine, peer.gauge)
        if peer.lookups.waiting:
            await peer.lookups.room()
        if peer.later.waiting:
            await peer.later.room()
        if peer.publishes:
            state = self.engine.partition.state
            fullness = state.admission.fullness(len(state.jobs))
            if fullness > SLOW_FROM:
                await anyio.sleep(SLOW_SECONDS_MAX * min(1.0, (fullness - SLOW_FROM) / (1 - SLOW_FROM)))
            peer.publishes = False
        peer.reading = True

    async def _watch_crowd(self) -> None:
        while True:
            await anyio.sleep(LOOK_SECONDS)
            self.crowd.look()
            for peer in list(self._peers):
                if not peer.listening:
                    # It is not to blame for its silence.
                    peer.heard(self.clock.now().mono_ms)
                if peer.backup is not None and peer.backup.is_abandoned(LOOK_SECONDS):
                    log.warning("%s: it asked for no more of its backup, which is given up", peer.connection.peer)
                    peer.end_backup()

    async def _notice_silence(self) -> None:
        ttl_ms = self.engine.partition.session_ttl_ms
        silences: Silences[Peer] = Silences()
        while True:
            await anyio.sleep(ttl_ms / 1000 / HEARTBEATS_A_TTL)
            await hear_all()
            # Who was not welcomed yet has the deadline of the handshake.
            for peer in silences.look(peer for peer in self._peers if peer.session):
                log.warning("%s: nothing came for %d ms: the connection is closed", peer.connection.peer, ttl_ms)
                peer.send(m.Closing(f"nothing came over this connection for {ttl_ms} ms"))
                self.dismiss(peer)

    async def _notice_idleness(self) -> None:
        while True:
            await anyio.sleep(IDLE_MS / 1000)
            for idle in self._idleness.look(self.engine.settled):
                log.error(IDLE_SENTENCE, idle.name, idle.session, idle.free, idle.ready, IDLE_MS)
                # Any command makes a batch, and each batch gives out what it can.
                self.engine.post(Query(lambda: None), _nothing)

    async def _last_word(self, peer: Peer, message: m.BrokerMessage) -> None:
        with anyio.move_on_after(LAST_WORD_SECONDS):
            peer.send(message)
            with suppress(ConnectionLost):
                await peer.connection.flush()

    async def _close_peers(self, word: m.BrokerMessage) -> None:
        async with anyio.create_task_group() as tasks:
            for peer in list(self._peers):
                tasks.start_soon(self._close_peer, peer, word)

    async def _close_peer(self, peer: Peer, word: m.BrokerMessage) -> None:
        with anyio.move_on_after(LAST_WORD_SECONDS), suppress(ConnectionLost):
            peer.send(word)
            await peer.connection.finish()
            # Its own end follows at once, unless it is stuck.
            await peer.gone.wait()
        await peer.connection.aclose()

    async def _answer_all(self) -> None:
        """Wait until what was asked by now has been answered: replies leave in the order of their commands."""
        with anyio.move_on_after(LAST_WORD_SECONDS):
            await self.engine.answered()

    def seat(self, peer: Peer) -> None:
        """The peer speaks for its session from now on; an older connection of the same kind is closed.

        One that left before it could be welcomed gets no seat, for nobody would ever clear it away.
        """
        if peer not in self._peers:
            return
        seats = self._at_heartbeat if peer.role is m.Role.HEARTBEAT else self._at_data
        older = seats.get(peer.session)
        seats[peer.session] = peer
        if older is not None and older is not peer:
            self.dismiss(older)

    def dismiss(self, peer: Peer) -> None:
        """Close a connection once what it was told has left."""
        self.spawn(self._dismiss, peer)

    async def _dismiss(self, peer: Peer) -> None:
        with anyio.move_on_after(LAST_WORD_SECONDS):
            with suppress(ConnectionLost):
                await peer.connection.flush()
        await peer.connection.aclose()

    def _leave(self, peer: Peer) -> None:
        self._peers.discard(peer)
        peer.gone.set()
        peer.later.moved()
        self._watchers.discard(peer)
        self.waiters.forget(peer)
        peer.end_backup()
        if self._at_data.get(peer.session) is peer:
            del self._at_data[peer.session]
            self.engine.post(c.LoseLink(peer.session, peer.link), _nothing)
        elif self._at_heartbeat.get(peer.session) is peer:
            del self._at_heartbeat[peer.session]
            self._beats.forget(peer.session)

    def beat(self, peer: Peer, message: m.Beat) -> None:
        """Remember how a worker's event loop fares; a connection that was replaced has no say."""
        if self._at_heartbeat.get(peer.session) is peer:
            self._beats.take(peer.session, message, self.clock.now().mono_ms)

    def deaf_at(self, job: bytes, namespace: str) -> list[str]:
        """The workers of this namespace on which a run of the job heeded no cancellation and still goes on."""
        found = (self.engine.partition.state.sessions.get(number) for number in self._beats.deaf_in(job))
        names = [session.name for session in found if session is not None and session.namespace == namespace]
        return names[:DEAF_NAMED_MAX]

    def blocked(self, session: int) -> Block | None:
        """What the event loop of this session's worker stands still in, as far as is known."""
        return self._beats.blocked(session, self.clock.now().mono_ms)

    def hash_secret(self, secret: bytes) -> bytes:
        """What is kept of a session's secret: enough to know it again, and nothing to speak for it with."""
        return sha256(self.engine.journal_id + secret).digest()[:16]

    def check_witness(self, message: m.Hello) -> None:
        check_witness(message, self.engine.journal_id, self.engine.position, self.path)

    # --- backups ---------------------------------------------------------------------------------------------------

    def begin_backup(self) -> Backup:
        """A copy of all that is here, for one reader. Raises `BackupFailed`."""
        if self.path == MEMORY_PATH:
            raise BackupFailed(reason="this broker keeps its jobs in memory only")
        if len(self._backups) >= BACKUPS_MAX:
            raise BackupFailed(reason=f"{BACKUPS_MAX} others are being made; wait for one of them")
        backup = Backup(self._journal, self._archive, self.engine.journal_id, lambda: self.engine.position)
        self._backups.add(backup)
        return backup

    def end_backup(self, backup: Backup) -> None:
        backup.close()
        self._backups.discard(backup)

    # --- what leaves ------------------------------------------------------------------------------------------------

    def carry_out(self, effects: Sequence[Effect], position: int) -> None:
        """Effects of a durable batch: runs to their workers, ends to those who wait."""
        runs: defaultdict[int, list[m.DeliverItem]] = defaultdict(list)
        ends: defaultdict[Peer, list[m.EndedItem]] = defaultdict(list)
        stops: list[StopRun] = []
        over: list[int] = []
        failed = False
        for effect in effects:
            if isinstance(effect, DeliverJob):
                runs[effect.session].append(
                    t.deliver_item(effect, self.clock.now().wall_ms if effect.deadline_ms else 0)
                )
            elif isinstance(effect, ArchiveJob):
                waiting = self.waiters.pop(effect.finished.id)
                if waiting:
                    item = t.ended_item(effect.finished)
                    for peer in waiting:
                        ends[peer].append(item)
            elif isinstance(effect, ArchiveRun):
                failed = True
            elif isinstance(effect, StopRun):
                stops.append(effect)
            elif isinstance(effect, CloseSession):
                over.append(effect.session)
        for session, items in runs.items():
            worker = self._at_data.get(session)
            # A run for a worker that is gone comes back when it resumes without it, or when its session ends.
            if worker is not None:
                for part in _frames(items, [len(item.args) + len(item.headers) for item in items]):
                    worker.send(m.Deliver(part))
                worker.throttle()
        for stop in stops:
            # A worker that is gone is told when it resumes.
            if (worker := self._at_data.get(stop.session)) is not None:
                worker.send(m.CancelRun(stop.id, stop.fence, stop.cause))
        for peer, ended in ends.items():
            self.send_ends(peer, ended)
        for session in over:
            self._close_session(session)
        if failed:
            self._statistician.take(effects)

    def send_ends(self, peer: Peer, ended: Sequence[m.EndedItem]) -> None:
        """Tell a client of ends it waited for, in frames of a good size."""
        for part in _frames(ended, [len(item.body) for item in ended]):
            if peer.later.full:
                peer.tell_later(item.job for item in part)
            else:
                peer.send(m.Ended(part, self.engine.position))

    def _close_session(self, session: int) -> None:
        for seats in (self._at_data, self._at_heartbeat):
            peer = seats.get(session)
            if peer is not None:
                self.dismiss(peer)

    # --- watching ---------------------------------------------------------------------------------------------------

    def watch(self, peer: Peer, wanted: bool) -> None:
        """Begin or end sending statistics to a peer; the first comes at once."""
        if not wanted:
            self._watchers.discard(peer)
            return
        self._watchers.add(peer)
        self.engine.post(Query(self._view), _show, [peer])
        self._watched.set()

    def _view(self) -> m.StatisticsUpdate:
        engine = self.engine
        now, log_bytes = self.clock.now(), engine.span.log_bytes
        return m.StatisticsUpdate(self._statistician.view(now, engine.position, log_bytes, engine.steps_ns))

    async def _tell_watchers(self) -> None:
        while True:
            await self._watched.wait()
            await anyio.sleep(STATISTICS_MS / 1000)
            if not self._watchers:
                self._watched = anyio.Event()
                continue
            self.engine.post(Query(self._view), _show, self._watchers)


def _nothing(asker: Any, question: Any, reply: Any) -> None:
    """Nobody waits for this answer."""


def _show(watchers: Collection[Peer], question: None, view: m.StatisticsUpdate) -> None:
    """What is so when it is shown is durable then: it stood in line like every answer."""
    for peer in watchers:
        peer.send(view)


def _first(group: BaseExceptionGroup[JournalError]) -> JournalError:
    first = group.exceptions[0]
    return first if isinstance(first, JournalError) else _first(first)


def _frames(items: Sequence[_T], sizes: Sequence[int]) -> list[list[_T]]:
    """The items, of these sizes, in lists that each make a frame of about the target size."""
    if len(items) <= ITEMS_A_FRAME_MAX and sum(sizes) <= FRAME_BYTES_TARGET:
        return [list(items)]
    frames: list[list[_T]] = [[]]
    room = FRAME_BYTES_TARGET
    for item, size in zip(items, sizes, strict=True):
        if frames[-1] and (room < size or len(frames[-1]) >= ITEMS_A_FRAME_MAX):
            frames.append([])
            room = FRAME_BYTES_TARGET
        room -= size
        frames[-1].append(item)
    return frames
