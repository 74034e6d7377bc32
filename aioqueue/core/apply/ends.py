"""How jobs end: a job that waits, and what every end has in common. Called by the rest of `apply`."""

from __future__ import annotations

from aioqueue.core import events as e
from aioqueue.core.apply.bounds import unbind
from aioqueue.core.apply.moment import Moment
from aioqueue.core.apply.suspects import suspect_gone
from aioqueue.core.effects import ArchiveJob
from aioqueue.core.machine import LEGAL, illegal_change
from aioqueue.core.nouns import Job, admitted_bytes
from aioqueue.core.state import State
from aioqueue.model.records import FinishedJob
from aioqueue.model.states import JobState

_READY, _SCHEDULED = JobState.READY, JobState.SCHEDULED
_DEAD, _SUCCEEDED = JobState.DEAD, JobState.SUCCEEDED


def living(state: State, event: e.JobEvent, after: JobState) -> Job:
    """The job that the event is about; raises `IllegalChange` where the table has no such row."""
    job = state.jobs.get(event.id)
    if job is None or (job.state, type(event), after) not in LEGAL:
        raise illegal_change(None if job is None else job.state, event, after)
    return job


def end_waiting(state: State, job: Job, end: JobState, note: str, at: Moment) -> None:
    """A job that did not run is over."""
    before = job.state
    job.fence = 0
    finish(state, job, end, b"", "", at, note)
    if before is _READY:
        # A lane may count its jobs by what is rare about them, so it is told while that is there.
        forget_ready(state, job)
    elif before is _SCHEDULED:
        state.due.moved_on()
    # Until lane and heap are swept they may still hold it, and headers can be large.
    job.rare = None


def forget_ready(state: State, job: Job) -> None:
    """A job that was ready is not there any more."""
    queue = state.queues[job.spec.key]
    if job.crashes:
        suspect_gone(state, queue, job)
    else:
        queue.lane.forget(job)


def finish(state: State, job: Job, end: JobState, body: bytes, worker: str, at: Moment, note: str = "") -> None:
    """The job is over and goes to the archive; whoever calls has ended its run, or its wait."""
    spec = job.spec
    queue = state.queues[spec.key]
    counts = queue.counts
    counts[job.state] -= 1
    if not counts[job.state]:
        state.rest_queue(spec.key)
    if end is _DEAD:
        queue.dead += 1
    job.state = end
    del state.jobs[job.id]
    state.homes.remove(job.home)
    state.admission.size -= admitted_bytes(job)
    state.just_finished.add(job.id)
    extra, terms = b"", None
    if job.rare is not None:
        unbind(state, job)
        extra, terms = job.rare.extra or b"", job.rare.terms
        note = note or (job.rare.note if end is not _SUCCEEDED else "")
    at.effects.append(
        ArchiveJob(
            FinishedJob(
                job.id, spec.namespace, spec.queue, spec.task, end, job.generation, job.failures, job.crashes, job.runs,
                job.fence, spec.priority, job.submitted_ms, job.started_ms, at.wall_ms, spec.keep_ms, worker,
                at.position, spec.packed, body, b"", extra, terms, note,
            ),
            job.home,
            job.place,
        )
    )  # fmt: skip
