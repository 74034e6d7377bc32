"""Applying changes, and never refuses: the only code that writes to `State`.

Each function makes one event so, and checks before it touches anything that the event can be: what `decide` promised
is asserted here once more. `IllegalChange` is a defect of this program or a journal it did not write; it is never an
answer to a caller. The same code runs for new events and for replay, so both give the same state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from aioqueue.core import events as e
from aioqueue.core import staging
from aioqueue.core.effects import ArchiveJob, ArchiveRun, CloseSession, DeliverJob, Effect, ReviveJob, StopRun
from aioqueue.core.machine import LEGAL, IllegalChange, illegal_change
from aioqueue.core.nouns import Job, Offer, Rare, Session, admitted_bytes, rare_of
from aioqueue.core.places import LENGTH_MASK, pack_place, same_body
from aioqueue.core.queues import QueueState
from aioqueue.core.state import State
from aioqueue.core.terms import TIME_IS_OVER, end_when_stopped
from aioqueue.limits import CRASHES_ALONE
from aioqueue.model.records import EndedRun, FinishedJob
from aioqueue.model.states import Cause, JobState

_READY, _SCHEDULED, _RUNNING = JobState.READY, JobState.SCHEDULED, JobState.RUNNING
_DEAD, _SUCCEEDED, _CANCELLED = JobState.DEAD, JobState.SUCCEEDED, JobState.CANCELLED
_STOPPING, _EXPIRED = JobState.STOPPING, JobState.EXPIRED
_LIVING: Final = frozenset({_READY, _SCHEDULED, JobState.BLOCKED, _RUNNING, _STOPPING})
# Why a child is cancelled; for people.
_PARENT_CANCELLED: Final = "its parent was cancelled"
_PARENT_EXPIRED: Final = "its parent expired"
_Run = e.JobSucceeded | e.JobFailed | e.JobReleased | e.JobCrashed | e.JobStopping


class Moment:
    """The batch that events are applied in: its position, its time, and what the shell owes for it so far: the effects,
    and to keep the arguments of the jobs that it submits, by id. `leased_bytes` is how long those of its leases are.
    """

    __slots__ = ("arguments", "effects", "leased_bytes", "position", "wall_ms")

    def __init__(self, position: int, wall_ms: int) -> None:
        self.position = position
        self.wall_ms = wall_ms
        self.leased_bytes = 0
        self.effects: list[Effect] = []
        self.arguments: dict[bytes, bytes] = {}


def apply(state: State, event: e.Event, body: bytes | None, at: Moment) -> None:
    """Make the event so; `body` is the payload that the event refers to. Effects are added to `at`."""
    APPLY[type(event)](state, event, body, at)


def _living(state: State, event: e.JobEvent, after: JobState) -> Job:
    job = state.jobs.get(event.id)
    if job is None or (job.state, type(event), after) not in LEGAL:
        raise illegal_change(None if job is None else job.state, event, after)
    return job


def _run(state: State, event: _Run, after: JobState) -> Job:
    """The running job whose lease the event is about; the fence must be that of the lease."""
    job = _living(state, event, after)
    if job.fence != event.fence:
        raise IllegalChange(f"{type(event).__name__} names fence {event.fence}, job {job.id.hex()} has {job.fence}")
    return job


def _submitted(state: State, event: e.JobSubmitted, body: bytes | None, at: Moment) -> None:
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
        _bind(state, job)
    if event.generation:
        at.effects.append(ReviveJob(event.id, event.generation))


def _due(state: State, event: e.JobDue, body: bytes | None, at: Moment) -> None:
    job = _living(state, event, _READY)
    queue = state.queues[job.spec.key]
    queue.counts[_SCHEDULED] -= 1
    queue.counts[_READY] += 1
    job.state = _READY
    job.due_ms = 0
    job.seq = event.seq
    state.next_seq = event.seq + 1
    if job.crashes:
        _suspect_ready(state, queue, job)
    else:
        queue.lane.push(job)
    state.due.moved_on()


def _leased(state: State, event: e.JobLeased, body: bytes | None, at: Moment) -> None:
    job = _living(state, event, _RUNNING)
    session = state.sessions.get(event.session)
    if session is None or event.fence < state.next_fence:
        raise IllegalChange(f"session {event.session} cannot lease job {job.id.hex()} with fence {event.fence}")
    queue = state.queues[job.spec.key]
    if job.crashes:
        queue.suspects.remove(job)
        state.suspects_ready -= 1
        _hold_suspect(state, session, job)
    elif job.rare is not None and job.rare.terms is not None and job.rare.terms.parent:
        # Before its turn, perhaps (see `families`); a replay that began at a base may not know its parent yet.
        queue.lane.take(job)
    elif queue.lane.pop() is not job:
        raise IllegalChange(f"job {job.id.hex()} was leased out of its turn")
    queue.counts[_READY] -= 1
    queue.counts[_RUNNING] += 1
    session.leases[job.id] = job
    job.state = _RUNNING
    job.session = event.session
    job.fence = event.fence
    job.runs = event.run
    job.started_ms = at.wall_ms
    state.next_fence = event.fence + 1
    at.leased_bytes += job.place & LENGTH_MASK
    link = session.link
    if link.slots <= len(session.leases) or job.crashes >= CRASHES_ALONE:
        _rest(state, session)
    extra, deadline_ms = None, 0
    if job.rare is not None:
        extra, deadline_ms = _begin(state, job.rare)
    at.effects.append(
        DeliverJob(
            event.session, job.id, job.spec, event.fence, event.run, job.failures + 1, job.crashes, extra, b"",
            deadline_ms,
        )
    )  # fmt: skip


def _succeeded(state: State, event: e.JobSucceeded, body: bytes | None, at: Moment) -> None:
    job = _run(state, event, _SUCCEEDED)
    worker = _unlease(state, job)
    state.queues[job.spec.key].succeeded += 1
    _finish(state, job, _SUCCEEDED, body or b"", worker, at)


def _failed(state: State, event: e.JobFailed, body: bytes | None, at: Moment) -> None:
    job = _run(state, event, event.state)
    worker = _unlease(state, job)
    queue = state.queues[job.spec.key]
    queue.failed += 1
    job.failures += 1
    _end_run(job, "failed", worker, body or b"", at)
    if event.state is not _SCHEDULED:
        _finish(state, job, event.state, body or b"" if event.state is _DEAD else b"", worker, at)
        return
    queue.counts[_RUNNING] -= 1
    queue.counts[_SCHEDULED] += 1
    job.state = _SCHEDULED
    job.due_ms = event.due_ms
    state.due.add(event.due_ms, job.seq, job.id)


def _released(state: State, event: e.JobReleased, body: bytes | None, at: Moment) -> None:
    job = state.jobs.get(event.id)
    after = end_when_stopped(job) if job is not None and job.state is _STOPPING else _READY
    job = _run(state, event, after)
    worker = _unlease(state, job)
    if after is not _READY:
        _end_run(job, after.label, worker, b"", at)
        _finish(state, job, after, b"", worker, at)
        return
    _end_run(job, "released", worker, b"", at)
    _back_in_place(state, job)


def _stopping(state: State, event: e.JobStopping, body: bytes | None, at: Moment) -> None:
    job = _run(state, event, _STOPPING)
    counts = state.queues[job.spec.key].counts
    counts[_RUNNING] -= 1
    counts[_STOPPING] += 1
    job.state = _STOPPING
    note = TIME_IS_OVER.get(event.cause, event.reason)
    job.rare = rare_of(job.extra, job.terms, event.cause, note)
    _unbind(state, job)
    _doom(state, job.id, _PARENT_CANCELLED if event.cause is Cause.CANCEL else _PARENT_EXPIRED)
    at.effects.append(StopRun(job.session, job.id, job.fence, event.cause))


def _crashed(state: State, event: e.JobCrashed, body: bytes | None, at: Moment) -> None:
    job = _run(state, event, event.state)
    worker = _unlease(state, job)
    job.crashes = event.crashes
    _end_run(job, "crashed", worker, b"", at)
    if event.state is not _READY:
        job.fence = 0
        _finish(state, job, event.state, b"", worker, at)
    else:
        _back_in_place(state, job)


def _cancelled(state: State, event: e.JobCancelled, body: bytes | None, at: Moment) -> None:
    job = _living(state, event, _CANCELLED)
    _end_waiting(state, job, _CANCELLED, event.reason, at)
    _doom(state, job.id, _PARENT_CANCELLED)


def _expired(state: State, event: e.JobExpired, body: bytes | None, at: Moment) -> None:
    job = _living(state, event, _EXPIRED)
    _end_waiting(state, job, _EXPIRED, TIME_IS_OVER[event.cause], at)
    _doom(state, job.id, _PARENT_EXPIRED)


def _end_waiting(state: State, job: Job, end: JobState, note: str, at: Moment) -> None:
    before = job.state
    job.fence = 0
    _finish(state, job, end, b"", "", at, note)
    # Until lane and heap are swept they may still hold it, and headers can be large.
    job.rare = None
    if before is _READY:
        _forget_ready(state, job)
    elif before is _SCHEDULED:
        state.due.moved_on()


# --- what bounds a job --------------------------------------------------------------------------------------------


def _bind(state: State, job: Job) -> None:
    """Note what bounds a job that may still run."""
    terms = job.terms
    if terms is None or job.state is _STOPPING:
        return
    for at_ms in (terms.deadline_ms, 0 if job.runs else terms.expires_ms):
        if at_ms:
            # Not by its place in the line: that changes, and a replay may first hear of the job after it has.
            state.ends.add(at_ms, 0, job.id)
    if terms.parent:
        state.families.setdefault(terms.parent, {})[job.id] = None
    if terms.inherits:
        state.children.setdefault(terms.parent, {})[job.id] = None


def _begin(state: State, rare: Rare) -> tuple[bytes | None, int]:
    """A run of the job begins: it has begun in time. Its extra, and its deadline."""
    terms = rare.terms
    if terms is None:
        return rare.extra, 0
    if terms.expires_ms:
        state.ends.moved_on()
    return rare.extra, terms.deadline_ms


def _unbind(state: State, job: Job) -> None:
    """The job is over, or will be: neither its times nor its parent have anything to say any more."""
    terms = job.terms
    if terms is None:
        return
    if terms.expires_ms or terms.deadline_ms:
        state.ends.moved_on()
    family = state.families.get(terms.parent) if terms.parent else None
    if family is not None and family.pop(job.id, job) is None and not family:
        del state.families[terms.parent]
    siblings = state.children.get(terms.parent) if terms.inherits else None
    if siblings is not None and siblings.pop(job.id, job) is None and not siblings:
        del state.children[terms.parent]
        state.doomed.pop(terms.parent, None)


def _doom(state: State, parent: bytes, reason: str) -> None:
    """Children that end with this parent must end now."""
    if parent in state.children:
        state.doomed.setdefault(parent, reason)


def _hold_suspect(state: State, session: Session, job: Job) -> None:
    session.suspects = (*session.suspects, job)
    state.suspects_running += 1


def _suspect_ready(state: State, queue: QueueState, job: Job) -> None:
    queue.suspects.add(job)
    state.suspects_ready += 1


def _forget_ready(state: State, job: Job) -> None:
    """A job that was ready is not there any more."""
    queue = state.queues[job.spec.key]
    if job.crashes:
        queue.suspects.remove(job)
        state.suspects_ready -= 1
    else:
        queue.lane.forget(job)


def _back_in_place(state: State, job: Job) -> None:
    queue = state.queues[job.spec.key]
    queue.counts[_RUNNING] -= 1
    queue.counts[_READY] += 1
    job.state = _READY
    job.fence = 0
    if job.crashes:
        _suspect_ready(state, queue, job)
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
    if link.slots > len(session.leases) and not link.throttled and not (session.suspects and session.alone):
        state.pool(link.offer).hungry[session.number] = session
    return session.name


def _end_run(job: Job, outcome: str, worker: str, body: bytes, at: Moment) -> None:
    run = EndedRun(job.id, job.generation, job.runs, outcome, job.started_ms, at.wall_ms, worker, body)
    at.effects.append(ArchiveRun(run))


def _finish(state: State, job: Job, end: JobState, body: bytes, worker: str, at: Moment, note: str = "") -> None:
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
        _unbind(state, job)
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


# --- bulks --------------------------------------------------------------------------------------------------------


def _bulk_staged(state: State, event: e.BulkStaged, body: bytes | None, at: Moment) -> None:
    staging.add_part(state, event, at.position)


def _bulk_committed(state: State, event: e.BulkCommitted, body: bytes | None, at: Moment) -> None:
    staging.commit(state, event, at.position)


def _bulk_freed(state: State, event: e.BulkFreed, body: bytes | None, at: Moment) -> None:
    for job in staging.free(state, event, at.position):
        job.spec = staging.kept_shortly(job.spec)
        _end_waiting(state, job, _CANCELLED, staging.BULK_DROPPED, at)
        _doom(state, job.id, _PARENT_CANCELLED)


def _bulk_carried(state: State, event: e.BulkCarried, body: bytes | None, at: Moment) -> None:
    staging.carry_part(state, event, at.position)


def _bulk_heard(state: State, event: e.BulkHeard, body: bytes | None, at: Moment) -> None:
    state.bulks[event.bulk].heard_ms = event.heard_ms


# --- sessions -----------------------------------------------------------------------------------------------------


def _session_opened(state: State, event: e.SessionOpened, body: bytes | None, at: Moment) -> None:
    session = _session(state, event)
    session.journaled = True
    session.home = at.position
    state.homes.add(at.position)


def _session(state: State, opened: e.SessionOpened) -> Session:
    session = state.sessions.get(opened.number)
    if session is None:
        session = Session(opened.number, opened.secret_hash, opened.namespace, opened.name, 0)
        state.sessions[opened.number] = session
        state.session_of[opened.secret_hash] = opened.number
        state.next_session = max(state.next_session, opened.number + 1)
    return session


def _session_ended(state: State, event: e.SessionEnded, body: bytes | None, at: Moment) -> None:
    _forget_session(state, event.number, at)


def _session_forgotten(state: State, event: e.SessionForgotten, body: bytes | None, at: Moment) -> None:
    _forget_session(state, event.number, at)


def _forget_session(state: State, number: int, at: Moment) -> None:
    session = state.sessions.get(number)
    if session is None or session.leases:
        raise IllegalChange(f"session {number} cannot end: it is unknown, or holds leases")
    del state.sessions[number]
    _leave_pool(state, session)
    # A replay that begun behind its opening may not know the secret, nor where its home was.
    state.session_of.pop(session.secret_hash, None)
    if session.home:
        state.homes.remove(session.home)
    at.effects.append(CloseSession(number))


def _rest(state: State, session: Session) -> None:
    pool = state.pools.get(session.link.offer)
    if pool is not None:
        pool.hungry.pop(session.number, None)


def _leave_pool(state: State, session: Session) -> None:
    """The session offers this no more; a pool without members is forgotten, or they would pile up."""
    offer = session.link.offer
    pool = state.pools.get(offer)
    if pool is not None:
        pool.hungry.pop(session.number, None)
        pool.members.discard(session.number)
        if not pool.members:
            state.forget_pool(offer)


def _link_changed(state: State, event: e.LinkChanged, body: bytes | None, at: Moment) -> None:
    session = state.sessions[event.number] if event.opened is None else _session(state, event.opened)
    _leave_pool(state, session)
    link = session.link
    link.connected = event.connected
    link.number = event.link
    link.slots = event.slots
    link.offer = Offer(session.namespace, event.queues)
    link.heard_ms = event.heard_ms
    link.since_fence = event.since_fence or link.since_fence
    if event.since_fence:
        link.throttled = False
    if link.slots:
        pool = state.pool(link.offer)
        pool.members.add(session.number)
        if session.hungry:
            pool.hungry[session.number] = session


def _link_throttled(state: State, event: e.LinkThrottled, body: bytes | None, at: Moment) -> None:
    session = state.sessions[event.number]
    session.link.throttled = event.throttled
    if session.hungry:
        state.pool(session.link.offer).hungry[session.number] = session
    else:
        _rest(state, session)


def _session_heard(state: State, event: e.SessionHeard, body: bytes | None, at: Moment) -> None:
    state.sessions[event.number].link.heard_ms = event.heard_ms


# --- the journal itself -------------------------------------------------------------------------------------------


def _job_carried(state: State, event: e.JobCarried, body: bytes | None, at: Moment) -> None:
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
    _bind(state, job)
    queue = state.busy_queue(job.spec.key)
    queue.counts[job.state] += 1
    if job.state is _SCHEDULED:
        state.due.add(job.due_ms, job.seq, job.id)
    elif job.state in (_RUNNING, _STOPPING):
        session = known_session(state, job.session)
        session.leases[job.id] = job
        if job.crashes:
            _hold_suspect(state, session, job)
    elif job.crashes:
        _suspect_ready(state, queue, job)
    elif job.state is _READY:
        queue.lane.give_back(job)


def known_session(state: State, number: int) -> Session:
    """The session; where a replay began behind its opening, and has not met its record yet, one of that number."""
    session = state.sessions.get(number)
    if session is None:
        session = state.sessions[number] = Session(number, b"", "", "", 0)
        session.journaled = True
    return session


def _session_carried(state: State, event: e.SessionCarried, body: bytes | None, at: Moment) -> None:
    session = state.sessions.get(event.number)
    if session is not None and session.home:
        state.homes.remove(session.home)
    elif state.partial:
        session = known_session(state, event.number)
        session.secret_hash, session.namespace, session.name = event.secret_hash, event.namespace, event.name
        state.session_of[event.secret_hash] = event.number
    else:
        raise IllegalChange(f"session {event.number} is carried, and is not known")
    session.home = at.position
    state.homes.add(at.position)


def _base_moved(state: State, event: e.BaseMoved, body: bytes | None, at: Moment) -> None:
    oldest = state.homes.oldest()
    if event.base > event.head or event.head >= at.position or (oldest is not None and oldest < event.base):
        raise IllegalChange(f"the base cannot move to {event.base} with its head at {event.head}: {oldest} is needed")
    state.base = event.base
    state.next_seq = max(state.next_seq, event.next_seq)
    state.next_fence = max(state.next_fence, event.next_fence)
    state.next_session = max(state.next_session, event.next_session)


def _admission_changed(state: State, event: e.AdmissionChanged, body: bytes | None, at: Moment) -> None:
    state.admission.shut = event.shut


APPLY: dict[type[e.Event], Callable[[State, Any, bytes | None, Moment], None]] = {
    e.JobSubmitted: _submitted,
    e.JobDue: _due,
    e.JobLeased: _leased,
    e.JobSucceeded: _succeeded,
    e.JobFailed: _failed,
    e.JobReleased: _released,
    e.JobCrashed: _crashed,
    e.JobCancelled: _cancelled,
    e.JobStopping: _stopping,
    e.JobExpired: _expired,
    e.BulkStaged: _bulk_staged,
    e.BulkCommitted: _bulk_committed,
    e.BulkFreed: _bulk_freed,
    e.BulkCarried: _bulk_carried,
    e.BulkHeard: _bulk_heard,
    e.SessionOpened: _session_opened,
    e.SessionEnded: _session_ended,
    e.SessionCarried: _session_carried,
    e.JobCarried: _job_carried,
    e.BaseMoved: _base_moved,
    e.LinkChanged: _link_changed,
    e.LinkThrottled: _link_throttled,
    e.SessionHeard: _session_heard,
    e.SessionForgotten: _session_forgotten,
    e.AdmissionChanged: _admission_changed,
}
