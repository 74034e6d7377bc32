"""Deciding may refuse, and never changes anything.

`decide` looks at the state and one command, and says which events would make it so and what the asker is answered.
What it refuses it refuses by raising a `Refused`; then nothing has happened. `NeedsLookup` is neither: the same command
comes again with what the shell found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.backoff import backoff_ms
from aioqueue.core.bulks import carry_parts, commit_bulk, drop_bulk, stage_bulk
from aioqueue.core.decision import BodyArea, Decision
from aioqueue.core.homes import job_bytes
from aioqueue.core.nouns import Job, Session, copy_job
from aioqueue.core.state import State
from aioqueue.core.terms import PARENT_OVER, end_when_stopped, is_orphan, terms_of
from aioqueue.errors import (
    BulkTooLarge,
    JobNotFound,
    NotRetryable,
    Refused,
    SessionOver,
    TooManySessions,
    WrongNamespace,
)
from aioqueue.limits import ATOMIC_BYTES_MAX, ATOMIC_JOBS_MAX, CRASHES_MAX, ITEM_BYTES, SESSIONS_MAX
from aioqueue.model.ids import id_text
from aioqueue.model.records import Terms
from aioqueue.model.states import Cause, JobState, RunEnd, SessionEnd

_READY, _SCHEDULED, _RUNNING, _DEAD = JobState.READY, JobState.SCHEDULED, JobState.RUNNING, JobState.DEAD
_STOPPING = JobState.STOPPING
# Looking a member up in its enum costs 0.1 us on Python 3.11, and these are asked for every job.
_FRESH, _FINISHED = c.Known.FRESH, c.Known.FINISHED
_ACCEPTED, _EXISTS = c.SubmitOutcome.ACCEPTED, c.SubmitOutcome.EXISTS
_OK, _SUCCEEDED, _RELEASED = c.SettleOutcome.OK, RunEnd.SUCCEEDED, RunEnd.RELEASED


def decide(state: State, command: c.Command, now: Now, bodies: BodyArea) -> Decision:
    """What the command comes to. Raises a `Refused` (and then adds nothing to `bodies`)."""
    decision: Decision = _DECIDE[type(command)](state, command, now, bodies)
    return decision


# --- jobs ---------------------------------------------------------------------------------------------------------


def _submit(state: State, command: c.SubmitJobs, now: Now, bodies: BodyArea) -> Decision:
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
    if any(item.known is not _FRESH and _must_look(state, item) for item in items):
        # While it waits, its fresh items may be sent again, accepted and over: they are fresh no more.
        raise c.NeedsLookup(*(item.id for item in items if item.id not in living))
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
    return Decision(events + orphans, outcomes)


def _all_fit(state: State, items: list[c.NewJob]) -> bool:
    """Whether there is room for all of these that are new."""
    living = state.jobs
    new = {item.id: item for item in items if item.id not in living and item.known is not _FINISHED}
    room_jobs, room_bytes = state.admission.room(len(living))
    size = sum(len(item.body) + len(item.extra or b"") for item in new.values())
    return not new or (len(new) <= room_jobs and size <= room_bytes)


def _must_look(state: State, item: c.NewJob) -> bool:
    """Nobody looked yet, or what was found missing has ended since, in this very batch."""
    if item.id in state.jobs:
        return False
    return item.known is c.Known.UNKNOWN or (item.known is c.Known.ABSENT and item.id in state.just_finished)


def _settle(state: State, command: c.SettleRuns, now: Now, bodies: BodyArea) -> Decision:
    events: list[tuple[e.Event, bytes | None]] = []
    return Decision(events, _settle_runs(state, command.session, command.items, now, bodies, events))


def _settle_runs(
    state: State,
    session: int,
    items: list[c.EndRun],
    now: Now,
    bodies: BodyArea,
    events: list[tuple[e.Event, bytes | None]],
) -> list[c.SettleOutcome]:
    outcomes: list[c.SettleOutcome] = []
    settled: set[bytes] = set()
    living = state.jobs
    unknown = [
        item.id for item in items if item.id not in living and (item.found_fence < 0 or item.id in state.just_finished)
    ]
    if unknown:
        raise c.NeedsLookup(*unknown)
    for item in items:
        job = living.get(item.id)
        if item.fence <= 0:
            # No lease has it, but every job that was never leased, or whose lease was voided.
            outcomes.append(c.SettleOutcome.STALE)
        elif job is None:
            outcomes.append(c.SettleOutcome.ALREADY if item.found_fence == item.fence else c.SettleOutcome.STALE)
        elif job.fence != item.fence or job.session not in (session, 0):
            outcomes.append(c.SettleOutcome.STALE)
        elif (job.state is not _RUNNING and job.state is not _STOPPING) or item.id in settled:
            # The fence is still this run's, so what ended it was its own settle: a failure that waits to be retried.
            outcomes.append(c.SettleOutcome.ALREADY)
        else:
            settled.add(item.id)
            events.append(_end_of_run(job, item, now, bodies))
            outcomes.append(_OK)
    return outcomes


def _end_of_run(job: Job, item: c.EndRun, now: Now, bodies: BodyArea) -> tuple[e.Event, bytes | None]:
    if item.end is _RELEASED:
        return e.JobReleased(job.id, item.fence), None
    offset, length, crc = bodies.add(item.body)
    if item.end is _SUCCEEDED:
        return e.JobSucceeded(job.id, item.fence, offset, length, crc), item.body
    if job.state is _STOPPING:
        return e.JobFailed(job.id, item.fence, end_when_stopped(job), 0, offset, length, crc), item.body
    policy = job.spec.retry
    failures = job.failures + 1
    if item.retry and failures < policy.attempts:
        due_ms = now.wall_ms + backoff_ms(policy, job.id, failures)
        terms = job.terms
        # An attempt that could not begin before the deadline is none: it is out of attempts, and keeps its failure.
        if terms is None or not 0 < terms.deadline_ms <= due_ms:
            return e.JobFailed(job.id, item.fence, _SCHEDULED, due_ms, offset, length, crc), item.body
    return e.JobFailed(job.id, item.fence, _DEAD, 0, offset, length, crc), item.body


def _cancel(state: State, command: c.CancelJob, now: Now, bodies: BodyArea) -> Decision:
    job = state.jobs.get(command.id)
    if job is not None and job.spec.namespace == command.namespace:
        if job.state is _STOPPING:
            return Decision([], "stopping")
        bodies.records += len(command.reason)
        if job.state is _RUNNING:
            return Decision([(e.JobStopping(job.id, job.fence, Cause.CANCEL, command.reason), None)], "stopping")
        return Decision([(e.JobCancelled(job.id, command.reason), None)], "cancelled")
    if job is None and (not command.looked or command.id in state.just_finished):
        raise c.NeedsLookup(command.id)
    found = command.found
    if job is not None or found is None or found.namespace != command.namespace:
        raise JobNotFound(job=id_text(command.id))
    return Decision([], "cancelled" if found.state is JobState.CANCELLED else "finished")


def _requeue(state: State, command: c.RequeueJob, now: Now, bodies: BodyArea) -> Decision:
    job = state.jobs.get(command.id)
    if job is not None and job.spec.namespace == command.namespace:
        if 0 < command.generation <= job.generation:
            return Decision([], job.generation)
        raise NotRetryable(job=id_text(job.id), state=job.state.label)
    # As long as children of its last life are being told to end, those of the next would be told so too.
    if job is None and (not command.looked or command.id in state.just_finished or command.id in state.doomed):
        raise c.NeedsLookup(command.id)
    found = command.found
    if job is not None or found is None or found.namespace != command.namespace:
        raise JobNotFound(job=id_text(command.id))
    if 0 < command.generation <= found.generation:
        return Decision([], found.generation)
    if found.state is JobState.SUCCEEDED:
        raise NotRetryable(job=id_text(found.id), state=found.state.label)
    room_jobs, room_bytes = state.admission.room(len(state.jobs))
    if room_jobs < 1 or len(found.args) + len(found.extra) > room_bytes:
        raise state.admission.refusal(len(state.jobs))
    offset, length, crc = bodies.add(found.args)
    generation = found.generation + 1
    # Its times are over, and so may its parent be: whoever asks for it again wants it to run.
    terms = Terms(parent=found.terms.parent) if found.terms is not None and found.terms.parent else None
    event = e.JobSubmitted(
        found.id, found.spec, state.next_seq, _READY, 0, offset, length, crc, generation, found.extra or None, terms
    )
    return Decision([(event, found.args)], generation)


def _inspect(state: State, command: c.InspectJob, now: Now, bodies: BodyArea) -> Decision:
    job = state.jobs.get(command.id)
    if job is None or job.spec.namespace != command.namespace:
        return Decision([], None)
    return Decision([], copy_job(job))


# --- sessions -----------------------------------------------------------------------------------------------------


def _open_session(state: State, command: c.OpenSession, now: Now, bodies: BodyArea) -> Decision:
    number = state.session_of.get(command.secret_hash)
    if number is not None:
        session = state.sessions[number]
        if session.namespace != command.namespace:
            raise WrongNamespace(namespace=session.namespace, other=command.namespace)
        if command.attach:
            return Decision([(e.SessionHeard(number, now.mono_ms), None)], (number, False))
        # Nothing is leased to it before it says what it still holds and offers its capacity again.
        changed = e.LinkChanged(number, True, 0, (), now.mono_ms, since_fence=state.next_fence, link=command.link)
        return Decision([(changed, None)], (number, False))
    if len(state.sessions) >= SESSIONS_MAX:
        raise TooManySessions(sessions=len(state.sessions), limit=SESSIONS_MAX)
    number = state.next_session
    opened = e.SessionOpened(number, command.secret_hash, command.namespace, command.name)
    changed = e.LinkChanged(number, not command.attach, 0, (), now.mono_ms, opened, link=command.link)
    return Decision([(changed, None)], (number, True))


def _resume(state: State, command: c.ResumeSession, now: Now, bodies: BodyArea) -> Decision:
    """Settles first, then the runs still held. What is left of older leases never arrived: it is given back.

    Leases of this connection are no matter of a resume: they may be on their way.
    """
    session = _session(state, command.session)
    events: list[tuple[e.Event, bytes | None]] = []
    answers = _settle_runs(state, command.session, command.settles, now, bodies, events)
    accounted = {event.id for event, _ in events if isinstance(event, e.JobSucceeded | e.JobFailed | e.JobReleased)}
    verdicts: list[c.RunVerdict] = []
    for run in command.held:
        job = session.leases.get(run.id)
        if job is not None and job.fence == run.fence and run.id not in accounted:
            verdicts.append(c.RunVerdict.CANCEL if job.state is _STOPPING else c.RunVerdict.KEEP)
            accounted.add(run.id)
        else:
            verdicts.append(c.RunVerdict.STALE)
    for job in session.leases.values():
        if job.id not in accounted and job.fence < session.link.since_fence:
            events.append((e.JobReleased(job.id, job.fence), None))
    return Decision(events, (verdicts, answers))


def _offer_capacity(state: State, command: c.OfferCapacity, now: Now, bodies: BodyArea) -> Decision:
    session = _session(state, command.session)
    if command.link != session.link.number:
        # A newer connection may not have said yet what it holds: it could not be told of a lease.
        return Decision([], None)
    # The queues of a worker act as one, so workers that name the same ones in another order share one pool.
    queues = tuple(sorted(set(command.queues)))
    changed = e.LinkChanged(session.number, True, command.slots, queues, now.mono_ms, link=command.link)
    return Decision([(changed, None)], None)


def _lose_link(state: State, command: c.LoseLink, now: Now, bodies: BodyArea) -> Decision:
    session = state.sessions.get(command.session)
    if session is None or command.link != session.link.number:
        return Decision([], None)
    link = session.link
    lost = e.LinkChanged(session.number, False, 0, link.queues, link.heard_ms, link=link.number)
    return Decision([(lost, None)], None)


def _throttle(state: State, command: c.ThrottleLink, now: Now, bodies: BodyArea) -> Decision:
    session = state.sessions.get(command.session)
    if session is None or command.link != session.link.number:
        return Decision([], None)
    return Decision([(e.LinkThrottled(session.number, command.throttled), None)], None)


def _hear(state: State, command: c.HearSession, now: Now, bodies: BodyArea) -> Decision:
    if command.session not in state.sessions:
        return Decision([], None)
    return Decision([(e.SessionHeard(command.session, now.mono_ms), None)], None)


def _end_session(state: State, command: c.EndSession, now: Now, bodies: BodyArea) -> Decision:
    session = state.sessions.get(command.session)
    return Decision([] if session is None else end_of_session(session, command.cause), None)


def end_of_session(session: Session, cause: SessionEnd) -> list[tuple[e.Event, bytes | None]]:
    """What becomes of its leases, and then its end.

    A goodbye gives them back. A process that died counts as a crash of each of its jobs, and from the last allowed one
    on the job is dead. Mere silence never makes a job dead: it may be the network's fault. A job that was told to stop
    has stopped: it is cancelled, or expired.
    """
    events: list[tuple[e.Event, bytes | None]] = []
    for job in session.leases.values():
        if cause is SessionEnd.GOODBYE:
            events.append((e.JobReleased(job.id, job.fence), None))
            continue
        crashes = job.crashes + 1
        if cause is SessionEnd.EXPIRED:
            crashes = min(crashes, max(job.crashes, CRASHES_MAX - 1))
        after = end_when_stopped(job) if job.state is _STOPPING else _DEAD if crashes >= CRASHES_MAX else _READY
        events.append((e.JobCrashed(job.id, job.fence, after, crashes), None))
    ended = e.SessionEnded(session.number, cause) if session.journaled else e.SessionForgotten(session.number)
    events.append((ended, None))
    return events


# --- the journal itself ------------------------------------------------------------------------------------------


def _carry(state: State, command: c.CarryItems, now: Now, bodies: BodyArea) -> Decision:
    """What is so now of the items that are still at home where they were seen; the events that follow go on from it."""
    events: list[tuple[e.Event, bytes | None]] = []
    carried_bytes = 0
    for seen in command.sessions:
        session = state.sessions.get(seen.number)
        if session is None or session.home != seen.home:
            continue
        carried_bytes += ITEM_BYTES
        events.append((e.SessionCarried(session.number, session.secret_hash, session.namespace, session.name), None))
    for item in command.jobs:
        job = state.jobs.get(item.id)
        if job is None or job.home != item.home:
            continue
        offset, length, crc = bodies.add(item.body)
        bodies.carried += length
        carried_bytes += job_bytes(job)
        event = e.JobCarried(
            job.id, job.spec.packed, job.seq, job.state, job.due_ms, job.submitted_ms, offset, length, crc, job.extra,
            job.generation, job.failures, job.crashes, job.runs, job.fence, job.session, job.started_ms,
        )  # fmt: skip
        if job.rare is not None:
            event.terms, event.cause, event.note = job.rare.terms, job.rare.cause, job.rare.note
        events.append((event, item.body))
    for part in carry_parts(state, command.parts):
        carried_bytes += ITEM_BYTES + len(part.ids)
        events.append((part, None))
    return Decision(events, carried_bytes)


def _move_base(state: State, command: c.MoveBase, now: Now, bodies: BodyArea) -> Decision:
    oldest = state.homes.oldest()
    if state.doomed:
        # A replay from there would not know whose children are to end; in a few batches none are.
        return Decision([], False)
    if command.base <= state.base or (oldest is not None and oldest < command.base):
        return Decision([], False)
    moved = e.BaseMoved(command.base, command.head, state.next_seq, state.next_fence, state.next_session)
    return Decision([(moved, None)], True)


def _skip_time(state: State, command: c.SkipTime, now: Now, bodies: BodyArea) -> Decision:
    def later(heard_ms: int) -> int:
        return min(heard_ms + command.gap_ms, now.mono_ms)

    sessions = [(e.SessionHeard(each.number, later(each.link.heard_ms)), None) for each in state.sessions.values()]
    bulks = [(e.BulkHeard(each.id, later(each.heard_ms)), None) for each in state.bulks.values()]
    return Decision([*sessions, *bulks], None)


def _limit_admission(state: State, command: c.LimitAdmission, now: Now, bodies: BodyArea) -> Decision:
    return Decision([(e.AdmissionChanged(command.shut), None)], None)


def _session(state: State, number: int) -> Session:
    session = state.sessions.get(number)
    if session is None:
        raise SessionOver(session=number)
    return session


_DECIDE: dict[type[c.Command], Callable[[State, Any, Now, BodyArea], Decision]] = {
    c.SubmitJobs: _submit,
    c.SettleRuns: _settle,
    c.CancelJob: _cancel,
    c.RequeueJob: _requeue,
    c.InspectJob: _inspect,
    c.OpenSession: _open_session,
    c.ResumeSession: _resume,
    c.OfferCapacity: _offer_capacity,
    c.LoseLink: _lose_link,
    c.ThrottleLink: _throttle,
    c.HearSession: _hear,
    c.EndSession: _end_session,
    c.CarryItems: _carry,
    c.MoveBase: _move_base,
    c.SkipTime: _skip_time,
    c.LimitAdmission: _limit_admission,
    c.StageBulk: stage_bulk,
    c.CommitBulk: commit_bulk,
    c.DropBulk: drop_bulk,
}
