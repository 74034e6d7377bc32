"""Bugs that were never in the program, planted to see whether the simulator would find them.

Each is a plausible mistake of one line or two. `seed` is one whose world breaks the named promise; it was found by
search, `python -m tests.simulator --bug NAME --seeds 500` finds another when the world has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from aioqueue.broker.bodies import Bodies, Plan
from aioqueue.clock import Now
from aioqueue.core import admission, apply, backoff, cohorts, decide, endings, families, leasing, partition, terms
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.apply import bulks as applied_bulks
from aioqueue.core.apply import jobs as applied_jobs
from aioqueue.core.apply import runs as applied_runs
from aioqueue.core.decide import bulks, runs, submit
from aioqueue.core.decision import BodyArea
from aioqueue.core.effects import ArchiveJob, DeliverJob
from aioqueue.core.lanes import PriorityLane
from aioqueue.core.nouns import Bulk, Job
from aioqueue.core.partition import Partition
from aioqueue.core.state import State
from aioqueue.errors import BulkUnknown
from aioqueue.model.records import FinishedJob
from aioqueue.model.states import BulkPhase, Cause, JobState
from tests.simulator.broker import Broker

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Bug:
    """One planted bug: the promise it breaks (how the violation begins), and a seed that shows it."""

    name: str
    promise: str
    seed: int
    plant: Plant


BUGS: list[Bug] = []


def bug(promise: str, seed: int) -> Callable[[Plant], Plant]:
    """Register a bug under the words of its function's name."""

    def register(plant: Plant) -> Plant:
        BUGS.append(Bug(plant.__name__, promise, seed, plant))
        return plant

    return register


def _around_decision(
    patch: pytest.MonkeyPatch, kind: type, change: Callable[[State, Any, decide.Decision], decide.Decision]
) -> None:
    real = decide._DECIDE[kind]

    def decided(state: State, command: Any, now: Now, bodies: decide.BodyArea) -> decide.Decision:
        return change(state, command, real(state, command, now, bodies))

    patch.setitem(decide._DECIDE, kind, decided)


def _after_event(patch: pytest.MonkeyPatch, kind: type, change: Callable[[State, Any], None]) -> None:
    real = apply.APPLY[kind]

    def applied(state: State, event: Any, body: bytes | None, at: apply.Moment) -> None:
        real(state, event, body, at)
        change(state, event)

    patch.setitem(apply.APPLY, kind, applied)


# --- decide -------------------------------------------------------------------------------------------------------


@bug("I1", 24)
def the_fence_of_a_settle_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    real = decide._DECIDE[c.SettleRuns]

    def settle(state: State, command: c.SettleRuns, now: Now, bodies: decide.BodyArea) -> decide.Decision:
        def current(end: c.EndRun) -> c.EndRun:
            job = state.jobs.get(end.id)
            return end if job is None or job.state is not JobState.RUNNING else replace(end, fence=job.fence)

        return real(state, c.SettleRuns(command.session, [current(end) for end in command.items]), now, bodies)

    patch.setitem(decide._DECIDE, c.SettleRuns, settle)


