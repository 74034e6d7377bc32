"""Jobs that wait: they come, become due, are cancelled, expire."""

from __future__ import annotations

from typing import Final

from aioqueue.core import events as e
from aioqueue.core.apply.bounds import PARENT_CANCELLED, PARENT_EXPIRED, bind, doom
from aioqueue.core.apply.ends import end_waiting, living
from aioqueue.core.apply.moment import Moment, Rows
from aioqueue.core.apply.suspects import suspect_ready
from aioqueue.core.effects import ReviveJob
from aioqueue.core.machine import LEGAL, illegal_change
from aioqueue.core.nouns import Job, admitted_bytes, rare_of
from aioqueue.core.places import pack_place
from aioqueue.core.state import State
from aioqueue.core.terms import TIME_IS_OVER
from aioqueue.model.states import JobState

_READY, _SCHEDULED = JobState.READY, JobState.SCHEDULED
_CANCELLED, _EXPIRED = JobState.CANCELLED, JobState.EXPIRED


def submitted(state: State, event: e.JobSubmitted, body: bytes | None, at: Moment) -> None:
    before = state.jobs.get(event.id)
    if before is not None or (None, e.JobSubmitted, event.state) not in LEGAL:
        raise illegal_change(None if before is None else before.state, event, event.state)
    spec = state.intern(event.spec)
    rare = None if event.extra is None and event.terms is None else rare_of(event.extra, event.terms)
    job = state.jobs[event.id] = Job(
        event.id, spec, event.seq, event.state, event.due_ms, at.wall_ms,
        pack_place(event.body_offset, event.body_bytes, event.body_crc), rare,
        generation=event.generation, home=at.position,
    )  # fmt: skip
    at.arguments[event.id] = body or b""
    state.homes.add(at.position)
    state.admission.size += admitted_bytes(job)
    queue = state.queues.get(spec.key)
    if queue is None or state.idle_queues:
        queue = state.busy_queue(spec.key)
    queue.counts[event.state] += 1
    queue.submitted += 1
    state.next_seq = event.seq + 1
    if event.state is _READY:
        queue.lane.push(job)
    elif event.state is _SCHEDULED:
        state.due.add(event.due_ms, event.seq, event.id)
    if rare is not None:
        bind(state, job)
    if event.generation:
        at.effects.append(ReviveJob(event.id, event.generation))


def due(state: State, event: e.JobDue, body: bytes | None, at: Moment) -> None:
    job = living(state, event, _READY)
    queue = state.queues[job.spec.key]
    queue.counts[_SCHEDULED] -= 1
    queue.counts[_READY] += 1
    job.state = _READY
    job.due_ms = 0
    job.seq = event.seq
    state.next_seq = event.seq + 1
    if job.crashes:
        suspect_ready(state, queue, job)
    else:
        queue.lane.push(job)
    state.due.moved_on()


def cancelled(state: State, event: e.JobCancelled, body: bytes | None, at: Moment) -> None:
    job = living(state, event, _CANCELLED)
    end_waiting(state, job, _CANCELLED, event.reason, at)
    doom(state, job.id, PARENT_CANCELLED)


def expired(state: State, event: e.JobExpired, body: bytes | None, at: Moment) -> None:
    job = living(state, event, _EXPIRED)
    end_waiting(state, job, _EXPIRED, TIME_IS_OVER[event.cause], at)
    doom(state, job.id, PARENT_EXPIRED)


ROWS: Final[Rows] = {
    e.JobSubmitted: submitted,
    e.JobDue: due,
    e.JobCancelled: cancelled,
    e.JobExpired: expired,
}
