"""What can be kept of jobs where a part of the journal is lost: what the batches behind the gap tell of them.

Up to the gap the state is known. Behind it, events refer to jobs, leases and places that may have changed unseen, so
they cannot be replayed; but two kinds of them are certain by themselves. A submit, or a record that was carried, holds
the whole job, and an end says that the job must not run again. So, in this order:

* a run that was on at the gap, and whose end stands behind it with the same fence, ends as it did;
* all leases are given back, and all sessions end: their workers may hold runs that this journal never heard of;
* a job that was living at the gap, and is known to be over, is cancelled;
* a job that was submitted behind the gap, and is not known to be over, is submitted again with the same id;
* a setting behind the gap holds, the last of each: its record is whole, whatever was lost before it.

Everything else behind the gap is dropped: leases, pauses, attempts and crashes that were counted there. A job whose
submit was in the gap is lost. What this gives is legal history, and is applied to the partition as it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from aioqueue.core import events as e
from aioqueue.core.decision import BodyArea
from aioqueue.core.endings import end_of_session
from aioqueue.core.machine import LEGAL
from aioqueue.core.nouns import Bulk, Job
from aioqueue.core.partition import Partition
from aioqueue.limits import BATCH_BYTES_TARGET, BATCH_EVENTS_TARGET, LAPSED_MAX
from aioqueue.model.ids import ids_in
from aioqueue.model.states import TERMINAL, BulkPhase, JobState, SessionEnd

_ENDS: Final[dict[type[e.Event], JobState]] = {
    e.JobSucceeded: JobState.SUCCEEDED,
    e.JobCancelled: JobState.CANCELLED,
    e.JobExpired: JobState.EXPIRED,
}


class Rescued(NamedTuple):
    """A batch to append: its time in milliseconds UTC, its events, and the bodies that they refer to."""

    wall_ms: int
    events: list[e.Event]
    bodies: list[bytes]


class _Found(NamedTuple):
    """An event behind the gap, its body and the time of its batch."""

    wall_ms: int
    event: Any
    body: bytes | None


class Rescue:
    """The batches behind the first gap, taken in order, and then what to append to the journal that ends there.

    `partition` is the state at the gap. `ended` are jobs that were living then and are over, `lost` those that are
    told of but whose submit was not found; `submitted` are those that it was found of, by id, and `finished` the runs
    that were on at the gap and ended with the same fence.
    """

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self.finished: dict[bytes, _Found] = {}
        self.submitted: dict[bytes, _Found] = {}
        self.ended: set[bytes] = set()
        self.lost: set[bytes] = set()
        # The bulks of jobs that were staged behind the gap, and which bulks are known to have been committed there.
        self._bulk_of: dict[bytes, bytes] = {}
        self._committed: set[bytes] = set()
        # The last record of each setting behind the gap; None where it lapsed there.
        self._tasks: dict[tuple[str, str], _Found | None] = {}

    def take(self, events: Sequence[e.Event], bodies: bytes, wall_ms: int) -> None:
        """One batch behind the gap."""
        for event in events:
            _TAKE[type(event)](self, _Found(wall_ms, event, _body(event, bodies)))

    def living(self) -> dict[bytes, int]:
        """The jobs that will live, by id, and their generations; an archive may know of some that they are over."""
        jobs = self._partition.state.jobs
        self._forget_uncommitted()
        found = {job.id: job.generation for job in jobs.values() if job.id not in self.ended and not self._over(job.id)}
        return found | {job_id: submit.event.generation for job_id, submit in self.submitted.items()}

    def drop(self, ids: Iterable[bytes]) -> None:
        """These of the living jobs are over, as is known from elsewhere."""
        for job_id in ids:
            if self.submitted.pop(job_id, None) is None:
                self.ended.add(job_id)

    def batches(self, position: int, wall_ms: int) -> Iterator[Rescued]:
        """What to append behind `position`; each is applied to the partition before the next is made."""
        state = self._partition.state
        self._forget_uncommitted()
        commits = [e.BulkCommitted(bulk.id) for bulk in state.bulks.values() if self._was_committed(bulk)]
        if commits:
            yield self._applied(position := position + 1, wall_ms, [(event, None) for event in commits])
        for part in _parts(self.finished.values()):
            yield self._applied(position := position + 1, part[0].wall_ms, [(item.event, item.body) for item in part])
        goodbyes = [
            event for session in list(state.sessions.values()) for event in end_of_session(session, SessionEnd.GOODBYE)
        ]
        for start in range(0, len(goodbyes), BATCH_EVENTS_TARGET):
            yield self._applied(position := position + 1, wall_ms, goodbyes[start : start + BATCH_EVENTS_TARGET])
        over = [job_id for job_id in sorted(self.ended) if job_id in state.jobs]
        for start in range(0, len(over), BATCH_EVENTS_TARGET):
            cancels = [(e.JobCancelled(job_id), None) for job_id in over[start : start + BATCH_EVENTS_TARGET]]
            yield self._applied(position := position + 1, wall_ms, cancels)
        for part in _parts(self.submitted.values()):
            seq = state.next_seq
            again = [(_unblocked(item, seq + index), item.body) for index, item in enumerate(part)]
            yield self._applied(position := position + 1, part[0].wall_ms, again)
        lapsed = tuple(key for key, found in self._tasks.items() if found is None and state.registry.find(key))
        for start in range(0, len(lapsed), LAPSED_MAX):
            event = e.ItemsLapsed(lapsed[start : start + LAPSED_MAX])
            yield self._applied(position := position + 1, wall_ms, [(event, None)])
        for part in _parts(found for found in self._tasks.values() if found is not None):
            settings = [(item.event, None) for item in part]
            yield self._applied(position := position + 1, part[0].wall_ms, settings)

    def _was_committed(self, bulk: Bulk) -> bool:
        """Whether a bulk that was open at the gap was committed behind it; what of it was staged there stands alone."""
        return bulk.phase is BulkPhase.OPEN and bulk.id in self._committed

    def _forget_uncommitted(self) -> None:
        """Jobs whose bulk is not known to have been committed were promised to nobody."""
        blocked = [found.event.id for found in self.submitted.values() if found.event.state is JobState.BLOCKED]
        for job_id in blocked:
            if self._bulk_of.get(job_id) not in self._committed:
                del self.submitted[job_id]

    def _take_submit(self, found: _Found) -> None:
        job_id = found.event.id
        # A job that was living at the gap and is submitted again behind it was over and requeued in between.
        if job_id in self._partition.state.jobs:
            self.ended.add(job_id)
        self.submitted[job_id] = found
        self.lost.discard(job_id)

    def _take_end(self, found: _Found) -> None:
        """A run or a wait is over, and perhaps the job."""
        event = found.event
        job = self._partition.state.jobs.get(event.id)
        if job is not None and _is_own_end(event, job):
            self.finished[event.id] = found
        elif _end_of(event) in TERMINAL:
            self.lost.discard(event.id)
            if self.submitted.pop(event.id, None) is None and job is not None:
                self.ended.add(event.id)
        else:
            self._take_sign(found)

    def _take_sign(self, found: _Found) -> None:
        """Something happened to the job: there is one, whatever of it was lost."""
        job_id = found.event.id
        if job_id not in self._partition.state.jobs and job_id not in self.submitted:
            self.lost.add(job_id)

    def _take_record(self, found: _Found) -> None:
        """A job's whole record: what its submit would tell, where that is in the gap, or lies behind the base."""
        event: e.JobCarried = found.event
        job = self._partition.state.jobs.get(event.id)
        if event.id in self.submitted or (job is not None and job.generation == event.generation):
            return
        waits = event.state in (JobState.SCHEDULED, JobState.BLOCKED)
        submit = e.JobSubmitted(
            event.id, event.spec, event.seq, event.state if waits else JobState.READY,
            event.due_ms if waits else 0, event.body_offset, event.body_bytes, event.body_crc, event.generation,
            event.extra, event.terms,
        )  # fmt: skip
        self._take_submit(_Found(event.submitted_ms, submit, found.body))

    def _take_part(self, found: _Found) -> None:
        """Jobs of a bulk, and perhaps that it was committed."""
        event: e.BulkStaged | e.BulkCarried = found.event
        self._bulk_of.update(dict.fromkeys(ids_in(event.ids), event.bulk))
        if isinstance(event, e.BulkCarried) and event.phase is BulkPhase.COMMITTED:
            self._committed.add(event.bulk)

    def _take_commit(self, found: _Found) -> None:
        self._committed.add(found.event.bulk)

    def _take_freed(self, found: _Found) -> None:
        event: e.BulkFreed = found.event
        if event.ready or event.scheduled:
            self._committed.add(event.bulk)
            self._bulk_of.update(dict.fromkeys(ids_in(event.ready + event.scheduled), event.bulk))
        self.drop(ids_in(event.cancelled))

    def _take_setting(self, found: _Found) -> None:
        event: e.TaskSet = found.event
        self._tasks[event.namespace, event.name] = found

    def _take_lapsed(self, found: _Found) -> None:
        self._tasks.update(dict.fromkeys(found.event.tasks))

    def _over(self, job_id: bytes) -> bool:
        """Whether the run that was on at the gap ended the job."""
        found = self.finished.get(job_id)
        return found is not None and _end_of(found.event) in TERMINAL

    def _applied(self, position: int, wall_ms: int, told: Sequence[tuple[e.Event, bytes | None]]) -> Rescued:
        area = BodyArea()
        events: list[e.Event] = []
        for event, body in told:
            if isinstance(event, e.WITH_BODY):
                offset, size, crc = area.add(body or b"")
                event = replace(event, body_offset=offset, body_bytes=size, body_crc=crc)
            events.append(event)
        self._partition.replay(events, b"".join(area.parts), position, wall_ms)
        return Rescued(wall_ms, events, area.parts)


