"""New jobs: which of them are new indeed, and which there is room for.

An id that is known is answered, never submitted twice (`own_ids`); what does not fit is refused with all that follows
it, or all of it where the submit is atomic.
"""

from __future__ import annotations

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.decide.own_ids import begin_new_uses, duplicates, settle_forgotten
from aioqueue.core.decision import BodyArea, Decision
from aioqueue.core.state import State
from aioqueue.core.terms import PARENT_OVER, is_orphan, terms_of
from aioqueue.errors import BulkTooLarge, Duplicate, Refused
from aioqueue.limits import ATOMIC_BYTES_MAX, ATOMIC_JOBS_MAX
from aioqueue.model.states import JobState

_READY, _SCHEDULED = JobState.READY, JobState.SCHEDULED
# Looking a member up in its enum costs 0.1 us on Python 3.11, and these are asked for every job.
_FRESH, _FINISHED = c.Known.FRESH, c.Known.FINISHED
_ACCEPTED, _EXISTS = c.SubmitOutcome.ACCEPTED, c.SubmitOutcome.EXISTS


def submit_jobs(state: State, command: c.SubmitJobs, now: Now, bodies: BodyArea) -> Decision:
    items = command.items
    if command.atomic:
        size = sum(len(item.body) for item in items)
        if len(items) > ATOMIC_JOBS_MAX or size > ATOMIC_BYTES_MAX:
            raise BulkTooLarge(jobs=len(items), size=size, jobs_max=ATOMIC_JOBS_MAX, size_max=ATOMIC_BYTES_MAX)
    living = state.jobs
    events: list[tuple[e.Event, bytes | None]] = []
    outcomes: list[c.SubmitOutcome | Refused] = []
    orphans: list[tuple[e.Event, bytes | None]] = []
    seen: set[bytes] = set()
    seq = state.next_seq
    # A body is laid down only when no item can send the command back for a look-up any more.
    known = [item for item in items if item.known is not _FRESH]
    taken = _look_at(state, items, known, command.atomic, now.wall_ms) if known else {}
    if command.atomic and not _all_fit(state, items):
        raise state.admission.refusal(len(living))
    room_jobs, room_bytes = state.admission.room(len(living))
    refused: Refused | None = None
    added = 0
    wall_ms, lay, over = now.wall_ms, bodies.add, state.just_finished
    for item in items:
        job_id = item.id
        if job_id in living or item.known is _FINISHED or job_id in seen or job_id in over:
            outcomes.append(_EXISTS)
            continue
        body, packed_spec, extra = item.body, item.packed_spec, item.extra
        size = len(body) if extra is None else len(body) + len(extra)
        if refused is not None or len(events) >= room_jobs or added + size > room_bytes:
            # What follows is not taken either, or small jobs would pass by a large one for ever.
            refused = refused or state.admission.refusal(len(living) + len(events), added)
            outcomes.append(refused)
            continue
        seen.add(job_id)
        added += size
        due_ms = item.due_ms or (wall_ms + item.delay_ms if item.delay_ms else 0)
        waits = due_ms > wall_ms
        terms = None if item.terms is None else terms_of(state, item.terms, item.spec.namespace, wall_ms)
        offset, length, crc = lay(body)
        bodies.records += len(packed_spec) + size - length
        event = e.JobSubmitted(
            job_id, packed_spec, seq, _SCHEDULED if waits else _READY, due_ms if waits else 0,
            offset, length, crc, 0, extra, terms,
        )  # fmt: skip
        events.append((event, body))
        if terms is not None and is_orphan(state, terms, item.spec.namespace):
            orphans.append((e.JobCancelled(job_id, PARENT_OVER), None))
        outcomes.append(_ACCEPTED)
        seq += 1
    if known:
        begin_new_uses(known, events)
        outcomes = [
            taken[index] if outcome is _EXISTS and index in taken else outcome for index, outcome in enumerate(outcomes)
        ]
    return Decision(events + orphans, outcomes)


def _look_at(
    state: State, items: list[c.NewJob], known: list[c.NewJob], atomic: bool, wall_ms: int
) -> dict[int, Duplicate]:
    """What is known of these; the items whose ids are other tasks', by index. An atomic submit is refused for them."""
    if any(_must_look(state, item) for item in known):
        # While it waits, its fresh items may be sent again, accepted and over: they are fresh no more.
        raise c.NeedsLookup(*(item.id for item in items if item.id not in state.jobs))
    settle_forgotten(known, wall_ms)
    taken = duplicates(state, items)
    if atomic and taken:
        raise next(iter(taken.values()))
    return taken


def _all_fit(state: State, items: list[c.NewJob]) -> bool:
    """Whether there is room for all of these that are new."""
    living = state.jobs
    new = {item.id: item for item in items if item.id not in living and item.known is not _FINISHED}
    room_jobs, room_bytes = state.admission.room(len(living))
    size = sum(len(item.body) + len(item.extra or b"") for item in new.values())
    return not new or (len(new) <= room_jobs and size <= room_bytes)


def _must_look(state: State, item: c.NewJob) -> bool:
    """Nobody looked yet, or what was found missing, or free, has ended since, in this very batch."""
    if item.id in state.jobs:
        return False
    if item.known is c.Known.UNKNOWN or item.known is c.Known.OWN:
        return True
    return item.known is not c.Known.FINISHED and item.id in state.just_finished