@bug("I14", 1)
def an_own_id_is_looked_up_only_among_the_living(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(submit, "_must_look", lambda state, item: False)


@bug("I14", 27)
def the_neighbours_of_a_parked_job_stay_fresh(patch: pytest.MonkeyPatch) -> None:
    real = decide._DECIDE[c.SubmitJobs]

    def submit(state: State, command: c.SubmitJobs, now: Now, bodies: decide.BodyArea) -> decide.Decision:
        try:
            return real(state, command, now, bodies)
        except c.NeedsLookup as need:
            known = {item.id: item.known for item in command.items}
            raise c.NeedsLookup(*(job_id for job_id in need.ids if known[job_id] is not c.Known.FRESH)) from None

    patch.setitem(decide._DECIDE, c.SubmitJobs, submit)


@bug("I14", 3)
def what_ended_within_the_batch_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    _after_event(patch, e.JobSucceeded, lambda state, event: state.just_finished.clear())
    _after_event(patch, e.JobCancelled, lambda state, event: state.just_finished.clear())


@bug("I2", 0)
def an_atomic_submit_leaves_its_last_job_out(patch: pytest.MonkeyPatch) -> None:
    def shorten(state: State, command: c.SubmitJobs, decision: decide.Decision) -> decide.Decision:
        return decision._replace(events=decision.events[:-1]) if command.atomic else decision

    _around_decision(patch, c.SubmitJobs, shorten)


@bug("I5", 5)
def any_finished_job_may_be_requeued(patch: pytest.MonkeyPatch) -> None:
    real = decide._DECIDE[c.RequeueJob]

    def requeue(state: State, command: c.RequeueJob, now: Now, bodies: decide.BodyArea) -> decide.Decision:
        found = command.found and replace(command.found, state=JobState.DEAD, args=b"")
        return real(state, replace(command, found=found), now, bodies)

    patch.setitem(decide._DECIDE, c.RequeueJob, requeue)


@bug("liveness", 2)
def a_resume_forgets_the_leases_it_does_not_name(patch: pytest.MonkeyPatch) -> None:
    def forget(state: State, command: c.ResumeSession, decision: decide.Decision) -> decide.Decision:
        named = {end.id for end in command.settles}
        kept = [pair for pair in decision.events if not isinstance(pair[0], e.JobReleased) or pair[0].id in named]
        return decision._replace(events=kept)

    _around_decision(patch, c.ResumeSession, forget)


@bug("I8", 0)
def the_cap_of_crashes_is_off_by_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(endings, "CRASHES_MAX", 4)


@bug("I8", 4)
def the_cap_of_failures_is_off_by_one(patch: pytest.MonkeyPatch) -> None:
    real = runs._end_of_run

    def end(state: State, job: Job, item: c.EndRun, now: Now, bodies: decide.BodyArea) -> tuple[e.Event, bytes | None]:
        event, body = real(state, job, item, now, bodies)
        if isinstance(event, e.JobFailed) and item.retry and job.failures < job.spec.retry.attempts:
            event = replace(event, state=JobState.SCHEDULED, due_ms=event.due_ms or now.wall_ms + 100)
        return event, body

    patch.setattr(runs, "_end_of_run", end)


@bug("I8", 7)
def silence_counts_as_a_crash_that_was_seen(patch: pytest.MonkeyPatch) -> None:
    real = endings.end_of_session

    def ended(session: Any, cause: c.SessionEnd) -> list[tuple[e.Event, bytes | None]]:
        events = real(session, c.SessionEnd.DIED)
        return [(replace(event, cause=cause), body) if isinstance(event, e.SessionEnded) else (event, body)
                for event, body in events]  # fmt: skip

    patch.setattr(leasing, "end_of_session", ended)


@bug("I17", 0)
def an_ending_session_leaves_a_lease_behind(patch: pytest.MonkeyPatch) -> None:
    real = endings.end_of_session
    patch.setattr(leasing, "end_of_session", lambda session, cause: real(session, cause)[-1:])


@bug("I9", 12)
def the_back_off_ignores_its_cap(patch: pytest.MonkeyPatch) -> None:
    def pause(policy: Any, job_id: bytes, failures: int) -> int:
        return backoff.backoff_ms(replace(policy, cap_ms=10**9), job_id, failures)

    patch.setattr(runs, "backoff_ms", pause)


@bug("I2", 0)
def two_bodies_share_a_place(patch: pytest.MonkeyPatch) -> None:
    real = decide.BodyArea.add

    def add(area: decide.BodyArea, body: bytes) -> tuple[int, int, int]:
        place = real(area, body)
        if len(area.parts) == 7:
            area.size -= 1
        return place

    patch.setattr(decide.BodyArea, "add", add)


# --- apply, lanes, leasing ----------------------------------------------------------------------------------------


@bug("I10", 0)
def a_job_given_back_goes_to_the_tail(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PriorityLane, "give_back", PriorityLane.push)


@bug("I11", 13)
def a_requeued_job_has_no_priority(patch: pytest.MonkeyPatch) -> None:
    real = PriorityLane.push

    def push(lane: PriorityLane, job: Job) -> None:
        spec = job.spec
        job.spec = replace(spec, priority=0) if job.generation else spec
        real(lane, job)
        job.spec = spec

    patch.setattr(PriorityLane, "push", push)


@bug("I10", 0)
def a_cancelled_job_stays_in_its_lane(patch: pytest.MonkeyPatch) -> None:
    def stay(lane: PriorityLane, job: Job) -> None:
        job.state = JobState.READY

    patch.setattr(PriorityLane, "forget", stay)


@bug("I8", 0)
def a_job_given_back_has_spent_an_attempt(patch: pytest.MonkeyPatch) -> None:
    def spend(state: State, event: e.JobReleased) -> None:
        state.jobs[event.id].failures += 1

    _after_event(patch, e.JobReleased, spend)


@bug("I10", 0)
def a_retry_keeps_its_old_place(patch: pytest.MonkeyPatch) -> None:
    real = apply.APPLY[e.JobDue]

    def due(state: State, event: e.JobDue, body: bytes | None, at: apply.Moment) -> None:
        job = state.jobs[event.id]
        seq, push = job.seq, PriorityLane.push
        if job.failures:
            PriorityLane.push = PriorityLane.give_back  # type: ignore[method-assign]
        try:
            real(state, replace(event, seq=seq) if job.failures else event, body, at)
        finally:
            PriorityLane.push = push  # type: ignore[method-assign]
        state.next_seq = max(state.next_seq, event.seq + 1)

    patch.setitem(apply.APPLY, e.JobDue, due)


@bug("I9", 0)
def a_scheduled_job_wakes_a_little_early(patch: pytest.MonkeyPatch) -> None:
    real = leasing.decide_due
    patch.setattr(partition, "decide_due", lambda state, now: real(state, now._replace(wall_ms=now.wall_ms + 30)))


@bug("I19", 2)
def sessions_live_by_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    real = Partition.step
    ahead: dict[int, int] = {}

    def step(self: Partition, commands: Any, now: Now, *others: Any, **named: Any) -> partition.Step:
        first = ahead.setdefault(id(self), now.wall_ms - now.mono_ms)
        wrong = now._replace(mono_ms=now.wall_ms - first)
        named["heard_up_to_ms"] = wrong.mono_ms if self.seems_silent(wrong) else None
        return real(self, commands, wrong, *others, **named)

    patch.setattr(Partition, "step", step)


@bug("liveness", 0)
def a_worker_with_a_free_slot_again_is_not_hungry(patch: pytest.MonkeyPatch) -> None:
    def starve(state: State, event: e.JobFailed) -> None:
        for pool in state.pools.values():
            for taker in pool.takers:
                taker.hungry.clear()

    _after_event(patch, e.JobFailed, starve)


# --- suspects -----------------------------------------------------------------------------------------------------


@bug("I8", 0)
def two_suspects_share_a_session(patch: pytest.MonkeyPatch) -> None:
    real = cohorts.may_have
    patch.setattr(cohorts, "may_have", lambda session, job: job.crashes == 1 or real(session, job))


@bug("I8", 0)
def a_suspect_on_its_last_chance_runs_among_others(patch: pytest.MonkeyPatch) -> None:
    real = cohorts.may_have
    patch.setattr(cohorts, "may_have", lambda session, job: job.crashes == 2 or real(session, job))


@bug("I8", 0)
def a_session_that_runs_one_alone_is_fed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(applied_runs, "CRASHES_ALONE", 99)


@bug("liveness", 0)
def nobody_looks_for_those_that_must_run_alone(patch: pytest.MonkeyPatch) -> None:
    real = cohorts.may_have
    patch.setattr(cohorts, "may_have", lambda session, job: job.crashes < 2 and real(session, job))


@bug("I8", 0)
def the_suspect_of_a_session_is_forgotten_with_its_first_neighbour(patch: pytest.MonkeyPatch) -> None:
    def forget(state: State, event: e.JobSucceeded) -> None:
        for session in state.sessions.values():
            session.suspects = ()

    _after_event(patch, e.JobSucceeded, forget)


@bug("liveness", 3)
def a_session_that_runs_one_alone_gets_no_children_of_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leasing, "children_for", lambda state, session: ())


