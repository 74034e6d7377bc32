"""Bulks as they change: parts are added and carried, the bulk is committed, its jobs are freed. Called by `apply`."""

from __future__ import annotations

from itertools import takewhile

from msgspec.structs import replace

from aioqueue.core import events as e
from aioqueue.core.machine import LEGAL, IllegalChange
from aioqueue.core.named import Item, ItemKind
from aioqueue.core.nouns import Bulk, Job, Part, SharedSpec
from aioqueue.core.state import State
from aioqueue.limits import KEEP_DROPPED_MS
from aioqueue.model.ids import ids_in
from aioqueue.model.states import BulkPhase, JobState

_BLOCKED, _READY, _SCHEDULED = JobState.BLOCKED, JobState.READY, JobState.SCHEDULED
# Why a job is over whose bulk never was committed; for people.
BULK_DROPPED = "its bulk was not committed"


def add_part(state: State, event: e.BulkStaged, home: int) -> None:
    bulk = state.bulks.get(event.bulk)
    if bulk is None:
        bulk = Bulk(event.bulk, event.namespace)
        if state.partial:
            # The parts before are told of further on.
            bulk.staged, bulk.total = event.part, max(0, event.first)
    first = bulk.total if event.first < 0 else event.first
    jobs = [state.jobs.get(job_id) for job_id in ids_in(event.ids)]
    wait = all(job is not None and job.state is _BLOCKED for job in jobs)
    if bulk.phase is not BulkPhase.OPEN or (event.part, first) != (bulk.staged, bulk.total) or not wait:
        raise IllegalChange(f"bulk {bulk.id.hex()} ({bulk.phase.name.lower()}) cannot have this part {event.part}")
    state.bulks[bulk.id] = bulk
    bulk.staged += 1
    bulk.total += len(jobs)
    bulk.parts.append(Part(first, event.ids, home))
    state.homes.settle(_item(bulk, first), home)


def commit(state: State, event: e.BulkCommitted, position: int) -> None:
    bulk = state.bulks.get(event.bulk)
    if bulk is None or bulk.phase is not BulkPhase.OPEN:
        raise IllegalChange(f"bulk {event.bulk.hex()} cannot be committed")
    _close(state, bulk, BulkPhase.COMMITTED, position)


def _close(state: State, bulk: Bulk, phase: BulkPhase, position: int) -> None:
    bulk.phase, bulk.closed_at = phase, position
    state.closing[bulk.id] = bulk


def free(state: State, event: e.BulkFreed, position: int) -> list[Job]:
    """Make ready and scheduled what is to be; the jobs that are to be cancelled."""
    bulk = state.bulks.get(event.bulk)
    if bulk is not None:
        _work_off(state, bulk, event, position)
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


def _work_off(state: State, bulk: Bulk, event: e.BulkFreed, position: int) -> None:
    """The jobs leave the bulk, and with the last of them it is over."""
    wrong = event.cancelled if bulk.phase is BulkPhase.COMMITTED else event.ready + event.scheduled
    if wrong or bulk.freed + event.taken > bulk.total or event.seq < state.next_seq:
        raise IllegalChange(f"bulk {bulk.id.hex()} ({bulk.phase.name.lower()}) cannot free {event.taken} of its jobs")
    if bulk.phase is BulkPhase.OPEN:
        _close(state, bulk, BulkPhase.DROPPED, position)
    bulk.freed += event.taken
    over = sum(1 for _ in takewhile(lambda part: part.end <= bulk.freed, bulk.parts))
    for part in bulk.parts[:over]:
        state.homes.leave(_item(bulk, part.first), part.home)
    del bulk.parts[:over]
    if bulk.freed == bulk.total:
        del state.bulks[bulk.id]
        del state.closing[bulk.id]


def carry_part(state: State, event: e.BulkCarried, home: int) -> None:
    """Nothing changes but where the part is at home; a replay that began behind it may first hear of it, or of all."""
    bulk = state.bulks.get(event.bulk)
    told = (event.namespace, event.phase, event.staged, event.total, event.freed, event.closed_at)
    if bulk is None and state.partial:
        bulk = state.bulks[event.bulk] = Bulk(event.bulk, event.namespace)
        bulk.phase, bulk.staged, bulk.total, bulk.freed, bulk.closed_at = told[1:]
        if bulk.phase is not BulkPhase.OPEN:
            state.closing[bulk.id] = bulk
    part = None if bulk is None else bulk.part_at(event.first)
    if bulk is None or told != (bulk.namespace, bulk.phase, bulk.staged, bulk.total, bulk.freed, bulk.closed_at):
        raise IllegalChange(f"bulk {event.bulk.hex()} is carried with another record than it has")
    if part is not None and part.ids == event.ids:
        state.homes.leave(_item(bulk, part.first), part.home)
        part.home = home
    elif part is None and state.partial:
        bulk.parts.insert(bulk.place_of(event.first), Part(event.first, event.ids, home))
    else:
        raise IllegalChange(f"bulk {event.bulk.hex()} is carried with a part at {event.first} that it does not have")
    state.homes.settle(_item(bulk, event.first), home)


def _item(bulk: Bulk, first: int) -> Item:
    """A part of the bulk, by the place of its first job."""
    return Item(ItemKind.PART, (bulk.id, first))


def kept_shortly(spec: SharedSpec) -> SharedSpec:
    """The spec of a job whose bulk was dropped, for its end; packed it is as it was, should the job be tried again."""
    if 0 <= spec.keep_ms <= KEEP_DROPPED_MS:
        return spec
    return replace(spec, keep_ms=KEEP_DROPPED_MS)


def is_whole(bulk: Bulk) -> bool:
    """Whether every job that waits for the bulk is in one of its parts."""
    places = [max(bulk.freed, part.first) for part in bulk.parts]
    return [bulk.freed, *(part.end for part in bulk.parts)] == [*places, bulk.total]


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
