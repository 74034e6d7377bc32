"""One partition: commands in, one batch of events out, and the same events in again after a restart.

    partition.seems_silent(now)  ->  whether somebody's silence is to be judged; what was said by now is read then
    partition.step(commands, now, position, heard_up_to_ms=)  ->  Step(replies, events, bodies, effects, more)
    partition.replay(events, bodies, position, wall_ms)

The shell appends `events` and `bodies` to the journal as one batch; when that is durable, and not before, it sends the
replies and carries out the effects. The shell does nothing else with the state.
"""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterable, Sequence
from itertools import chain, tee
from typing import Any, Final, NamedTuple

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core import levels
from aioqueue.core.admission import USUAL_LIMITS, BacklogLimits
from aioqueue.core.apply import APPLY, Moment
from aioqueue.core.commands import NeedsLookup
from aioqueue.core.decide import decide
from aioqueue.core.decide.bulks import decide_forgotten, decide_freed, silent_bulks
from aioqueue.core.decide.misfits import decide_reopened
from aioqueue.core.decide.registry import decide_lapsed
from aioqueue.core.decision import BodyArea, Decision
from aioqueue.core.effects import Effect
from aioqueue.core.leasing import (
    PARTED_MAX,
    Hand,
    Parting,
    decide_due,
    decide_expired,
    decide_joined,
    decide_leases,
    silent_sessions,
)
from aioqueue.core.nouns import Job
from aioqueue.core.state import State
from aioqueue.core.terms import decide_doomed, decide_end
from aioqueue.core.unheard import PASSED_OVER, Unheard
from aioqueue.errors import PeerMisbehaved, Refused
from aioqueue.limits import (
    BATCH_BYTES_TARGET,
    BATCH_EVENTS_TARGET,
    LAPSE_GRACE_MS,
    LEASED_BYTES_TARGET,
    SESSION_TTL_MS,
)
from aioqueue.model.growth import LEVEL_FIRST

# What jobs that become due, and leases, may have of a batch at least and at most: commands must not wait for a million
# jobs that are due at once, nor workers for a flood of commands.
_PART: Final = BATCH_EVENTS_TARGET // 3


class Step(NamedTuple):
    """One batch. `replies` stand in the order of the commands; a refusal is the `Refused` itself.

    A reply that is a `NeedsLookup` is no answer: the shell looks and gives the command again.

    `arguments` are those of the jobs that the batch submits, by id: the shell keeps them, or reads them again from the
    journal. `missing` are jobs that would have been leased, had their arguments been at hand; they and those behind
    them wait for a step that finds them there.

    `taken` is how many commands were decided; the rest come again in the next step. `more` says that work is left
    even without another command.
    """

    taken: int
    replies: list[Any]
    events: list[e.Event]
    bodies: list[bytes]
    effects: list[Effect]
    arguments: dict[bytes, bytes]
    missing: list[Job]
    more: bool