@bug("I8", 31)
def a_suspect_child_joins_any_suspect(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(families, "_may_join", lambda state, session, job: True)


@bug("I10", 4)
def a_child_taken_before_its_turn_stays_in_line(patch: pytest.MonkeyPatch) -> None:
    def forget(lane: PriorityLane, job: Job) -> None:
        lane.depth -= 1

    patch.setattr(PriorityLane, "take", forget)


# --- cancelling what runs -----------------------------------------------------------------------------------------


@bug("I5", 0)
def a_stopping_job_that_is_given_back_is_ready_again(patch: pytest.MonkeyPatch) -> None:
    real = apply.APPLY[e.JobReleased]

    def released(state: State, event: e.JobReleased, body: bytes | None, at: apply.Moment) -> None:
        job = state.jobs[event.id]
        if job.state is JobState.STOPPING:
            counts = state.queues[job.spec.key].counts
            counts[JobState.STOPPING] -= 1
            counts[JobState.RUNNING] += 1
            job.state = JobState.RUNNING
        real(state, event, body, at)

    patch.setitem(apply.APPLY, e.JobReleased, released)


@bug("liveness", 0)
def the_late_success_of_a_stopping_job_is_dropped(patch: pytest.MonkeyPatch) -> None:
    real = decide._DECIDE[c.SettleRuns]

    def settle(state: State, command: c.SettleRuns, now: Now, bodies: decide.BodyArea) -> decide.Decision:
        def heard(end: c.EndRun) -> c.EndRun:
            job = state.jobs.get(end.id)
            late = job is not None and job.state is JobState.STOPPING and end.end is c.RunEnd.SUCCEEDED
            return replace(end, fence=0) if late else end

        return real(state, c.SettleRuns(command.session, [heard(end) for end in command.items]), now, bodies)

    patch.setitem(decide._DECIDE, c.SettleRuns, settle)


@bug("I6", 0)
def stopping_is_told_and_not_journaled(patch: pytest.MonkeyPatch) -> None:
    def forget(state: State, command: c.CancelJob, decision: decide.Decision) -> decide.Decision:
        return decision._replace(events=[]) if decision.reply == "stopping" else decision

    _around_decision(patch, c.CancelJob, forget)


# --- the door -----------------------------------------------------------------------------------------------------


@bug("I20", 5)
def a_settle_is_refused_while_the_door_is_shut(patch: pytest.MonkeyPatch) -> None:
    def settle(state: State, command: c.SettleRuns, decision: decide.Decision) -> decide.Decision:
        if command.items and state.admission.room(len(state.jobs))[0] <= 0:
            raise state.admission.refusal(len(state.jobs))
        return decision

    _around_decision(patch, c.SettleRuns, settle)


@bug("I14", 14)
def a_job_that_is_there_is_refused_while_the_door_is_shut(patch: pytest.MonkeyPatch) -> None:
    def submit(state: State, command: c.SubmitJobs, decision: decide.Decision) -> decide.Decision:
        if decision.events or state.admission.room(len(state.jobs))[0] > 0:
            return decision
        return decision._replace(reply=[state.admission.refusal(len(state.jobs))] * len(command.items))

    _around_decision(patch, c.SubmitJobs, submit)


@bug("I20", 5)
def a_submit_is_judged_by_what_lived_before_it(patch: pytest.MonkeyPatch) -> None:
    real = admission.Admission.room

    def room(self: admission.Admission, living: int) -> tuple[int, int]:
        jobs, size = real(self, living)
        return (jobs + 5, size + 100) if jobs > 0 and size > 0 else (jobs, size)

    patch.setattr(admission.Admission, "room", room)


@bug("I20", 2)
def a_cancelled_job_is_counted_for_ever(patch: pytest.MonkeyPatch) -> None:
    def stay(state: State, event: e.JobCancelled) -> None:
        state.admission.size += 1

    _after_event(patch, e.JobCancelled, stay)


@bug("I20", 2)
def a_restart_counts_its_backlog_anew(patch: pytest.MonkeyPatch) -> None:
    real = Partition.begin

    def begin(self: Partition, now: Now) -> None:
        real(self, now)
        self.state.admission.size = 0

    patch.setattr(Partition, "begin", begin)


@bug("liveness", 8)
def the_door_stays_shut_when_the_disk_has_room_again(patch: pytest.MonkeyPatch) -> None:
    real = apply.APPLY[e.AdmissionChanged]

    def changed(state: State, event: e.AdmissionChanged, body: bytes | None, at: apply.Moment) -> None:
        real(state, replace(event, shut=event.shut or state.admission.shut), body, at)

    patch.setitem(apply.APPLY, e.AdmissionChanged, changed)


# --- time, and children -------------------------------------------------------------------------------------------


@bug("I36", 129)
def a_job_whose_time_is_over_is_leased(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leasing, "instead_of_lease", lambda job, state, now: None)


@bug("I36", 1)
def a_run_is_not_stopped_at_its_deadline(patch: pytest.MonkeyPatch) -> None:
    real = partition.decide_end

    def waiting_only(state: State, now: Now) -> Any:
        event = real(state, now)
        return None if isinstance(event, e.JobStopping) else event

    patch.setattr(partition, "decide_end", waiting_only)


@bug("liveness", 9)
def the_late_success_of_a_job_whose_deadline_passed_is_dropped(patch: pytest.MonkeyPatch) -> None:
    real = decide._DECIDE[c.SettleRuns]

    def settle(state: State, command: c.SettleRuns, now: Now, bodies: decide.BodyArea) -> decide.Decision:
        def heard(end: c.EndRun) -> c.EndRun:
            rare = state.jobs[end.id].rare if end.id in state.jobs else None
            late = rare is not None and rare.cause is Cause.DEADLINE and end.end is c.RunEnd.SUCCEEDED
            return replace(end, fence=0) if late else end

        return real(state, c.SettleRuns(command.session, [heard(end) for end in command.items]), now, bodies)

    patch.setitem(decide._DECIDE, c.SettleRuns, settle)


@bug("I6", 1)
def a_run_that_its_deadline_stopped_is_cancelled(patch: pytest.MonkeyPatch) -> None:
    for module in (runs, endings):
        patch.setattr(module, "end_when_stopped", lambda job: JobState.CANCELLED)


@bug("I36", 1)
def the_deadline_is_counted_from_the_lease(patch: pytest.MonkeyPatch) -> None:
    def later(state: State, event: e.JobLeased) -> None:
        job = state.jobs[event.id]
        if job.rare is not None and job.rare.terms is not None and job.rare.terms.deadline_ms:
            waited_ms = max(0, job.started_ms - job.submitted_ms)
            longer = replace(job.rare.terms, deadline_ms=job.rare.terms.deadline_ms + waited_ms)
            job.rare = replace(job.rare, terms=longer)

    _after_event(patch, e.JobLeased, later)


@bug("I36", 7)
def a_job_that_has_begun_still_expires(patch: pytest.MonkeyPatch) -> None:
    real = State._may_expire

    def may_expire(self: State, entry: Any) -> bool:
        bound = self.jobs[entry[2]].terms if entry[2] in self.jobs else None
        return real(self, entry) or (bound is not None and entry[0] == bound.expires_ms)

    def overdue(job: Job, wall_ms: int) -> Cause | None:
        assert job.terms is not None
        return Cause.DEADLINE if 0 < job.terms.deadline_ms <= wall_ms else Cause.EXPIRES

    patch.setattr(State, "_may_expire", may_expire)
    patch.setattr(terms, "overdue", overdue)


@bug("I36", 63)
def a_retry_waits_for_a_time_behind_the_deadline(patch: pytest.MonkeyPatch) -> None:
    real = runs._end_of_run

    def end(state: State, job: Job, item: c.EndRun, now: Now, bodies: decide.BodyArea) -> tuple[e.Event, bytes | None]:
        rare, job.rare = job.rare, None if job.state is JobState.RUNNING else job.rare
        try:
            return real(state, job, item, now, bodies)
        finally:
            job.rare = rare

    patch.setattr(runs, "_end_of_run", end)


@bug("I37", 25)
def a_child_is_not_cancelled_with_its_parent(patch: pytest.MonkeyPatch) -> None:
    for module in (applied_bulks, applied_jobs, applied_runs):
        patch.setattr(module, "doom", lambda state, parent, reason: None)


@bug("I37", 1)
def a_child_that_comes_too_late_lives(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(submit, "is_orphan", lambda state, bound, namespace: False)


@bug("I37", 19)
def a_child_has_more_time_than_its_parent(patch: pytest.MonkeyPatch) -> None:
    real = submit.terms_of

    def without_parent(state: State, asked: c.AskedTerms, namespace: str, wall_ms: int) -> Any:
        return replace(real(state, replace(asked, inherits=False), namespace, wall_ms), inherits=asked.inherits)

    patch.setattr(submit, "terms_of", without_parent)


@bug("I6", 0)
def a_cancel_is_lost_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    real = Partition.begin

    def begin(self: Partition, now: Now) -> None:
        real(self, now)
        for job in self.state.jobs.values():
            if job.state is JobState.STOPPING:
                counts = self.state.queues[job.spec.key].counts
                counts[JobState.STOPPING] -= 1
                counts[JobState.RUNNING] += 1
                job.state = JobState.RUNNING

    patch.setattr(Partition, "begin", begin)


# --- replay -------------------------------------------------------------------------------------------------------


@bug("I17", 0)
def a_failure_counts_twice_at_recovery(patch: pytest.MonkeyPatch) -> None:
    real = Partition.replay

    def replay(self: Partition, events: Any, bodies: bytes, position: int, wall_ms: int) -> Any:
        effects = real(self, events, bodies, position, wall_ms)
        for event in events:
            if isinstance(event, e.JobFailed) and event.id in self.state.jobs:
                self.state.jobs[event.id].failures += 1
        return effects

    patch.setattr(Partition, "replay", replay)


@bug("I4", 1)
def fences_begin_again_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    real = Partition.begin

    def begin(self: Partition, now: Now) -> None:
        real(self, now)
        self.state.next_fence = 1

    patch.setattr(Partition, "begin", begin)


# --- the shell's duties -------------------------------------------------------------------------------------------


@bug("I1", 0)
def replies_leave_before_their_batch_is_durable(patch: pytest.MonkeyPatch) -> None:
    real = Broker.decide

    def decided(self: Broker) -> None:
        real(self)
        for batch in self.undurable():
            self._release(batch.replies, [])
            batch.replies.clear()

    patch.setattr(Broker, "decide", decided)


def _tell_at_once(patch: pytest.MonkeyPatch, kind: type) -> None:
    """Effects of one kind leave when they are decided."""
    real = Broker.decide

    def decided(self: Broker) -> None:
        real(self)
        for batch in self.undurable():
            self._release([], [effect for effect in batch.effects if isinstance(effect, kind)])
            batch.effects[:] = [effect for effect in batch.effects if not isinstance(effect, kind)]

    patch.setattr(Broker, "decide", decided)


@bug("I8", 3)
def runs_are_delivered_before_their_batch_is_durable(patch: pytest.MonkeyPatch) -> None:
    _tell_at_once(patch, DeliverJob)


@bug("I1", 0)
def ends_are_told_before_their_batch_is_durable(patch: pytest.MonkeyPatch) -> None:
    _tell_at_once(patch, ArchiveJob)


@bug("I1", 10)
def a_refused_append_counts_as_written(patch: pytest.MonkeyPatch) -> None:
    real = Broker.append

    def append(self: Broker) -> bool:
        decided = self.in_flight
        assert decided is not None
        if real(self):
            return True
        self.in_flight, self.next = self.next, None
        self._release(decided.replies, decided.effects)
        return True

    patch.setattr(Broker, "append", append)


@bug("I7", 1045)
def the_archive_is_believed_for_a_requeued_job(patch: pytest.MonkeyPatch) -> None:
    def find(self: Broker, job_id: bytes) -> FinishedJob | None:
        return self.archive.rows.get(job_id) or self._overlay.get(job_id)

    patch.setattr(Broker, "find", find)


@bug("I2", 15)
def an_end_that_is_requeued_is_never_archived(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Broker, "_supersede", lambda self, end, position: None)


# --- bulks --------------------------------------------------------------------------------------------------------


@bug("I2", 1)
def a_bulk_begins_before_its_last_part(patch: pytest.MonkeyPatch) -> None:
    def begun(state: State, event: e.BulkStaged) -> None:
        bulk = state.bulks[event.bulk]
        state.closing[bulk.id] = bulk
        bulk.phase = BulkPhase.COMMITTED

    _after_event(patch, e.BulkStaged, begun)


@bug("I1", 16)
def a_part_that_comes_again_is_taken_for_a_new_one(patch: pytest.MonkeyPatch) -> None:
    def taken(state: State, command: c.StageBulk, now: Now, bodies: BodyArea) -> decide.Decision:
        bulk = state.bulks.get(command.bulk)
        if bulk is not None:
            command.part = max(command.part, bulk.staged)
        return bulks.stage_bulk(state, command, now, bodies)

    patch.setitem(decide._DECIDE, c.StageBulk, taken)


@bug("I2", 31)
def a_restart_forgets_the_bulks(patch: pytest.MonkeyPatch) -> None:
    real = Partition.begin

    def begun(partition: Partition, now: Now) -> None:
        partition.state.bulks.clear()
        partition.state.closing.clear()
        real(partition, now)

    patch.setattr(Partition, "begin", begun)


@bug("I2", 6)
def a_dropped_bulk_runs_all_the_same(patch: pytest.MonkeyPatch) -> None:
    real = bulks.free_bulk

    def freed(state: State, bulk: Bulk, now: Now) -> e.BulkFreed:
        event = real(state, bulk, now)
        if event.cancelled:
            bulk.phase = BulkPhase.COMMITTED
            state.closing[bulk.id] = bulk
            event.ready, event.cancelled = event.cancelled, b""
        return event

    patch.setattr(bulks, "free_bulk", freed)


@bug("I2", 1)
def a_commit_that_comes_again_is_refused(patch: pytest.MonkeyPatch) -> None:
    def committed(state: State, command: c.CommitBulk, now: Now, bodies: BodyArea) -> decide.Decision:
        command.known, command.looked = False, True
        if command.bulk not in state.bulks:
            raise BulkUnknown(bulk=command.bulk.hex())
        return bulks.commit_bulk(state, command, now, bodies)

    patch.setitem(decide._DECIDE, c.CommitBulk, committed)


# --- arguments out of memory --------------------------------------------------------------------------------------


@bug("I2", 43)
def the_bodies_of_a_stretch_are_dealt_out_in_another_order(patch: pytest.MonkeyPatch) -> None:
    real = Bodies.read

    async def read(self: Bodies, wanted: Any) -> list[bytes]:
        return (await real(self, wanted))[::-1]

    patch.setattr(Bodies, "read", read)


@bug("I10", 43)
def a_job_whose_arguments_are_not_at_hand_is_overtaken(patch: pytest.MonkeyPatch) -> None:
    real = leasing.decide_leases

    def leases(state: State, now: Now, hand: leasing.Hand | None = None, *rest: Any) -> Any:
        for queue in state.queues.values():
            head = queue.lane.head()
            if hand is not None and head is not None and not hand.has(head):
                queue.lane.push(queue.lane.pop())
        yield from real(state, now, hand, *rest)

    patch.setattr(partition, "decide_leases", leases)


@bug("liveness", 43)
def what_was_planned_once_is_never_planned_again(patch: pytest.MonkeyPatch) -> None:
    real = Bodies.plan
    planned: set[bytes] = set()

    def plan(self: Bodies, missing: Any, upcoming: Any) -> Plan:
        made = real(self, [job for job in missing if job.id not in planned], iter(()))
        planned.update(job.id for job in made.jobs)
        return made

    patch.setattr(Bodies, "plan", plan)


@bug("I2", 43)
def an_end_is_kept_without_the_arguments_that_have_to_be_read(patch: pytest.MonkeyPatch) -> None:
    async def fill(self: Bodies, ends: Any) -> None:
        self._unread.clear()

    patch.setattr(Bodies, "fill", fill)


@bug("I17", 107)
def what_was_read_ahead_outlives_its_job(patch: pytest.MonkeyPatch) -> None:
    real = Bodies._end

    def end(self: Bodies, effect: ArchiveJob) -> None:
        ahead = self._ahead.get(effect.finished.id)
        real(self, effect)
        if ahead is not None:
            self._ahead[effect.finished.id] = ahead

    patch.setattr(Bodies, "_end", end)
