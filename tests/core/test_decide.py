"""Given what happened, a command is asked, and these events or this refusal come of it."""

from __future__ import annotations

import pytest

from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.decide import sessions
from aioqueue.core.effects import ArchiveJob, CloseSession, DeliverJob, StopRun
from aioqueue.errors import (
    BulkTooLarge,
    JobNotFound,
    NotRetryable,
    SessionOver,
    TooManySessions,
    WrongNamespace,
)
from aioqueue.limits import ATOMIC_BYTES_MAX, ATOMIC_JOBS_MAX
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.states import JobState
from tests.support.scene import NAMESPACE, ONCE, Scene, arguments_in, job_id, kinds, new_job

ACCEPTED, EXISTS = c.SubmitOutcome.ACCEPTED, c.SubmitOutcome.EXISTS
OK, ALREADY, STALE = c.SettleOutcome.OK, c.SettleOutcome.ALREADY, c.SettleOutcome.STALE
SUCCEEDED, FAILED, RELEASED = c.RunEnd.SUCCEEDED, c.RunEnd.FAILED, c.RunEnd.RELEASED
SLOW = RetryPolicy(base_ms=1_000, jitter=False)


# --- submit -------------------------------------------------------------------------------------------------------


def test_a_submitted_job_is_ready_at_once(scene: Scene) -> None:
    step = scene.step(c.SubmitJobs([new_job(1), new_job(2)]))
    assert step.replies == [[ACCEPTED, ACCEPTED]]
    assert kinds(step) == ["JobSubmitted", "JobSubmitted"]
    assert step.bodies == [b"args 1", b"args 2"]
    job = scene.job(2)
    assert job is not None
    assert (job.state, job.seq, arguments_in(scene.batches, job)) == (JobState.READY, 2, b"args 2")


def test_a_delayed_job_is_due_when_its_caller_said(scene: Scene) -> None:
    scene.submit(new_job(1, delay_ms=70), new_job(2, due_ms=scene.clock.wall_ms + 30))
    dues = [job.due_ms - scene.clock.wall_ms for number in (1, 2) if (job := scene.job(number)) is not None]
    assert dues == [70, 30]


def test_a_time_that_is_past_makes_no_job_wait(scene: Scene) -> None:
    scene.submit(new_job(1, due_ms=scene.clock.wall_ms - 1), new_job(2, due_ms=scene.clock.wall_ms))
    states = [job.state for number in (1, 2) if (job := scene.job(number)) is not None]
    assert states == [JobState.READY, JobState.READY]


def test_one_id_twice_in_one_submit_makes_one_job(scene: Scene) -> None:
    assert scene.submit(new_job(1), new_job(1)) == [ACCEPTED, EXISTS]


def test_a_living_job_that_is_submitted_again_exists(scene: Scene) -> None:
    scene.submit(new_job(1))
    assert scene.submit(new_job(1, known=c.Known.UNKNOWN), new_job(2)) == [EXISTS, ACCEPTED]


def test_a_job_that_may_have_been_there_is_looked_up_first(scene: Scene) -> None:
    command = c.SubmitJobs([new_job(1, known=c.Known.UNKNOWN)])
    step = scene.step(command)
    assert [reply.ids for reply in step.replies] == [(job_id(1),)]
    assert step.events == []
    command.items[0].known = c.Known.ABSENT
    assert scene.step(command).replies == [[ACCEPTED]]


