"""Bulks: jobs that are accepted together, in more parts than a batch can hold. Nothing here changes anything.

A part is journaled when it comes, its jobs BLOCKED: they live, and no worker gets them. One last event commits the
bulk; from there its jobs are freed some at a time, for a bulk may have a million. A bulk that is dropped, or of which
nothing is heard for `BULK_OPEN_MS`, is cancelled in the same way. Bulks belong to a namespace and not to a session: a
client that returns after a restart goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.decision import BodyArea, Decision
from aioqueue.core.nouns import Bulk, Job
from aioqueue.core.state import State
from aioqueue.core.terms import PARENT_OVER, is_orphan, terms_of
from aioqueue.errors import BadOption, BulkUnknown, TooManyBulks
from aioqueue.limits import BULK_FREED_MAX, BULK_OPEN_MS, BULKS_MAX
from aioqueue.model.states import BulkPhase, JobState

_BLOCKED = JobState.BLOCKED


def stage_bulk(state: State, command: c.StageBulk, now: Now, bodies: BodyArea) -> Decision:
    bulk = _promised(state, command.bulk, command.namespace)
    if bulk is None:
        _check_begins(state, command)
    parts, first = (0, 0) if bulk is None else (bulk.staged, bulk.total)
    if bulk is not None and bulk.phase is BulkPhase.COMMITTED and command.part >= parts:
        raise BadOption(option="part", value=command.part, reason="nothing is added to a bulk that was committed")
    if command.part > parts:
        raise BulkUnknown(bulk=command.bulk.hex())
    heard = e.BulkHeard(command.bulk, now.mono_ms)
    if command.part < parts:
        return Decision([(heard, None)], parts)
    _check_new(state, command.items)
    events: list[tuple[e.Event, bytes | None]] = []
    orphans: list[tuple[e.Event, bytes | None]] = []
    for seq, item in enumerate(command.items, state.next_seq):
        offset, length, crc = bodies.add(item.body)
        bodies.records += len(item.packed_spec) + len(item.extra or b"")
        due_ms = item.due_ms or (now.wall_ms + item.delay_ms if item.delay_ms else 0)
        terms = None if item.terms is None else terms_of(state, item.terms, item.spec.namespace, now.wall_ms)
        due_ms = due_ms if due_ms > now.wall_ms else 0
        event = e.JobSubmitted(
            item.id, item.packed_spec, seq, _BLOCKED, due_ms, offset, length, crc, 0, item.extra, terms
        )  # fmt: skip
        events.append((event, item.body))
        if terms is not None and is_orphan(state, terms, item.spec.namespace):
            orphans.append((e.JobCancelled(item.id, PARENT_OVER), None))
    staged = e.BulkStaged(command.bulk, command.namespace, parts, b"".join(item.id for item in command.items), first)
    return Decision([*events, (staged, None), *orphans, (heard, None)], parts + 1)


def _check_begins(state: State, command: c.StageBulk) -> None:
    """Refuse a part that is not the first of a new bulk.

    One that comes again may be that of a bulk that is over, and one before it may be aside, being looked up: so this is
    known only after a look.
    """
    over = command.part > 0 or command.bulk in state.bulks
    if command.bulk not in state.bulks and (command.part or command.resent):
        first = command.items[0].id if command.items else b""
        if not command.looked or first in state.just_finished:
            raise c.NeedsLookup(command.bulk, first)
        over = over or command.known or first in state.jobs
    if over:
        raise BulkUnknown(bulk=command.bulk.hex())
    if len(state.bulks) >= BULKS_MAX:
        raise TooManyBulks(bulks=len(state.bulks), limit=BULKS_MAX)


def _check_new(state: State, items: list[c.NewJob]) -> None:
    """Refuse a part whose jobs are not all new, or do not all fit."""
    if not items:
        raise BadOption(option="items", value=0, reason="a part of a bulk has at least one job")
    seen: set[bytes] = set()
    size = 0
    for item in items:
        known = item.id in state.jobs or item.id in state.just_finished
        if known or item.known is not c.Known.FRESH or item.id in seen:
            reason = "a job of a bulk must have a generated id that is said for the first time"
            raise BadOption(option="job", value=item.id.hex(), reason=reason)
        seen.add(item.id)
        size += len(item.body) + len(item.extra or b"")
    room_jobs, room_bytes = state.admission.room(len(state.jobs))
    if len(items) > room_jobs or size > room_bytes:
        raise state.admission.refusal(len(state.jobs))


def commit_bulk(state: State, command: c.CommitBulk, now: Now, bodies: BodyArea) -> Decision:
    bulk = _promised(state, command.bulk, command.namespace)
    if bulk is not None:
        if bulk.phase is BulkPhase.COMMITTED:
            return Decision([], None)
        if bulk.staged == command.parts:
            return Decision([(e.BulkCommitted(command.bulk), None)], None)
    elif command.bulk not in state.bulks:
        living = command.first in state.jobs
        if not living and (not command.looked or command.first in state.just_finished):
            raise c.NeedsLookup(command.bulk, command.first)
        if living or command.known:
            return Decision([], None)
    raise BulkUnknown(bulk=command.bulk.hex())


def drop_bulk(state: State, command: c.DropBulk, now: Now, bodies: BodyArea) -> Decision:
    bulk = _promised(state, command.bulk, command.namespace)
    if bulk is None or bulk.phase is not BulkPhase.OPEN:
        return Decision([], None)
    return Decision([(free_bulk(state, bulk, now), None)], None)


def _promised(state: State, bulk_id: bytes, namespace: str) -> Bulk | None:
    """The bulk, where it is this namespace's and was not dropped."""
    bulk = state.bulks.get(bulk_id)
    return None if bulk is None or bulk.namespace != namespace or bulk.phase is BulkPhase.DROPPED else bulk


