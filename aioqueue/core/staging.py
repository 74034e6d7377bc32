"""Bulks as they change: parts are added, the bulk is committed, its jobs are freed. Called by `apply` alone."""

from __future__ import annotations

from aioqueue.core import events as e
from aioqueue.core.machine import LEGAL, IllegalChange
from aioqueue.core.state import Bulk, BulkPhase, Job, State
from aioqueue.model.ids import ids_in
from aioqueue.model.states import JobState

_BLOCKED, _READY, _SCHEDULED = JobState.BLOCKED, JobState.READY, JobState.SCHEDULED
# Why a job is over whose bulk never was committed; for people.
BULK_DROPPED = "its bulk was not committed"


def add_part(state: State, event: e.BulkStaged, home: int) -> None:
    bulk = state.bulks.get(event.bulk) or Bulk(event.bulk, event.namespace)
    found = [state.jobs.get(job_id) for job_id in ids_in(event.ids)]
    jobs = [job for job in found if job is not None and job.state is _BLOCKED]
    if bulk.phase is not BulkPhase.OPEN or event.part != bulk.parts or len(jobs) < len(found):
        raise IllegalChange(f"bulk {bulk.id.hex()} ({bulk.phase.name.lower()}) cannot have this part {event.part}")
    state.bulks[bulk.id] = bulk
    bulk.parts += 1
    bulk.jobs.extend(jobs)
    # Its parts are never carried: they hold the base back, for the while that it takes to stage and free them.
    bulk.homes.append(home)
    state.homes.add(home)


def commit(state: State, event: e.BulkCommitted) -> None:
    bulk = state.bulks.get(event.bulk)
    if bulk is None or bulk.phase is not BulkPhase.OPEN:
        raise IllegalChange(f"bulk {event.bulk.hex()} cannot be committed")
    bulk.phase = BulkPhase.COMMITTED
    state.closing[bulk.id] = bulk


def free(state: State, event: e.BulkFreed) -> list[Job]:
    """Make ready and scheduled what is to be; the jobs that are to be cancelled."""
    bulk = state.bulks.get(event.bulk)
    if bulk is not None:
        _work_off(state, bulk, event)
    elif not state.partial:
        raise IllegalChange(f"bulk {event.bulk.hex()} frees jobs, and is not known")
    for seq, job in enumerate(_jobs(state, event.ready, _READY), event.seq):
        state.next_seq = seq + 1
        if job is not None:
            _move(state, job, _READY)
            job.due_ms = 0
            job.seq = seq
            state.queues[job.spec.key].lane.push(job)
    for job in _jobs(state, event.scheduled, _SCHEDULED):
        if job is not None:
            _move(state, job, _SCHEDULED)
            state.due.add(job.due_ms, job.seq, job.id)
    return [job for job in _jobs(state, event.cancelled, JobState.CANCELLED) if job is not None]


def _work_off(state: State, bulk: Bulk, event: e.BulkFreed) -> None:
    """The jobs leave the bulk, and with the last of them it is over."""
    wrong = event.cancelled if bulk.phase is BulkPhase.COMMITTED else event.ready + event.scheduled
    if wrong or event.taken > len(bulk.jobs) or event.seq < state.next_seq:
        raise IllegalChange(f"bulk {bulk.id.hex()} ({bulk.phase.name.lower()}) cannot free {event.taken} of its jobs")
    if bulk.phase is BulkPhase.OPEN:
        bulk.phase = BulkPhase.DROPPED
        state.closing[bulk.id] = bulk
    for _ in range(event.taken):
        bulk.jobs.popleft()
    if not bulk.jobs:
        for home in bulk.homes:
            state.homes.remove(home)
        del state.bulks[bulk.id]
        del state.closing[bulk.id]


def _jobs(state: State, ids: bytes, after: JobState) -> list[Job | None]:
    """The jobs; None for one that a replay begun behind its submit does not know: it is over by now, or is carried."""
    jobs = [state.jobs.get(job_id) for job_id in ids_in(ids)]
    for job in jobs:
        if (job is None and not state.partial) or (job and (job.state, e.BulkFreed, after) not in LEGAL):
            was = "no job" if job is None else f"job {job.id.hex()} ({job.state.label})"
            raise IllegalChange(f"BulkFreed cannot turn {was} into {after.label}")
    return jobs


def _move(state: State, job: Job, after: JobState) -> None:
    counts = state.queues[job.spec.key].counts
    counts[_BLOCKED] -= 1
    counts[after] += 1
    job.state = after