def _parts(found: Iterable[_Found]) -> Iterator[list[_Found]]:
    """In their order, as many at once as a batch should hold, and together only what has one time."""
    part: list[_Found] = []
    size = 0
    for item in found:
        full = len(part) >= BATCH_EVENTS_TARGET or size >= BATCH_BYTES_TARGET
        if part and (full or item.wall_ms != part[0].wall_ms):
            yield part
            part, size = [], 0
        part.append(item)
        size += len(item.event.body if isinstance(item.event, e.TaskSet) else item.body or b"")
    if part:
        yield part


def _unblocked(found: _Found, seq: int) -> e.JobSubmitted:
    """The submit once more; what waited for its bulk does so no longer."""
    event: e.JobSubmitted = replace(_alone(found.event), seq=seq)
    if event.state is JobState.BLOCKED:
        waits = event.due_ms > found.wall_ms
        event.state, event.due_ms = (JobState.SCHEDULED, event.due_ms) if waits else (JobState.READY, 0)
    return event


def _is_own_end(event: Any, job: Job) -> bool:
    """Whether it is the end of a run that was on at the gap. A crash is not: it belongs to the end of its session."""
    if not isinstance(event, e.JobSucceeded | e.JobFailed) or event.fence != job.fence:
        return False
    return (job.state, type(event), _end_of(event)) in LEGAL


