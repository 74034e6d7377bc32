"""Records that are carried, the base, the door: what keeps the journal short, and what the disk allows.

A replay that began at a base first hears of what lives by its record; for everybody else a record changes nothing.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from aioqueue.core import events as e
from aioqueue.core.apply.bounds import bind
from aioqueue.core.apply.moment import Moment, Rows
from aioqueue.core.apply.suspects import hold_suspect, suspect_ready
from aioqueue.core.machine import IllegalChange
from aioqueue.core.named import Item, ItemKind
from aioqueue.core.nouns import Job, Session, admitted_bytes, rare_of
from aioqueue.core.places import pack_place, same_body
from aioqueue.core.state import State
from aioqueue.model.states import JobState

_READY, _SCHEDULED, _RUNNING = JobState.READY, JobState.SCHEDULED, JobState.RUNNING
_STOPPING = JobState.STOPPING
_LIVING: Final = frozenset({_READY, _SCHEDULED, JobState.BLOCKED, _RUNNING, _STOPPING})


def job_carried(state: State, event: e.JobCarried, body: bytes | None, at: Moment) -> None:
    job = state.jobs.get(event.id)
    place = pack_place(event.body_offset, event.body_bytes, event.body_crc)
    told = Job(
        event.id, state.intern(event.spec), event.seq, event.state, event.due_ms, event.submitted_ms, place,
        rare_of(event.extra, event.terms, event.cause, event.note), event.failures, event.crashes, event.runs,
        event.generation, event.fence, event.session, event.started_ms, at.position,
    )  # fmt: skip
    if job is None:
        if not state.partial or event.state not in _LIVING:
            raise IllegalChange(f"job {event.id.hex()} is carried as {event.state.label}, and is not known")
        _heard_of(state, told)
        at.arguments[event.id] = body or b""
    else:
        was = replace(job, home=at.position, place=place)
        if was != told or not same_body(job.place, place):
            raise IllegalChange(f"job {event.id.hex()} is carried with another record than it has")
        state.homes.remove(job.home)
        job.home, job.place = at.position, place
    state.homes.add(at.position)


def _heard_of(state: State, job: Job) -> None:
    """A replay that began behind the job's submit meets its record: it stands where it stood."""
    state.jobs[job.id] = job
    state.admission.size += admitted_bytes(job)
    bind(state, job)
    queue = state.busy_queue(job.spec.key)
    queue.counts[job.state] += 1
    if job.state is _SCHEDULED:
        state.due.add(job.due_ms, job.seq, job.id)
    elif job.state in (_RUNNING, _STOPPING):
        session = known_session(state, job.session)
        session.leases[job.id] = job
        if job.crashes:
            hold_suspect(state, session, job)
    elif job.crashes:
        suspect_ready(state, queue, job)
    elif job.state is _READY:
        queue.lane.give_back(job)


def known_session(state: State, number: int) -> Session:
    """The session; where a replay began behind its opening, and has not met its record yet, one of that number."""
    session = state.sessions.get(number)
    if session is None:
        session = state.sessions[number] = Session(number, b"", "", "", 0)
        session.journaled = True
    return session


def session_carried(state: State, event: e.SessionCarried, body: bytes | None, at: Moment) -> None:
    session = state.sessions.get(event.number)
    item = Item(ItemKind.SESSION, event.number)
    if session is not None and session.home:
        state.homes.leave(item, session.home)
    elif state.partial:
        session = known_session(state, event.number)
        session.secret_hash, session.namespace, session.name = event.secret_hash, event.namespace, event.name
        state.session_of[event.secret_hash] = event.number
    else:
        raise IllegalChange(f"session {event.number} is carried, and is not known")
    session.home = at.position
    state.homes.settle(item, at.position)


def base_moved(state: State, event: e.BaseMoved, body: bytes | None, at: Moment) -> None:
    oldest = state.homes.oldest()
    if event.base > event.head or event.head >= at.position or (oldest is not None and oldest < event.base):
        raise IllegalChange(f"the base cannot move to {event.base} with its head at {event.head}: {oldest} is needed")
    state.base = event.base
    state.next_seq = max(state.next_seq, event.next_seq)
    state.next_fence = max(state.next_fence, event.next_fence)
    state.next_session = max(state.next_session, event.next_session)


def admission_changed(state: State, event: e.AdmissionChanged, body: bytes | None, at: Moment) -> None:
    state.admission.shut = event.shut


ROWS: Final[Rows] = {
    e.SessionCarried: session_carried,
    e.JobCarried: job_carried,
    e.BaseMoved: base_moved,
    e.AdmissionChanged: admission_changed,
}
