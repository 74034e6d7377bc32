"""Runs: a job is leased, and its run ends in one of six ways, or is told to stop.

The fence of an event must be that of the lease: what a worker says of an older one was refused by `decide`.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from aioqueue.core import events as e
from aioqueue.core.apply.bounds import PARENT_CANCELLED, PARENT_EXPIRED, begin_run, doom, unbind
from aioqueue.core.apply.ends import finish, living
from aioqueue.core.apply.moment import Moment, Rows
from aioqueue.core.apply.sessions import shut_task
from aioqueue.core.apply.suspects import hold_suspect, suspect_gone, suspect_ready
from aioqueue.core.effects import ArchiveRun, DeliverJob, StopRun
from aioqueue.core.machine import IllegalChange
from aioqueue.core.nouns import Job, Rare
from aioqueue.core.places import LENGTH_MASK
from aioqueue.core.state import State
from aioqueue.core.terms import TIME_IS_OVER, end_when_stopped
from aioqueue.limits import CRASHES_ALONE
from aioqueue.model.records import EndedRun
from aioqueue.model.states import Cause, JobState

_READY, _SCHEDULED, _RUNNING = JobState.READY, JobState.SCHEDULED, JobState.RUNNING
_STOPPING, _SUCCEEDED, _DEAD = JobState.STOPPING, JobState.SUCCEEDED, JobState.DEAD
# Of a job that has nothing rare about it.
_PLAIN = Rare()
_Run = e.JobSucceeded | e.JobFailed | e.JobReleased | e.JobMisfit | e.JobCrashed | e.JobStopping


def leased(state: State, event: e.JobLeased, body: bytes | None, at: Moment) -> None:
    job = living(state, event, _RUNNING)
    session = state.sessions.get(event.session)
    if session is None or event.fence < state.next_fence:
        raise IllegalChange(f"session {event.session} cannot lease job {job.id.hex()} with fence {event.fence}")
    queue = state.queues[job.spec.key]
    if job.crashes:
        suspect_gone(state, queue, job)
        hold_suspect(state, session, job)
    else:
        # Whether it was its turn is no matter of a replay: who took what then is not journaled.
        queue.lane.lease(job)
    queue.counts[_READY] -= 1
    queue.counts[_RUNNING] += 1
    session.leases[job.id] = job
    session.last_fence = event.fence
    job.state = _RUNNING
    job.session = event.session
    job.fence = event.fence
    job.runs = event.run
    job.started_ms = at.wall_ms
    state.next_fence = event.fence + 1
    at.leased_bytes += job.place & LENGTH_MASK
    link = session.link
    if (link.full_at <= len(session.leases) or job.crashes >= CRASHES_ALONE) and link.pool is not None:
        link.pool.leased(session, job)
    extra, deadline_ms = None, 0
    if job.rare is not None:
        extra, deadline_ms = begin_run(state, job.rare)
    at.effects.append(
        DeliverJob(
            event.session, job.id, job.spec, event.fence, event.run, job.failures + 1, job.crashes, extra, b"",
            deadline_ms,
        )
    )  # fmt: skip


def succeeded(state: State, event: e.JobSucceeded, body: bytes | None, at: Moment) -> None:
    job = _run(state, event, _SUCCEEDED)
    worker = _unlease(state, job)
    state.queues[job.spec.key].succeeded += 1
    finish(state, job, _SUCCEEDED, body or b"", worker, at)


def failed(state: State, event: e.JobFailed, body: bytes | None, at: Moment) -> None:
    job = _run(state, event, event.state)
    worker = _unlease(state, job)
    queue = state.queues[job.spec.key]
    queue.failed += 1
    job.failures += 1
    _end_run(job, "failed", worker, body or b"", at)
    if event.state is not _SCHEDULED:
        finish(state, job, event.state, body or b"" if event.state is _DEAD else b"", worker, at)
        return
    queue.counts[_RUNNING] -= 1
    queue.counts[_SCHEDULED] += 1
    job.state = _SCHEDULED
    job.due_ms = event.due_ms
    state.due.add(event.due_ms, job.seq, job.id)


def released(state: State, event: e.JobReleased, body: bytes | None, at: Moment) -> None:
    job = state.jobs.get(event.id)
    after = end_when_stopped(job) if job is not None and job.state is _STOPPING else _READY
    job = _run(state, event, after)
    worker = _unlease(state, job)
    if after is not _READY:
        _end_run(job, after.label, worker, b"", at)
        finish(state, job, after, b"", worker, at)
        return
    _end_run(job, "released", worker, b"", at)
    _back_in_place(state, job)


def misfit(state: State, event: e.JobMisfit, body: bytes | None, at: Moment) -> None:
    job = _run(state, event, _READY)
    session = state.sessions[job.session]
    _unlease(state, job)
    # No row for the history: in a deploy every job of a task may be given back so, to every worker of a release.
    _back_in_place(state, job)
    refusals = state.refusals
    refusals.refused(job.id, session.number)
    if refusals.crowded():
        refusals.keep(dict(state.jobs))
    shut_task(state, session, job.spec.task)


def stopping(state: State, event: e.JobStopping, body: bytes | None, at: Moment) -> None:
    job = _run(state, event, _STOPPING)
    counts = state.queues[job.spec.key].counts
    counts[_RUNNING] -= 1
    counts[_STOPPING] += 1
    job.state = _STOPPING
    note = TIME_IS_OVER.get(event.cause, event.reason)
    job.rare = replace(job.rare or _PLAIN, cause=event.cause, note=note)
    unbind(state, job)
    doom(state, job.id, PARENT_CANCELLED if event.cause is Cause.CANCEL else PARENT_EXPIRED)
    at.effects.append(StopRun(job.session, job.id, job.fence, event.cause))


def crashed(state: State, event: e.JobCrashed, body: bytes | None, at: Moment) -> None:
    job = _run(state, event, event.state)
    worker = _unlease(state, job)
    job.crashes = event.crashes
    _end_run(job, "crashed", worker, b"", at)
    if event.state is not _READY:
        job.fence = 0
        finish(state, job, event.state, b"", worker, at)
    else:
        _back_in_place(state, job)


def _run(state: State, event: _Run, after: JobState) -> Job:
    """The running job whose lease the event is about; the fence must be that of the lease."""
    job = living(state, event, after)
    if job.fence != event.fence:
        raise IllegalChange(f"{type(event).__name__} names fence {event.fence}, job {job.id.hex()} has {job.fence}")
    return job


def _back_in_place(state: State, job: Job) -> None:
    queue = state.queues[job.spec.key]
    queue.counts[_RUNNING] -= 1
    queue.counts[_READY] += 1
    job.state = _READY
    job.fence = 0
    if job.crashes:
        suspect_ready(state, queue, job)
    else:
        queue.lane.give_back(job)


def _unlease(state: State, job: Job) -> str:
    """End the job's lease; the name of the worker that held it."""
    session = state.sessions[job.session]
    del session.leases[job.id]
    job.session = 0
    if job.crashes:
        session.suspects = tuple(other for other in session.suspects if other is not job)
        state.suspects_running -= 1
    link = session.link
    if link.hungry_below > len(session.leases) and not link.throttled and not (session.suspects and session.alone):
        link.pool.feed(session)  # type: ignore[union-attr]
    return session.name


def _end_run(job: Job, outcome: str, worker: str, body: bytes, at: Moment) -> None:
    run = EndedRun(job.id, job.generation, job.runs, outcome, job.started_ms, at.wall_ms, worker, body)
    at.effects.append(ArchiveRun(run))


ROWS: Final[Rows] = {
    e.JobLeased: leased,
    e.JobSucceeded: succeeded,
    e.JobFailed: failed,
    e.JobReleased: released,
    e.JobMisfit: misfit,
    e.JobCrashed: crashed,
    e.JobStopping: stopping,
}
