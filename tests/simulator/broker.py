"""A broker in miniature: the real partition, the real journal's bytes, and a shell with nothing left but its duties.

What the shell owes is all here: commands stand in one line, replies and effects leave when their batch is durable,
one append is in flight while the next batch is already decided, what ends is in the overlay from the moment it is
decided, and a command that needs a look-up comes back later. What is not here is everything else: sockets, frames,
time. `Archive` and the `MemoryStore` outlive a broker; the rest dies with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from random import Random
from typing import Any, NamedTuple, TypeVar

from aioqueue.archive.base import Tombstone
from aioqueue.broker.bodies import Bodies, Plan
from aioqueue.broker.lookup import tell
from aioqueue.clock import ManualClock
from aioqueue.core import commands as c
from aioqueue.core.apply import Moment
from aioqueue.core.effects import ArchiveJob, CloseSession, DeliverJob, Effect, ReviveJob, StopRun
from aioqueue.core.events import JobFailed, JobMisfit, JobReleased, JournaledEvent, SessionEnded
from aioqueue.core.invariants import Offers
from aioqueue.core.invariants.offers import Fit, Line
from aioqueue.core.leasing import upcoming
from aioqueue.core.nouns import Job
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events, encode_events
from aioqueue.errors import JournalUnavailable
from aioqueue.journal.batch import Batch, BatchKind
from aioqueue.journal.memory import Faults, MemoryJournal, MemoryStore
from aioqueue.limits import BODY_OVERHEAD_BYTES, HEARTBEATS_A_TTL
from aioqueue.model.records import FinishedJob
from aioqueue.model.states import TERMINAL
from tests.simulator.checker import Violation
from tests.simulator.network import Connection, Reply, Request

_T = TypeVar("_T")

# What becomes of a run that does not fit.
RUN_OVER = (JobMisfit, JobFailed, JobReleased)

# About what one job's arguments take.
BODY_BYTES = BODY_OVERHEAD_BYTES + 20


def run(waiting: Coroutine[Any, Any, _T]) -> _T:
    """A coroutine that never suspends, to its end."""
    try:
        waiting.send(None)
    except StopIteration as end:
        value: _T = end.value
        return value
    raise AssertionError("a memory journal suspended")


class Archive:
    """What the archive has committed."""

    def __init__(self) -> None:
        self.rows: dict[bytes, FinishedJob] = {}
        # What is left of jobs that it has forgotten.
        self.stones: dict[bytes, Tombstone] = {}
        self.synced = 0


class Entry(NamedTuple):
    """A command in the line, and whom it is answered to; nobody, where the broker asks itself."""

    command: c.Command
    connection: Connection | None
    request: Request | None
    looked: tuple[bytes, ...] = ()


class Decided(NamedTuple):
    """A batch on its way to the journal, with all that leaves when it is there."""

    position: int
    wall_ms: int
    events: bytes
    bodies: list[bytes]
    data: bytes
    replies: list[tuple[Entry, Any]]
    effects: list[Effect]
    # What workers took when it was decided.
    offers: Offers
    # What was decided after it without an event leaves after it, in its order.
    behind: list[tuple[list[tuple[Entry, Any]], list[Effect]]]


Observer = Callable[[list[JournaledEvent], bytes, int, int, Offers], None]


class Broker:
    """One life of the broker, from its recovery to its crash."""

    def __init__(
        self, store: MemoryStore, archive: Archive, clock: ManualClock, rng: Random, observe: Observer,
        partition: Partition, memory: tuple[int, Random] | None, place_of: Callable[[bytes], tuple[Line, Fit]],
    ) -> None:  # fmt: skip
        self.archive = archive
        self.store = store
        self.faults = Faults()
        self.partition = partition
        self.commands = 0
        self._clock = clock
        self._rng = rng
        self._observe = observe
        self._place_of = place_of
        self.offers = Offers()
        self._line: deque[Entry] = deque()
        self._parked: list[tuple[Entry, tuple[bytes, ...]]] = []
        # `memory` is how many arguments there is room for, and a chance of its own for when they are read; None where
        # all of them stay in memory.
        self._memory = memory
        self._missing: list[Job] = []
        self._plan: Plan | None = None
        self._overlay: dict[bytes, FinishedJob] = {}
        # Requeued jobs whose older end is still in the archive, with the position of the requeue.
        self._revived: dict[bytes, int] = {}
        # Ends that a requeue took out of the overlay before they were archived. Until that is durable, they are true.
        self._superseded: list[tuple[int, FinishedJob]] = []
        self._waiters: dict[bytes, list[Connection]] = {}
        self._sessions: dict[int, Connection] = {}
        self._last_step_ms = clock.mono_ms
        # When each session was last heard of, as the shell that reads its messages knows it.
        self._begun_ms = clock.mono_ms
        self._heard_ms: dict[int, int] = {}
        self._recover()

    # --- a life ---

    def _recover(self) -> None:
        self.journal = MemoryJournal(self.store, self.faults)
        leadership = run(self.journal.lead("sim", self._clock.wall_ms))
        self._chain = leadership.chain
        self._bodies = Bodies(self.journal)
        if self._memory is not None:
            self._bodies.bytes_max = self._memory[0] * BODY_BYTES
            self._bodies.ahead_bytes_max = max(1, self._memory[0] // 2) * BODY_BYTES
        self.durable = self.position = leadership.position
        self.in_flight: Decided | None = None
        self.next: Decided | None = None
        self.more = True
        self.partition.start_at(self.store.first)
        for batch in batches(self.journal):
            owed = replay(self.partition, batch)
            is_owed = batch.position > self.archive.synced
            self._bodies.take_replayed(owed.arguments, owed.effects, owed=is_owed)
            for effect in owed.effects:
                if is_owed:
                    self._keep(effect, batch.position)
        if self.partition.state.partial:
            raise Violation(f"I17: the log begins at {self.store.first}, and nothing says that it may")
        # The base whose record is durable: what lies below may be trimmed.
        self.base = self.partition.state.base
        self.partition.begin(self._clock.now())

    def undurable(self) -> list[Decided]:
        """What memory has and the disk has not."""
        return [decided for decided in (self.in_flight, self.next) if decided is not None]

    # --- in ---

    def post(self, command: c.Command, connection: Connection | None = None, request: Request | None = None) -> None:
        """A command stands in the line."""
        if connection is not None:
            self._heard_ms[connection.session] = self._clock.mono_ms
        self._line.append(Entry(command, connection, request))

    @property
    def can_decide(self) -> bool:
        return self.next is None

    @property
    def busy(self) -> bool:
        """Whether anything is left to do without another command."""
        return bool(self._line or self._parked or self.in_flight or self.next or self.more or self._plan)

    def decide(self) -> None:
        """One batch, as far as memory goes; it may be decided while another is in flight."""
        now = self._clock.now()
        gap_ms = now.mono_ms - self._last_step_ms
        self._last_step_ms = now.mono_ms
        if gap_ms > self.partition.session_ttl_ms // HEARTBEATS_A_TTL:
            # The model's own clock stood still, as a stopped process would; nobody is to blame for that.
            self._line.appendleft(Entry(c.SkipTime(gap_ms), None, None))
        taken = list(self._line)
        self._line.clear()
        for entry in taken:
            if entry.looked:
                # What ended since it was looked up is in sight until it is decided.
                self._tell(entry.command, entry.looked)
        again = [entry for entry in taken if not self._is_told(entry)]
        if again:
            # Its end is not durable, so its arguments cannot be read yet.
            self._parked += [(entry, entry.looked) for entry in again]
            taken = [entry for entry in taken if entry not in again]
        position = self.position + 1
        heard_up_to_ms = now.mono_ms if self.partition.seems_silent(now) else None
        commands = [entry.command for entry in taken]
        step = self.partition.step(commands, now, position, self.held, heard_up_to_ms=heard_up_to_ms)
        self.commands += step.taken
        runs = {(event.id, event.fence): event for event in step.events if isinstance(event, RUN_OVER)}
        for command, reply in zip(commands, step.replies, strict=False):
            self.offers.told(command, reply)
            if broken := self.offers.misfits(command, reply, runs, self._place_of):
                raise Violation(broken[0])
        # A job that went back may be over by the same batch.
        self.offers.decided(step.events, lambda job: self._place_of(job)[1][0], self.partition.state.sessions)
        for event in step.events:
            if isinstance(event, SessionEnded) and event.cause is c.SessionEnd.EXPIRED:
                silent_ms = now.mono_ms - self._heard_ms.get(event.number, self._begun_ms)
                if silent_ms < self.partition.session_ttl_ms:
                    raise Violation(f"I19: session {event.number} expired, it was heard {silent_ms} ms before")
        self._line.extendleft(reversed(taken[step.taken :]))
        self._bodies.take(step.arguments, step.effects)
        self._missing = step.missing
        for effect in step.effects:
            self._keep(effect, position)
        replies: list[tuple[Entry, Any]] = []
        for entry, reply in zip(taken, step.replies, strict=False):
            if isinstance(reply, c.NeedsLookup):
                self._parked.append((entry, reply.ids))
            else:
                replies.append((entry, reply))
        self.more = step.more
        if step.events:
            self.position = position
            events = encode_events(step.events)
            data = self._chain.encode(now.wall_ms, events, step.bodies)
            decided = Decided(
                position, now.wall_ms, events, step.bodies, data, replies, step.effects, self.offers.copy(), []
            )
            if self.in_flight is None:
                self.in_flight = decided
            else:
                self.next = decided
        else:
            self._answer_later(replies, step.effects)

    def _answer_later(self, replies: list[tuple[Entry, Any]], effects: list[Effect]) -> None:
        """An answer without an event leaves behind all that was decided before it."""
        last = self.next or self.in_flight
        if last is None:
            self._release(replies, effects)
        else:
            last.behind.append((replies, effects))

    # --- beside core ---

    def look_up(self) -> None:
        """Some of the look-ups come back, in any order."""
        self._rng.shuffle(self._parked)
        for _ in range(self._rng.randint(1, len(self._parked)) if self._parked else 0):
            entry, ids = self._parked.pop()
            self._tell(entry.command, ids)
            self._line.append(entry._replace(looked=(*entry.looked, *ids)))

    def _tell(self, command: c.Command, ids: Iterable[bytes]) -> None:
        ends = {job_id: end for job_id in ids if (end := self.find(job_id)) is not None}
        run(self._bodies.fill([end for end in ends.values() if self.is_durable(end)]))
        stones = self.archive.stones
        left = {job_id: stones[job_id] for job_id in ids if job_id in stones and job_id not in self._revived}
        tell(command, ids, {**left, **ends})

    def _is_told(self, entry: Entry) -> bool:
        """Whether all that the command was told of has its arguments."""
        found = [self.find(job_id) for job_id in entry.looked]
        return all(end is None or self._bodies.is_read(end) for end in found)

    @property
    def held(self) -> Bodies | None:
        """The jobs whose arguments are at hand; None where that is all of them."""
        return None if self._bodies.are_complete(len(self.partition.state.jobs)) else self._bodies

    def read_ahead(self) -> None:
        """What leases wait for is asked for, or comes. Only what is durable can be read."""
        if self._memory is None or self._memory[1].random() < 0.3:
            return
        if self._plan is not None:
            run(self._bodies.fetch(self._plan))
            self._plan, self.more = None, True
        elif self.held is not None and (self._missing or self._bodies.runs_low):
            missing = [job for job in self._missing if job.home <= self.durable and job.state not in TERMINAL]
            following = (job for job in upcoming(self.partition.state, 5) if job.home <= self.durable)
            plan = self._bodies.plan(missing, following)
            self._plan = plan if plan.jobs else None

    def oldest_read(self) -> int | None:
        """The lowest position that is being read, which must not be trimmed."""
        return self._bodies.oldest_needed()

    def find(self, job_id: bytes) -> FinishedJob | None:
        """Overlay, then archive; a requeued job's row there is out of date."""
        here = self._overlay.get(job_id)
        if here is None and job_id not in self._revived:
            here = self.archive.rows.get(job_id)
        return here

    def is_durable(self, found: FinishedJob) -> bool:
        """Whether an end may be told."""
        return found.position <= self.durable

    def _keep(self, effect: Effect, position: int) -> None:
        if isinstance(effect, ArchiveJob):
            self._overlay[effect.finished.id] = effect.finished
        elif isinstance(effect, ReviveJob):
            self._supersede(self._overlay.pop(effect.id, None), position)
            self._revived[effect.id] = position

    def _supersede(self, end: FinishedJob | None, position: int) -> None:
        if end is not None:
            self._superseded.append((position, end))

    def sync_archive(self) -> None:
        """One bulk commit of all that is durable."""
        for job_id in [job_id for job_id, position in self._revived.items() if position <= self.durable]:
            del self._revived[job_id]
            self.archive.rows.pop(job_id, None)
            self.archive.stones.pop(job_id, None)
        self._superseded = [entry for entry in self._superseded if entry[0] > self.durable]
        waiting = (*(row for _, row in self._superseded), *self._overlay.values())
        run(self._bodies.fill([row for row in waiting if self.is_durable(row)]))
        for _, row in self._superseded:
            if row.position <= self.durable:
                self.archive.rows[row.id] = row
        for row in [row for row in self._overlay.values() if row.position <= self.durable]:
            del self._overlay[row.id]
            self.archive.rows[row.id] = row
        self.archive.synced = self.durable

    # --- out ---

    def append(self) -> bool:
        """The append in flight comes to its end; False if the journal refused, and nothing was written."""
        decided = self.in_flight
        assert decided is not None
        try:
            self.durable = run(self.journal.append(decided.data, self.durable))
        except JournalUnavailable:
            return False
        self.observe(decided)
        self.in_flight, self.next = self.next, None
        for replies, effects in ((decided.replies, decided.effects), *decided.behind):
            self._release(replies, effects)
        return True

    def observe(self, decided: Decided) -> None:
        """Tell the checker of a batch that is durable."""
        events = decode_events(decided.events, "sim")
        self._observe(events, b"".join(decided.bodies), decided.wall_ms, decided.position, decided.offers)

    def _release(self, replies: list[tuple[Entry, Any]], effects: list[Effect]) -> None:
        for entry, reply in replies:
            if isinstance(entry.command, c.MoveBase) and reply:
                self.base = entry.command.base
            if entry.connection is not None and entry.request is not None and entry.connection.open:
                self._answer(entry.connection, entry.request, reply)
        for effect in effects:
            if isinstance(effect, DeliverJob | StopRun):
                at = self._sessions.get(effect.session)
                if at is not None:
                    at.tell(effect)
            elif isinstance(effect, ArchiveJob):
                for waiter in self._waiters.pop(effect.finished.id, ()):
                    waiter.tell(effect.finished)
            elif isinstance(effect, CloseSession):
                at = self._sessions.pop(effect.session, None)
                if at is not None:
                    at.cut()

    def _answer(self, connection: Connection, request: Request, reply: Any) -> None:
        if request.kind == "hello" and not isinstance(reply, Exception):
            connection.session = reply[0]
            older = self._sessions.get(reply[0])
            if older is not None and older is not connection:
                older.cut()
            self._sessions[reply[0]] = connection
        elif request.kind == "submit" and not isinstance(reply, Exception):
            for draft, outcome in zip(request.content.drafts, reply, strict=True):
                if outcome is c.SubmitOutcome.ACCEPTED:
                    self._waiters.setdefault(draft.id, []).append(connection)
        elif request.kind == "wait":
            found = self.find(request.content)
            lives = reply is not None or request.content in self.partition.state.jobs
            # Where it ended since, its end is told when that is durable.
            if lives or (found is not None and not self.is_durable(found)):
                self._waiters.setdefault(request.content, []).append(connection)
                return
            reply = found
        connection.tell(Reply(request, reply))

    def lost(self, connection: Connection) -> None:
        """A connection is gone; only the session's newest counts."""
        for waiters in self._waiters.values():
            if connection in waiters:
                waiters.remove(connection)
        if self._sessions.get(connection.session) is connection:
            del self._sessions[connection.session]
            self.post(c.LoseLink(connection.session))


def batches(journal: MemoryJournal) -> list[Batch]:
    """All batches of events that are durable."""
    reader = journal.read(0)
    found: list[Batch] = []
    while True:
        try:
            batch: Batch = run(anext(reader))  # type: ignore[arg-type]
        except StopAsyncIteration:
            return found
        if batch.kind is BatchKind.EVENTS:
            found.append(batch)


def replay(partition: Partition, batch: Batch) -> Moment:
    """A durable batch, into a partition."""
    return partition.replay(decode_events(batch.events, "sim"), batch.bodies, batch.position, batch.wall_ms)


def replay_decided(partition: Partition, decided: Decided) -> Moment:
    """A batch that is not durable yet, as it would be read."""
    events = decode_events(decided.events, "sim")
    return partition.replay(events, b"".join(decided.bodies), decided.position, decided.wall_ms)