def decide_freed(state: State, now: Now) -> e.BulkFreed | None:
    """The next jobs of the bulk whose turn it is to be worked off: the one that was closed first."""
    if not state.closing:
        return None
    return free_bulk(state, min(state.closing.values(), key=lambda bulk: (bulk.closed_at, bulk.id)), now)


def silent_bulks(state: State, at_ms: int) -> Iterator[Bulk]:
    """The open bulks of which nothing was decided for so long, at this instant, that their clients seem gone."""
    open_bulks = (bulk for bulk in state.bulks.values() if bulk.phase is BulkPhase.OPEN)
    return (bulk for bulk in open_bulks if bulk.heard_ms + BULK_OPEN_MS <= at_ms)


def decide_forgotten(
    state: State, now: Now, heard_up_to_ms: int, waiting: Iterable[c.Command | object]
) -> list[e.BulkFreed]:
    """The beginning of the end of each bulk whose client is gone; of one whose `waiting` commands stand in line it is
    not. All that was said up to `heard_up_to_ms` is decided, or among those.
    """
    late = list(silent_bulks(state, heard_up_to_ms))
    heard = {getattr(command, "bulk", None) for command in waiting} if late else ()
    return [free_bulk(state, bulk, now) for bulk in late if bulk.id not in heard]


def free_bulk(state: State, bulk: Bulk, now: Now) -> e.BulkFreed:
    """The next jobs of a bulk that was committed, or that never will be, become what they are to be."""
    ids = list(islice(bulk.waiting(), BULK_FREED_MAX))
    # An id that was over, and was said anew, stands here twice: the broker must not fall over such a client.
    jobs = map(state.jobs.get, dict.fromkeys(ids))
    waiting = [job for job in jobs if job is not None and job.state is _BLOCKED]
    if bulk.phase is not BulkPhase.COMMITTED:
        return e.BulkFreed(bulk.id, len(ids), state.next_seq, cancelled=_ids(waiting))
    ready = [job for job in waiting if job.due_ms <= now.wall_ms]
    scheduled = [job for job in waiting if job.due_ms > now.wall_ms]
    return e.BulkFreed(bulk.id, len(ids), state.next_seq, _ids(ready), _ids(scheduled))


def _ids(jobs: Iterable[Job]) -> bytes:
    return b"".join([job.id for job in jobs])