def test_a_finished_job_that_is_submitted_again_exists(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    scene.settle(session, 1)
    assert scene.submit(new_job(1, known=c.Known.UNKNOWN)) == [EXISTS]


def test_a_job_that_ended_in_the_same_batch_is_looked_up_again(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    settle = c.SettleRuns(session, [c.EndRun(job_id(1), 1, SUCCEEDED, b"result")])
    step = scene.step(settle, c.SubmitJobs([new_job(1, known=c.Known.ABSENT)]))
    assert step.replies[0] == [OK]
    assert isinstance(step.replies[1], c.NeedsLookup)


def test_a_fresh_job_whose_id_ended_in_the_same_batch_exists(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    run = c.EndRun(job_id(1), scene.held[session][job_id(1)], c.RunEnd.SUCCEEDED, b"result")
    step = scene.step(c.SettleRuns(session, [run]), c.SubmitJobs([new_job(1)]))
    assert step.replies[1] == [c.SubmitOutcome.EXISTS]
    assert scene.job(1) is None


def test_a_fresh_job_that_waited_for_a_look_at_its_neighbour_is_looked_up_too(scene: Scene) -> None:
    parked = c.SubmitJobs([new_job(1, known=c.Known.UNKNOWN), new_job(2)])
    reply = scene.step(parked).replies[0]
    assert set(reply.ids) == {job_id(1), job_id(2)}
    # Meanwhile its client sends job 2 again, alone; it is accepted, and over.
    scene.submit(new_job(2, known=c.Known.UNKNOWN))
    scene.ask(c.CancelJob(job_id(2), NAMESPACE))
    assert scene.ask(parked) == [ACCEPTED, EXISTS]


@pytest.mark.parametrize(
    ("jobs", "size"), [(ATOMIC_JOBS_MAX + 1, 0), (2, ATOMIC_BYTES_MAX // 2 + 1)], ids=["jobs", "bytes"]
)
def test_an_atomic_submit_above_its_limit_is_refused_whole(scene: Scene, jobs: int, size: int) -> None:
    command = c.SubmitJobs([new_job(number, body=b"x" * size) for number in range(jobs)], atomic=True)
    step = scene.step(command)
    with pytest.raises(BulkTooLarge) as refused:
        raise step.replies[0]
    assert (refused.value.jobs, refused.value.size) == (jobs, jobs * size)
    assert (step.events, step.bodies) == ([], [])


# --- settle -------------------------------------------------------------------------------------------------------


def test_a_success_ends_the_job_with_its_result(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    step = scene.step(c.SettleRuns(session, [c.EndRun(job_id(1), 1, SUCCEEDED, b"result")]))
    assert step.replies == [[OK]]
    assert kinds(step) == ["JobSucceeded"]
    [ended] = [effect.finished for effect in step.effects if isinstance(effect, ArchiveJob)]
    assert (ended.state, ended.body, ended.args, ended.fence, ended.runs) == (JobState.SUCCEEDED, b"result", b"", 1, 1)


def test_a_repeated_success_is_recorded_once(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    assert [scene.settle(session, 1), scene.settle(session, 1)] == [OK, ALREADY]


def test_a_repeated_settle_in_one_command_is_recorded_once(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    runs = [c.EndRun(job_id(1), 1, FAILED, b"x"), c.EndRun(job_id(1), 1, SUCCEEDED, b"y")]
    assert scene.ask(c.SettleRuns(session, runs)) == [OK, ALREADY]


def test_a_failure_with_attempts_left_schedules_the_job(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, retry=SLOW))
    assert scene.settle(session, 1, FAILED) is OK
    job = scene.job(1)
    assert job is not None
    assert (job.state, job.failures, job.due_ms) == (JobState.SCHEDULED, 1, scene.clock.wall_ms + 1_000)
    assert scene.settle(session, 1, FAILED) is ALREADY


@pytest.mark.parametrize(("retry", "policy"), [(False, SLOW), (True, ONCE)], ids=["no retry asked", "cap reached"])
def test_a_last_failure_makes_the_job_dead(scene: Scene, retry: bool, policy: RetryPolicy) -> None:
    session = scene.worker()
    scene.submit(new_job(1, retry=policy))
    assert scene.settle(session, 1, FAILED, retry=retry) is OK
    ended = scene.archive[job_id(1)]
    assert (ended.state, ended.failures, ended.body, ended.args) == (JobState.DEAD, 1, b"result", b"args 1")


def test_a_release_spends_no_attempt(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, retry=ONCE))
    assert scene.settle(session, 1, RELEASED) is OK
    job = scene.job(1)
    assert job is not None
    # Given back and leased again in the same step: its worker has a free slot.
    assert (job.state, job.failures, job.runs, job.fence) == (JobState.RUNNING, 0, 2, 2)


def test_a_late_success_after_the_lease_ended_is_refused(scene: Scene) -> None:
    first = scene.worker("w1")
    scene.submit(new_job(1))
    scene.ask(c.EndSession(first, c.SessionEnd.DIED))
    second = scene.worker("w2")
    assert scene.settle(first, 1, fence=1) is STALE
    assert scene.settle(second, 1, fence=1) is STALE
    assert scene.running() == {second: [job_id(1)]}
    assert scene.settle(second, 1) is OK


def test_a_settle_by_another_session_is_refused(scene: Scene) -> None:
    scene.worker("w1")
    other = scene.session("w2")
    scene.submit(new_job(1))
    assert scene.settle(other, 1, fence=1) is STALE


@pytest.mark.parametrize("fence", [0, -1])
def test_a_fence_that_no_lease_has_is_stale_for_a_job_without_one(scene: Scene, fence: int) -> None:
    session = scene.session()
    scene.submit(new_job(1))
    assert scene.settle(session, 1, fence=fence) is STALE
    scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    assert scene.settle(session, 1, fence=fence) is STALE


def test_a_settle_of_a_job_nobody_knows_is_stale(scene: Scene) -> None:
    assert scene.settle(scene.session(), 1, fence=1) is STALE


def test_a_settle_looked_up_before_the_job_ended_is_looked_up_again(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    late = c.EndRun(job_id(1), 1, SUCCEEDED, b"again", found_fence=0)
    step = scene.step(
        c.SettleRuns(session, [c.EndRun(job_id(1), 1, SUCCEEDED, b"result")]), c.SettleRuns(session, [late])
    )
    assert isinstance(step.replies[1], c.NeedsLookup)


# --- cancel and requeue -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_ms", [0, 500], ids=["ready", "scheduled"])
def test_a_cancelled_job_never_runs(scene: Scene, delay_ms: int) -> None:
    scene.submit(new_job(1, delay_ms=delay_ms), new_job(2))
    assert scene.ask(c.CancelJob(job_id(1), NAMESPACE)) == "cancelled"
    session = scene.worker(slots=5)
    scene.pass_ms(1_000)
    assert scene.running() == {session: [job_id(2)]}
    assert scene.archive[job_id(1)].args == b"args 1"
    assert scene.ask(c.CancelJob(job_id(1), NAMESPACE)) == "cancelled"


def test_a_job_cancelled_between_two_attempts_is_not_tried_again(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, retry=SLOW))
    scene.settle(session, 1, FAILED)
    assert scene.ask(c.CancelJob(job_id(1), NAMESPACE)) == "cancelled"
    assert kinds(scene.pass_ms(1_500)) == []


def stopping(scene: Scene) -> int:
    """Job 1 was cancelled while it runs at this session."""
    session = scene.worker()
    scene.submit(new_job(1))
    assert scene.ask(c.CancelJob(job_id(1), NAMESPACE)) == "stopping"
    return session


def test_a_cancel_of_a_running_job_tells_its_worker_once(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    step = scene.step(c.CancelJob(job_id(1), NAMESPACE), c.CancelJob(job_id(1), NAMESPACE))
    assert step.replies == ["stopping", "stopping"]
    assert step.effects == [StopRun(session, job_id(1), 1)]
    job = scene.job(1)
    assert job is not None
    assert job.state is JobState.STOPPING


@pytest.mark.parametrize(
    ("end", "state", "told"),
    [
        (SUCCEEDED, JobState.SUCCEEDED, "finished"),
        (FAILED, JobState.CANCELLED, "cancelled"),
        (RELEASED, JobState.CANCELLED, "cancelled"),
    ],
)
def test_what_becomes_of_a_stopping_job_is_told_truly(scene: Scene, end: c.RunEnd, state: JobState, told: str) -> None:
    session = stopping(scene)
    assert scene.settle(session, 1, end) is c.SettleOutcome.OK
    assert scene.settle(session, 1, end) is c.SettleOutcome.ALREADY
    assert scene.archive[job_id(1)].state is state
    assert scene.ask(c.CancelJob(job_id(1), NAMESPACE)) == told


@pytest.mark.parametrize("cause", c.SessionEnd)
def test_the_end_of_its_session_cancels_a_stopping_job(scene: Scene, cause: c.SessionEnd) -> None:
    session = stopping(scene)
    scene.ask(c.EndSession(session, cause))
    assert scene.archive[job_id(1)].state is JobState.CANCELLED


def test_a_cancel_holds_across_a_restart_and_the_worker_hears_of_it_when_it_resumes(scene: Scene) -> None:
    stopping(scene)
    scene.restart()
    session = scene.session()
    verdicts, _ = scene.ask(c.ResumeSession(session, [c.HeldRun(job_id(1), 1)], []))
    assert verdicts == [c.RunVerdict.CANCEL]
    scene.settle(session, 1, RELEASED)
    assert scene.archive[job_id(1)].state is JobState.CANCELLED


def test_a_stopping_job_that_a_resume_does_not_name_is_cancelled(scene: Scene) -> None:
    stopping(scene)
    session = scene.session()
    scene.ask(c.ResumeSession(session, [], []))
    assert scene.archive[job_id(1)].state is JobState.CANCELLED


def test_a_job_cancelled_while_it_ran_can_be_requeued(scene: Scene) -> None:
    session = stopping(scene)
    scene.settle(session, 1, RELEASED)
    assert scene.ask(c.RequeueJob(job_id(1), NAMESPACE)) == 1
    assert scene.running() == {session: [job_id(1)]}


def test_a_cancel_of_a_succeeded_job_is_told_finished(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    scene.settle(session, 1)
    assert scene.ask(c.CancelJob(job_id(1), NAMESPACE)) == "finished"


@pytest.mark.parametrize("command", [c.CancelJob, c.RequeueJob])
def test_an_unknown_job_and_a_foreign_one_are_not_found_alike(
    scene: Scene, command: type[c.CancelJob | c.RequeueJob]
) -> None:
    with pytest.raises(JobNotFound):
        scene.ask(command(job_id(1), NAMESPACE))
    scene.submit(new_job(1))
    with pytest.raises(JobNotFound):
        scene.ask(command(job_id(1), "other"))
    scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    with pytest.raises(JobNotFound):
        scene.ask(command(job_id(1), "other"))


def test_a_requeued_job_begins_without_failures(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, retry=ONCE))
    scene.settle(session, 1, FAILED)
    assert scene.ask(c.RequeueJob(job_id(1), NAMESPACE)) == 1
    job = scene.job(1)
    assert job is not None
    assert (job.generation, job.failures, job.runs, job.fence) == (1, 0, 1, 2)
    assert arguments_in(scene.batches, job) == b"args 1"
    assert scene.settle(session, 1) is OK
    assert scene.archive[job_id(1)].generation == 1


def test_a_living_job_cannot_be_requeued(scene: Scene) -> None:
    scene.submit(new_job(1))
    with pytest.raises(NotRetryable) as refused:
        scene.ask(c.RequeueJob(job_id(1), NAMESPACE))
    assert refused.value.state == "ready"


def test_a_succeeded_job_cannot_be_requeued(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    scene.settle(session, 1)
    with pytest.raises(NotRetryable) as refused:
        scene.ask(c.RequeueJob(job_id(1), NAMESPACE))
    assert refused.value.state == "succeeded"


def test_a_requeue_that_comes_twice_makes_one_generation(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, retry=ONCE))
    scene.settle(session, 1, FAILED)
    assert scene.ask(c.RequeueJob(job_id(1), NAMESPACE, generation=1)) == 1
    # While the job lives, and when it has died once more before the second request came.
    assert scene.ask(c.RequeueJob(job_id(1), NAMESPACE, generation=1)) == 1
    scene.settle(session, 1, FAILED)
    assert scene.ask(c.RequeueJob(job_id(1), NAMESPACE, generation=1)) == 1
    assert scene.job(1) is None
    assert scene.ask(c.RequeueJob(job_id(1), NAMESPACE, generation=2)) == 2


def test_a_job_requeued_and_cancelled_in_one_batch_is_looked_up_before_the_next_requeue(scene: Scene) -> None:
    scene.submit(new_job(1))
    scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    old = scene.archive[job_id(1)]
    step = scene.step(
        c.RequeueJob(job_id(1), NAMESPACE, old, looked=True),
        c.CancelJob(job_id(1), NAMESPACE, old, looked=True),
        c.RequeueJob(job_id(1), NAMESPACE, old, looked=True),
    )
    assert step.replies[:2] == [1, "cancelled"]
    assert isinstance(step.replies[2], c.NeedsLookup)


# --- inspect ------------------------------------------------------------------------------------------------------


def test_a_copy_of_a_job_does_not_change_with_it(scene: Scene) -> None:
    scene.submit(new_job(1))
    copy = scene.ask(c.InspectJob(job_id(1), NAMESPACE))
    scene.worker()
    assert (copy.state, copy.body_bytes) == (JobState.READY, len(b"args 1"))
    assert scene.ask(c.InspectJob(job_id(1), "other")) is None
    assert scene.ask(c.InspectJob(job_id(2), NAMESPACE)) is None


# --- sessions -----------------------------------------------------------------------------------------------------


def test_a_returning_session_keeps_its_number(scene: Scene) -> None:
    assert scene.ask(c.OpenSession(b"w", NAMESPACE, "w")) == (1, True)
    assert scene.ask(c.OpenSession(b"w", NAMESPACE, "w")) == (1, False)
    assert scene.ask(c.OpenSession(b"v", NAMESPACE, "v")) == (2, True)


def test_a_secret_opens_no_session_in_another_namespace(scene: Scene) -> None:
    scene.ask(c.OpenSession(b"w", NAMESPACE, "w"))
    with pytest.raises(WrongNamespace):
        scene.ask(c.OpenSession(b"w", "other", "w"))


def test_a_heartbeat_leaves_the_capacity_of_its_session_alone(scene: Scene) -> None:
    session = scene.worker(slots=3)
    assert scene.ask(c.OpenSession(b"w1", NAMESPACE, "w1", attach=True)) == (session, False)
    assert scene.partition.state.sessions[session].link.slots == 3


def test_a_heartbeat_opens_no_session(scene: Scene) -> None:
    assert scene.ask(c.OpenSession(b"w1", NAMESPACE, "w1", attach=True)) == (0, False)
    assert not scene.partition.state.sessions
    assert scene.ask(c.OpenSession(b"w1", NAMESPACE, "w1")) == (1, True)


def test_a_returning_worker_is_given_nothing_before_it_says_what_it_holds(scene: Scene) -> None:
    scene.worker(slots=2)
    scene.ask(c.OpenSession(b"w1", NAMESPACE, "w1"))
    scene.submit(new_job(1))
    assert scene.running() == {1: []}


def test_a_session_above_the_limit_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 1)
    scene.session("w1")
    with pytest.raises(TooManySessions):
        scene.session("w2")


def test_what_an_older_connection_offers_or_loses_is_not_the_newer_ones(scene: Scene) -> None:
    session, _ = scene.ask(c.OpenSession(b"x", NAMESPACE, "x", link=1))
    scene.ask(c.OpenSession(b"x", NAMESPACE, "x", link=2))
    scene.submit(new_job(1))
    assert scene.step(c.OfferCapacity(session, 1, ("default",), link=1)).events == []
    scene.ask(c.LoseLink(session, link=1))
    link = scene.partition.state.sessions[session].link
    assert link.connected
    assert kinds(scene.step(c.OfferCapacity(session, 1, ("default",), link=2))) == ["SessionOpened", "JobLeased"]
    scene.ask(c.LoseLink(session, link=2))
    assert not link.connected


@pytest.mark.parametrize("command", [c.ResumeSession(9, [], []), c.OfferCapacity(9, 1, ("default",))])
def test_a_session_that_is_over_can_do_nothing(scene: Scene, command: c.Command) -> None:
    with pytest.raises(SessionOver):
        scene.ask(command)


@pytest.mark.parametrize("command", [c.LoseLink(9), c.HearSession(9), c.EndSession(9, c.SessionEnd.DIED)])
def test_news_of_a_session_that_is_over_change_nothing(scene: Scene, command: c.Command) -> None:
    step = scene.step(command)
    assert (step.replies, step.events, step.effects) == ([None], [], [])


def test_a_lease_that_never_arrived_is_given_back_at_the_resume(scene: Scene) -> None:
    session = scene.worker(slots=2)
    scene.submit(new_job(1), new_job(2))
    scene.ask(c.OpenSession(b"w1", NAMESPACE, "w1"))
    step = scene.step(c.ResumeSession(session, [c.HeldRun(job_id(1), 1), c.HeldRun(job_id(2), 9)], []))
    assert step.replies == [([c.RunVerdict.KEEP, c.RunVerdict.STALE], [])]
    assert kinds(step) == ["JobReleased"]
    assert scene.running() == {session: [job_id(1)]}


def test_a_resume_settles_before_it_gives_back(scene: Scene) -> None:
    session = scene.worker(slots=2)
    scene.submit(new_job(1), new_job(2))
    scene.ask(c.OpenSession(b"w1", NAMESPACE, "w1"))
    settle = c.EndRun(job_id(1), 1, SUCCEEDED, b"result")
    command = c.ResumeSession(session, [c.HeldRun(job_id(1), 1), c.HeldRun(job_id(2), 2)], [settle])
    assert scene.ask(command) == ([c.RunVerdict.STALE, c.RunVerdict.KEEP], [OK])
    assert scene.archive[job_id(1)].state is JobState.SUCCEEDED


def test_a_resume_that_comes_late_leaves_what_was_leased_since_the_connection_began(scene: Scene) -> None:
    session = scene.worker(slots=2)
    scene.submit(new_job(1))
    scene.ask(c.OpenSession(b"w1", NAMESPACE, "w1"))
    # The resume waits for a look-up, and the capacity that follows it is decided first.
    scene.ask(c.OfferCapacity(session, 2, ("default",)))
    scene.submit(new_job(2))
    step = scene.step(c.ResumeSession(session, [], []))
    assert kinds(step)[:1] == ["JobReleased"]
    assert [event.id for event in step.events if isinstance(event, e.JobReleased)] == [job_id(1)]


def test_a_goodbye_spends_neither_an_attempt_nor_a_crash(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    step = scene.step(c.EndSession(session, c.SessionEnd.GOODBYE))
    assert kinds(step) == ["JobReleased", "SessionEnded"]
    assert CloseSession(session) in step.effects
    job = scene.job(1)
    assert job is not None
    assert (job.failures, job.crashes, job.state) == (0, 0, JobState.READY)


def test_a_job_whose_worker_died_as_often_as_the_cap_is_dead(scene: Scene) -> None:
    scene.submit(new_job(1))
    for crash in (1, 2, 3):
        session = scene.worker(f"w{crash}")
        step = scene.step(c.EndSession(session, c.SessionEnd.DIED))
        assert kinds(step) == ["JobCrashed", "SessionEnded"]
    ended = scene.archive[job_id(1)]
    assert (ended.state, ended.crashes, ended.failures, ended.fence) == (JobState.DEAD, 3, 0, 0)


def test_mere_silence_never_makes_a_job_dead(scene: Scene) -> None:
    scene.submit(new_job(1))
    for crash in range(5):
        scene.worker(f"w{crash}")
        scene.pass_ms(scene.partition.session_ttl_ms)
    job = scene.job(1)
    assert job is not None
    assert (job.state, job.crashes, job.runs) == (JobState.READY, 2, 5)


def test_a_session_that_never_had_a_lease_is_not_journaled(scene: Scene) -> None:
    session = scene.worker()
    assert scene.step(c.EndSession(session, c.SessionEnd.GOODBYE)).events == []
    assert scene.batches == []


def test_a_session_is_journaled_before_its_first_lease(scene: Scene) -> None:
    scene.worker()
    step = scene.step(c.SubmitJobs([new_job(1)]))
    assert kinds(step) == ["JobSubmitted", "SessionOpened", "JobLeased"]
    [run] = [effect for effect in step.effects if isinstance(effect, DeliverJob)]
    assert (run.session, run.fence, run.run, run.attempt, run.crashes, run.body) == (1, 1, 1, 1, 0, b"args 1")


def test_a_lost_connection_ends_no_lease_and_brings_no_new_one(scene: Scene) -> None:
    session = scene.worker(slots=2)
    scene.submit(new_job(1))
    scene.ask(c.LoseLink(session))
    scene.submit(new_job(2))
    assert scene.running() == {session: [job_id(1)]}


def test_a_gap_in_the_partitions_own_time_ends_no_session(scene: Scene) -> None:
    session = scene.worker()
    scene.clock.advance(5_000)
    scene.step(c.SkipTime(5_000))
    assert list(scene.running()) == [session]
    # The gap counts once, and never lifts anybody above the present.
    assert scene.partition.state.sessions[session].link.heard_ms == scene.clock.mono_ms
