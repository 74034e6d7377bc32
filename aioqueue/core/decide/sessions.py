"""Sessions and their connections: who may begin one, what a returning worker still holds, what it can take.

Refused is a session too many, one of another namespace, and whatever is asked of one that is over; what an older
connection of a session says is passed over.
"""

from __future__ import annotations

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.decide.runs import settle_runs
from aioqueue.core.decision import BodyArea, Decision
from aioqueue.core.endings import end_of_session
from aioqueue.core.nouns import Session
from aioqueue.core.state import State
from aioqueue.errors import SessionOver, TooManySessions, WrongNamespace
from aioqueue.limits import SESSIONS_MAX
from aioqueue.model.states import JobState

_STOPPING = JobState.STOPPING
_SETTLED = (e.JobSucceeded, e.JobFailed, e.JobReleased, e.JobMisfit)


def open_session(state: State, command: c.OpenSession, now: Now, bodies: BodyArea) -> Decision:
    """A heartbeat opens none: one that came too early, or too late, would leave a session that nobody works in."""
    number = state.session_of.get(command.secret_hash)
    if number is not None:
        session = state.sessions[number]
        if session.namespace != command.namespace:
            raise WrongNamespace(namespace=session.namespace, other=command.namespace)
        if command.attach:
            return Decision([(e.SessionHeard(number, now.mono_ms), None)], (number, False))
        # Nothing is leased to it before it says what it still holds and offers its capacity again.
        changed = e.LinkChanged(
            number, True, 0, (), now.mono_ms, since_fence=state.next_fence, link=command.link, about=command.about
        )
        return Decision([(changed, None)], (number, False))
    if command.attach:
        return Decision([], (0, False))
    if len(state.sessions) >= SESSIONS_MAX:
        raise TooManySessions(sessions=len(state.sessions), limit=SESSIONS_MAX)
    number = state.next_session
    opened = e.SessionOpened(number, command.secret_hash, command.namespace, command.name)
    changed = e.LinkChanged(number, True, 0, (), now.mono_ms, opened, link=command.link, about=command.about)
    return Decision([(changed, None)], (number, True))


def resume_session(state: State, command: c.ResumeSession, now: Now, bodies: BodyArea) -> Decision:
    """Settles first, then the runs still held. What is left of older leases never arrived: it is given back.

    Leases of this connection are no matter of a resume: they may be on their way.
    """
    session = _session(state, command.session)
    events: list[tuple[e.Event, bytes | None]] = []
    answers = settle_runs(state, command.session, command.settles, now, bodies, events)
    accounted = {event.id for event, _ in events if isinstance(event, _SETTLED)}
    verdicts: list[c.RunVerdict] = []
    for run in command.held:
        job = session.leases.get(run.id)
        if job is not None and job.fence == run.fence and run.id not in accounted:
            verdicts.append(c.RunVerdict.CANCEL if job.state is _STOPPING else c.RunVerdict.KEEP)
            accounted.add(run.id)
        else:
            verdicts.append(c.RunVerdict.STALE)
    for job in session.leases.values():
        if job.id not in accounted and job.fence < session.link.since_fence:
            events.append((e.JobReleased(job.id, job.fence), None))
    return Decision(events, (verdicts, answers))


def declare_offer(state: State, command: c.DeclareOffer, now: Now, bodies: BodyArea) -> Decision:
    session = _session(state, command.session)
    if command.link != session.link.number:
        return Decision([], None)
    declared = e.LinkDeclared(session.number, command.tasks, frozenset(command.labels), command.all_queues)
    return Decision([(declared, None)], None)


def offer_capacity(state: State, command: c.OfferCapacity, now: Now, bodies: BodyArea) -> Decision:
    session = _session(state, command.session)
    if command.link != session.link.number:
        # A newer connection may not have said yet what it holds: it could not be told of a lease.
        return Decision([], None)
    # The queues of a worker act as one, so workers that name the same ones in another order share one pool.
    queues = tuple(sorted(set(command.queues)))
    changed = e.LinkChanged(
        session.number, True, command.slots, queues, now.mono_ms, link=command.link, process_slots=command.process_slots
    )
    return Decision([(changed, None)], None)


def lose_link(state: State, command: c.LoseLink, now: Now, bodies: BodyArea) -> Decision:
    session = state.sessions.get(command.session)
    if session is None or command.link != session.link.number:
        return Decision([], None)
    link = session.link
    lost = e.LinkChanged(session.number, False, 0, link.queues, link.heard_ms, link=link.number)
    return Decision([(lost, None)], None)


def throttle_link(state: State, command: c.ThrottleLink, now: Now, bodies: BodyArea) -> Decision:
    session = state.sessions.get(command.session)
    if session is None or command.link != session.link.number:
        return Decision([], None)
    return Decision([(e.LinkThrottled(session.number, command.throttled), None)], None)


def hear_session(state: State, command: c.HearSession, now: Now, bodies: BodyArea) -> Decision:
    if command.session not in state.sessions:
        return Decision([], None)
    return Decision([(e.SessionHeard(command.session, now.mono_ms), None)], None)


def end_session(state: State, command: c.EndSession, now: Now, bodies: BodyArea) -> Decision:
    session = state.sessions.get(command.session)
    return Decision([] if session is None else end_of_session(session, command.cause), None)


def _session(state: State, number: int) -> Session:
    session = state.sessions.get(number)
    if session is None:
        raise SessionOver(session=number)
    return session