class Partition:
    """The state, and the only two ways to change it."""

    def __init__(self, session_ttl_ms: int = SESSION_TTL_MS, limits: BacklogLimits = USUAL_LIMITS) -> None:
        self.state = State(limits)
        self.session_ttl_ms = session_ttl_ms
        # Expiry is looked at this often: late by a tenth of a ttl is early enough, and costs nothing when idle.
        self._expiry_step_ms = max(1, session_ttl_ms // 10)
        self._expiry_due_ms = 0
        # Nothing lapses before this, on the monotonic clock: who uses it may be on the way back.
        self._lapse_from_ms = 0
        self._unheard = Unheard(1)
        self._parting = Parting()
        # The level that the log states, and the one that a command waits for; the shell appends the record between.
        self.level = self.level_needed = LEVEL_FIRST

    @property
    def archived_up_to(self) -> int:
        """Of what happened up to here the replay may know nothing; the archive has what ended then."""
        return self._unheard.head

    def step(
        self,
        commands: Sequence[c.Command],
        now: Now,
        position: int,
        held: Container[bytes] | None = None,
        behind: Iterable[c.Command | object] = (),
        heard_up_to_ms: int | None = None,
    ) -> Step:
        """Decide and apply a batch that will be `position` in the journal.

        `held` are the ids of the jobs whose arguments are at hand, None for all of them. `behind` are more commands
        that wait, and are not for this batch: a session or a bulk whose word stands in line is not silent.

        `heard_up_to_ms` is an instant: all that was said by then is among these commands, or was decided before.
        Silence is judged as of that instant and no later one, and not at all where there is none.

        A batch ends before a command that needs a higher level than the log states: `level_needed` is told.
        """
        batch = _Batch(self.state, Moment(position, now.wall_ms))
        self.state.just_finished.clear()
        # What is due comes first: a job that is due before a submit stands before it.
        more = self._wake_due(batch, now)
        replies: list[Any] = []
        decide_one = decide if self.level >= levels.KNOWN.highest else self._decide_in_level
        for command in commands:
            if batch.full:
                more = True
                break
            try:
                decision = decide_one(self.state, command, now, batch.bodies)
            except (Refused, NeedsLookup) as refusal:
                replies.append(refusal)
                continue
            except levels.NeedsLevel as needs:
                self.level_needed = needs.level
                more = True
                break
            batch.add_all(decision.events)
            if type(command) is c.CarryItems:
                batch.carried += len(decision.events)
            replies.append(decision.reply)
        # Silence is judged when all that was said has been heard.
        if heard_up_to_ms is not None:
            more |= self._end_silent(batch, now, heard_up_to_ms, chain(commands, behind))
        if self.state.refusals.stale and self.state.refusals.shut:
            for reopened in decide_reopened(self.state):
                batch.add(reopened, None)
        # However much was asked, leases have their part of every batch, or a flood of submits would starve the workers.
        leases_end = max(BATCH_EVENTS_TARGET + batch.carried, len(batch.events) + _PART)
        hand = None if held is None else Hand(held, batch.at.arguments)
        parting = self._parting
        parting.left, parting.more = PARTED_MAX, False
        for lease in decide_leases(self.state, now, hand, parting):
            batch.add(lease, None)
            if len(batch.events) >= leases_end or batch.at.leased_bytes >= LEASED_BYTES_TARGET:
                more = True
                break
        more |= parting.more
        more |= (bool(self.state.doomed) and self._end_doomed(batch)) or bool(self.state.closing)
        if self.state.split:
            for joined in decide_joined(self.state):
                batch.add(joined, None)
        missing = [] if hand is None else list(hand.missing.values())
        parts, owed = batch.bodies.parts, batch.at
        return Step(len(replies), replies, batch.events, parts, owed.effects, owed.arguments, missing, more)

    def _decide_in_level(self, state: State, command: c.Command, now: Now, bodies: BodyArea) -> Decision:
        """As `decide`; raises `NeedsLevel` too, and adds nothing to `bodies` then."""
        parts, size, records, carried = len(bodies.parts), bodies.size, bodies.records, bodies.carried
        decision = decide(state, command, now, bodies)
        try:
            levels.KNOWN.check(decision.events, self.level)
        except levels.NeedsLevel:
            del bodies.parts[parts:]
            bodies.size, bodies.records, bodies.carried = size, records, carried
            raise
        return decision

    def _wake_due(self, batch: _Batch, now: Now) -> bool:
        state = self.state
        if state.closing and (freed := decide_freed(state, now)) is not None:
            batch.add(freed, None)
        # What is over before what begins: a job may be both.
        for timers, decide_next in ((state.ends, decide_end), (state.due, decide_due)):
            while timers and (due := decide_next(state, now)) is not None:
                if len(batch.events) >= _PART:
                    return True
                batch.add(due, None)
        return bool(state.lapses) and now.mono_ms >= self._lapse_from_ms and self._lapse(batch, now)

    def _lapse(self, batch: _Batch, now: Now) -> bool:
        """A part of what lapses; whether more of it does."""
        for event in decide_lapsed(self.state, now, BATCH_BYTES_TARGET):
            batch.add(event, None)
            batch.bodies.records += len(event.body) if isinstance(event, e.TaskSet) else 0
        head = self.state.lapses.head()
        return head is not None and head[0] <= now.wall_ms

    def _end_doomed(self, batch: _Batch) -> bool:
        """Children end with their parents, in the same batch unless they are very many; none of them is leased."""
        end = len(batch.events) + _PART
        while (room := end - len(batch.events)) > 0 and self.state.doomed:
            for event in decide_doomed(self.state, room):
                batch.add(event, None)
        return bool(self.state.doomed)

    def seems_silent(self, now: Now) -> bool:
        """Whether a session or a bulk has said nothing for so long that it may be over; looked at ten times a ttl.

        Where somebody has, what was said by `now` is to be heard, and `step` to be told so. It is no verdict.
        """
        if now.mono_ms < self._expiry_due_ms:
            return False
        sessions = silent_sessions(self.state, now.mono_ms, self.session_ttl_ms)
        if any(True for _ in chain(sessions, silent_bulks(self.state, now.mono_ms))):
            return True
        self._expiry_due_ms = now.mono_ms + self._expiry_step_ms
        return False

    def _end_silent(self, batch: _Batch, now: Now, heard_up_to_ms: int, waiting: Iterable[c.Command | object]) -> bool:
        # A long line is only looked through where somebody seems silent.
        of_sessions, of_bulks = tee(waiting)
        for ended in decide_expired(self.state, heard_up_to_ms, self.session_ttl_ms, of_sessions):
            batch.add_all(ended)
            # One worker may hold a hundred thousand runs, and a network's failure silences all workers at once.
            if batch.full:
                return True
        for forgotten in decide_forgotten(self.state, now, heard_up_to_ms, of_bulks):
            batch.add(forgotten, None)
        self._expiry_due_ms = now.mono_ms + self._expiry_step_ms
        return False

    def start_at(self, first: int) -> None:
        """A replay is about to begin at position `first`: the journal's own beginning, or a base of it.

        From a base on, events of items that are not known are passed over: they are over by the base's head, or are
        carried. When the record of that base is met, everything is known, and `state.partial` is False.
        """
        self._unheard = Unheard(first)
        self.state.base = first
        self.state.partial = first > 1

    def replay(self, events: Sequence[e.Event], bodies: bytes, position: int, wall_ms: int) -> Moment:
        """Make a journaled batch so again; what comes back is what was owed then.

        Raises `IllegalChange` or `ValueError` for a batch that this program did not write; the state is then of no use.
        """
        at = Moment(position, wall_ms)
        state = self.state
        state.just_finished.clear()
        for event in events:
            if state.partial and self._is_passed_over(event, position):
                continue
            body: bytes | None = None
            if isinstance(event, e.WITH_BODY):
                body = bodies[event.body_offset : event.body_offset + event.body_bytes]
                if len(body) != event.body_bytes or zlib.crc32(body) != event.body_crc:
                    raise ValueError(f"the body of job {event.id.hex()} does not match its checksum")
            try:
                # `apply` by hand: a start reads a million of these.
                APPLY[type(event)](state, event, body, at)
            except (Refused, PeerMisbehaved) as error:
                raise ValueError(f"{type(event).__name__} holds what no caller could have asked for: {error}") from None
        return at

    def _is_passed_over(self, event: e.Event, position: int) -> bool:
        """In a replay that began at a base: whether the event is of an item that is not known."""
        return PASSED_OVER[type(event)](self._unheard, self.state, event, position)

    def begin(self, now: Now) -> None:
        """Replay is over and callers come: sessions with leases have a whole ttl from here."""
        for session in self.state.sessions.values():
            session.link.heard_ms = now.mono_ms
        for bulk in self.state.bulks.values():
            bulk.heard_ms = now.mono_ms
        self._expiry_due_ms = 0
        self._lapse_from_ms = now.mono_ms + LAPSE_GRACE_MS

    def next_due(self, now: Now) -> int | None:
        """Milliseconds until something is due by itself; None where nothing ever is."""
        waits: list[int] = []
        for timers in (self.state.due, self.state.ends):
            if (head := timers.head()) is not None:
                waits.append(head[0] - now.wall_ms)
        if (lapse := self.state.lapses.head()) is not None:
            waits.append(max(lapse[0] - now.wall_ms, self._lapse_from_ms - now.mono_ms))
        if self.state.sessions or self.state.bulks:
            waits.append(self._expiry_due_ms - now.mono_ms)
        return max(0, min(waits)) if waits else None


class _Batch:
    """The batch in the making: each event is applied as it is added. Those that were `carried` take nobody's room: who
    carries has a bound of its own, and others would wait for it batch after batch.
    """

    __slots__ = ("at", "bodies", "carried", "events", "state")

    def __init__(self, state: State, at: Moment) -> None:
        self.state = state
        self.at = at
        self.bodies = BodyArea()
        self.carried = 0
        self.events: list[e.Event] = []

    @property
    def full(self) -> bool:
        return len(self.events) - self.carried >= BATCH_EVENTS_TARGET or self.bodies.weight >= BATCH_BYTES_TARGET

    def add(self, event: e.Event, body: bytes | None) -> None:
        # As below, for the one event of a lease: another call would cost as much as the list it needs.
        kind = type(event)
        APPLY[kind](self.state, event, body, self.at)
        if kind not in e.NOT_JOURNALED:
            self.events.append(event)

    def add_all(self, events: Iterable[tuple[e.Event, bytes | None]]) -> None:
        # `apply` by hand: three events a job come through here, and a call costs as much as some of them do.
        state, at, journaled = self.state, self.at, self.events.append
        for event, body in events:
            kind = type(event)
            APPLY[kind](state, event, body, at)
            if kind not in e.NOT_JOURNALED:
                journaled(event)