def _alone(event: e.JobSubmitted) -> e.JobSubmitted:
    """The submit of a job that does not end with its parent: what became of that is not known."""
    if event.terms is None or not event.terms.inherits:
        return event
    return replace(event, terms=replace(event.terms, inherits=False))


def _end_of(event: Any) -> JobState:
    """The state that the end of a run or of a wait leads to, where it tells of none the only one."""
    return _ENDS.get(type(event)) or event.state


def _body(event: Any, bodies: bytes) -> bytes | None:
    """What the event refers to; the batch's hash vouched for it."""
    if isinstance(event, e.WITH_BODY):
        return bodies[event.body_offset : event.body_offset + event.body_bytes]
    return None


_RULES: Final[dict[e.Behind, Callable[[Rescue, _Found], None]]] = {
    e.Behind.SUBMIT: Rescue._take_submit,
    e.Behind.RECORD: Rescue._take_record,
    e.Behind.END: Rescue._take_end,
    e.Behind.SIGN: Rescue._take_sign,
    e.Behind.PART: Rescue._take_part,
    e.Behind.COMMIT: Rescue._take_commit,
    e.Behind.FREED: Rescue._take_freed,
    e.Behind.SETTING: Rescue._take_setting,
    e.Behind.LAPSED: Rescue._take_lapsed,
    e.Behind.NOTHING: lambda rescue, found: None,
}
_TAKE: Final[dict[type[e.Event], Callable[[Rescue, _Found], None]]] = {
    kind: _RULES[rules.behind] for kind, rules in e.RULES.items()
}
