"""Times to begin and to be over by, and children that end with their parents: given events, a command, events."""

from __future__ import annotations

from typing import Any

import pytest

from aioqueue.core import commands as c
from aioqueue.core import homes, partition
from aioqueue.core.effects import ArchiveRun, DeliverJob, StopRun
from aioqueue.core.terms import decide_doomed
from aioqueue.errors import NotRetryable
from aioqueue.limits import BATCH_EVENTS_TARGET
from aioqueue.model.records import Terms
from aioqueue.model.spec import RetryPolicy, Spec, pack_spec
from aioqueue.model.states import Cause, JobState
from tests.support.scene import NAMESPACE, TTL_MS, Scene, job_id, kinds, new_job

SUCCEEDED, FAILED, RELEASED = c.RunEnd.SUCCEEDED, c.RunEnd.FAILED, c.RunEnd.RELEASED
EXPIRED, CANCELLED, DEAD = JobState.EXPIRED, JobState.CANCELLED, JobState.DEAD
ONCE_A_SECOND = RetryPolicy(attempts=5, backoff="constant", base_ms=1_000, jitter=False)


@pytest.fixture(autouse=True)
def _homes_are_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "HOME_POSITIONS", 1)


def child(number: int, parent: int = 1, **changes: Any) -> c.NewJob:
    """A child that ends with its parent."""
    return new_job(number, parent=job_id(parent), inherits=True, **changes)


def end_of(scene: Scene, number: int) -> tuple[JobState, str]:
    found = scene.archive[job_id(number)]
    return found.state, found.note


def cancel(scene: Scene, number: int, reason: str = "") -> str:
    answer: str = scene.ask(c.CancelJob(job_id(number), NAMESPACE, reason=reason))
    return answer


# --- a time to begin by -------------------------------------------------------------------------------------------


def test_a_job_that_nobody_begins_in_time_expires_by_itself(scene: Scene) -> None:
    scene.submit(new_job(1, expires_in_ms=50))
    assert scene.partition.next_due(scene.clock.now()) == 50
    assert kinds(scene.pass_ms(49)) == []
    assert kinds(scene.pass_ms(1)) == ["JobExpired"]
    assert end_of(scene, 1) == (EXPIRED, "it had not begun in time")
    assert scene.partition.next_due(scene.clock.now()) is None


@pytest.mark.parametrize("delay_ms", [0, 100])
def test_a_time_that_is_over_already_expires_before_any_lease(scene: Scene, delay_ms: int) -> None:
    scene.worker()
    scene.submit(new_job(1, expires_ms=scene.clock.wall_ms, delay_ms=delay_ms))
    scene.step()
    assert end_of(scene, 1)[0] is EXPIRED
    assert scene.held == {}


def test_a_job_that_has_begun_in_time_may_begin_again_later(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, expires_in_ms=50, retry=ONCE_A_SECOND))
    assert scene.partition.state.ends.head() is None
    scene.settle(session, 1, FAILED)
    assert kinds(scene.pass_ms(1_000)) == ["JobDue", "JobLeased"]
    assert scene.settle(session, 1) is c.SettleOutcome.OK


def test_what_expired_stays_expired_when_the_clock_is_set_back(scene: Scene) -> None:
    scene.submit(new_job(1, expires_in_ms=50))
    scene.pass_ms(50)
    scene.clock.jump(-10_000)
    scene.worker()
    assert scene.held == {}
    assert scene.submit(new_job(1, known=c.Known.UNKNOWN)) == [c.SubmitOutcome.EXISTS]


def test_a_worker_that_comes_late_gets_only_what_is_still_in_time(scene: Scene) -> None:
    scene.submit(new_job(1, expires_in_ms=50), new_job(2), new_job(3, expires_in_ms=51))
    scene.clock.advance(50)
    session = scene.worker(slots=3)
    assert list(scene.held[session]) == [job_id(2), job_id(3)]


def test_a_lease_asks_for_the_time_itself_however_late_the_timer_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "decide_end", lambda state, now: None)
    scene.judging = False
    scene.submit(new_job(1, expires_in_ms=50), new_job(2))
    scene.clock.advance(50)
    session = scene.worker(slots=2)
    assert list(scene.held[session]) == [job_id(2)]
    assert end_of(scene, 1)[0] is EXPIRED


def test_a_suspect_whose_time_is_over_is_not_leased_either(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    session = scene.worker()
    scene.submit(new_job(1, deadline_in_ms=500))
    monkeypatch.setattr(partition, "decide_end", lambda state, now: None)
    scene.judging = False
    scene.clock.advance(500)
    scene.ask(c.EndSession(session, c.SessionEnd.DIED))
    scene.worker("w2")
    assert end_of(scene, 1) == (EXPIRED, "its deadline passed")


def test_a_flood_of_expiring_jobs_leaves_room_for_commands_and_leases(scene: Scene) -> None:
    scene.judging = False
    many = BATCH_EVENTS_TARGET
    scene.submit(*(new_job(number, expires_in_ms=50) for number in range(2, many + 2)), new_job(1))
    scene.clock.advance(50)
    number = scene.ask(c.OpenSession(b"w1", NAMESPACE, "w1"))[0]
    step = scene.step(c.OfferCapacity(number, 1, ("default",)))
    assert step.replies == [None]
    while step.more:
        step = scene.step()
    assert sum(end.state is EXPIRED for end in scene.archive.values()) == many
    assert list(scene.held[number]) == [job_id(1)]
    scene.judge()


def test_jobs_that_begin_in_time_do_not_pile_up_among_those_that_expire(scene: Scene) -> None:
    scene.judging = False
    session = scene.worker()
    for number in range(5_000):
        scene.step(c.SubmitJobs([new_job(number, expires_in_ms=500_000, deadline_in_ms=500_000)]))
        scene.settle(session, number)
    assert len(scene.partition.state.ends) < 2_500
    scene.judge()


# --- a time to be over by -----------------------------------------------------------------------------------------


def test_a_waiting_job_expires_at_its_deadline_also_between_two_attempts(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, retry=ONCE_A_SECOND, deadline_in_ms=1_500), new_job(2, delay_ms=900, deadline_in_ms=500))
    scene.settle(session, 1, FAILED)
    assert kinds(scene.pass_ms(500)) == ["JobExpired"]
    scene.ask(c.EndSession(session, c.SessionEnd.GOODBYE))
    assert kinds(scene.pass_ms(1_000)) == ["JobExpired"]
    assert (end_of(scene, 1), end_of(scene, 2)) == ((EXPIRED, "its deadline passed"),) * 2
    assert scene.archive[job_id(1)].failures == 1


def test_the_deadline_is_counted_from_the_submit_and_told_with_the_lease(scene: Scene) -> None:
    begun_ms = scene.clock.wall_ms
    scene.submit(new_job(1, deadline_in_ms=5_000))
    scene.clock.advance(4_000)
    scene.session("w1")
    step = scene.step(c.OfferCapacity(1, 1, ("default",)))
    [run] = [effect for effect in step.effects if isinstance(effect, DeliverJob)]
    assert run.deadline_ms == begun_ms + 5_000


def test_a_run_is_told_to_stop_at_the_deadline_and_its_job_expires(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, deadline_in_ms=500))
    step = scene.pass_ms(500)
    assert kinds(step) == ["JobStopping"]
    assert [effect.cause for effect in step.effects if isinstance(effect, StopRun)] == [Cause.DEADLINE]
    assert kinds(scene.pass_ms(100)) == []
    step = scene.step(c.SettleRuns(session, [c.EndRun(job_id(1), 1, RELEASED, b"")]))
    assert kinds(step) == ["JobReleased"]
    assert [effect.run.outcome for effect in step.effects if isinstance(effect, ArchiveRun)] == ["expired"]
    assert end_of(scene, 1) == (EXPIRED, "its deadline passed")


def test_a_failure_behind_the_deadline_ends_the_job_and_is_kept_with_its_runs(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, deadline_in_ms=500))
    scene.pass_ms(500)
    step = scene.step(c.SettleRuns(session, [c.EndRun(job_id(1), 1, FAILED, b"failure")]))
    assert [(effect.run.outcome, effect.run.body) for effect in step.effects if isinstance(effect, ArchiveRun)] == [
        ("failed", b"failure")
    ]
    assert end_of(scene, 1)[0] is EXPIRED


def test_a_success_behind_the_deadline_is_a_success(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, deadline_in_ms=500))
    scene.pass_ms(500)
    assert scene.settle(session, 1) is c.SettleOutcome.OK
    assert end_of(scene, 1) == (JobState.SUCCEEDED, "")


def test_a_process_that_dies_behind_the_deadline_leaves_an_expired_job(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, deadline_in_ms=500))
    scene.pass_ms(500)
    scene.ask(c.EndSession(session, c.SessionEnd.DIED))
    assert end_of(scene, 1)[0] is EXPIRED


def test_a_deadline_stops_a_run_also_after_a_restart(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, deadline_in_ms=500))
    scene.restart()
    assert kinds(scene.pass_ms(500)) == ["JobStopping"]
    scene.restart()
    answer = scene.ask(c.ResumeSession(scene.session("w1"), [c.HeldRun(job_id(1), 1)], []))
    assert answer == ([c.RunVerdict.CANCEL], [])
    scene.settle(session, 1, RELEASED)
    assert end_of(scene, 1)[0] is EXPIRED


def test_an_attempt_that_could_not_begin_before_the_deadline_is_none(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, retry=ONCE_A_SECOND, deadline_in_ms=1_000), new_job(2, retry=ONCE_A_SECOND))
    scene.settle(session, 1, FAILED, body=b"why")
    assert scene.archive[job_id(1)].body == b"why"
    assert end_of(scene, 1)[0] is DEAD


def test_the_first_that_tells_a_run_to_stop_says_how_it_ends(scene: Scene) -> None:
    session = scene.worker(slots=2)
    scene.submit(new_job(1, deadline_in_ms=500), new_job(2, deadline_in_ms=500))
    assert cancel(scene, 1, "a mistake") == "stopping"
    assert kinds(scene.pass_ms(500)) == ["JobStopping"]
    assert cancel(scene, 2, "too late") == "stopping"
    scene.settle(session, 1, RELEASED)
    scene.settle(session, 2, RELEASED)
    assert end_of(scene, 1) == (CANCELLED, "a mistake")
    assert end_of(scene, 2) == (EXPIRED, "its deadline passed")


# --- why, and once more -------------------------------------------------------------------------------------------


def test_the_reason_of_a_cancel_is_kept(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1), new_job(2))
    cancel(scene, 1, "not needed")
    assert cancel(scene, 2, "nor this") == "cancelled"
    scene.restart()
    scene.settle(session, 1, RELEASED)
    assert end_of(scene, 1) == (CANCELLED, "not needed")
    assert end_of(scene, 2) == (CANCELLED, "nor this")


def test_an_expired_job_that_is_submitted_again_has_all_the_time(scene: Scene) -> None:
    scene.submit(new_job(9))
    scene.submit(child(1, 9, expires_in_ms=50, deadline_in_ms=60))
    scene.pass_ms(50)
    assert scene.ask(c.RequeueJob(job_id(1), NAMESPACE)) == 1
    job = scene.job(1)
    assert job is not None
    assert job.terms == Terms(parent=job_id(9))
    assert kinds(scene.pass_ms(1_000)) == []
    with pytest.raises(NotRetryable):
        scene.ask(c.RequeueJob(job_id(9), NAMESPACE))


# --- children -----------------------------------------------------------------------------------------------------


def test_children_that_asked_for_it_end_with_a_parent_that_is_cancelled(scene: Scene) -> None:
    session = scene.worker(slots=2)
    scene.submit(new_job(1), new_job(2))
    scene.submit(child(3), child(4, delay_ms=50), new_job(5, parent=job_id(1)))
    scene.submit(child(6, 3))
    step = scene.step(c.CancelJob(job_id(1), NAMESPACE, reason="enough"))
    assert step.replies == ["stopping"]
    assert kinds(step) == ["JobStopping", "JobCancelled", "JobCancelled", "JobCancelled"]
    assert [end_of(scene, number) for number in (3, 4, 6)] == [(CANCELLED, "its parent was cancelled")] * 3
    assert scene.job(5) is not None
    assert list(scene.held[session]) == [job_id(1), job_id(2)]


def test_a_running_child_is_told_to_stop_with_its_parent_and_so_are_its_own(scene: Scene) -> None:
    session = scene.worker(slots=3)
    scene.submit(new_job(1))
    scene.submit(child(2))
    scene.submit(child(3, 2))
    step = scene.step(c.CancelJob(job_id(1), NAMESPACE))
    assert [effect.id for effect in step.effects if isinstance(effect, StopRun)] == [job_id(n) for n in (1, 2, 3)]
    for number in (3, 2, 1):
        scene.settle(session, number, RELEASED)
    assert [end_of(scene, number) for number in (2, 3)] == [(CANCELLED, "its parent was cancelled")] * 2


def test_children_of_a_waiting_parent_end_with_its_cancel_and_its_expiry(scene: Scene) -> None:
    scene.submit(new_job(1, delay_ms=500), new_job(2, expires_in_ms=50))
    scene.submit(child(3), child(4, 2))
    cancel(scene, 1)
    assert end_of(scene, 3) == (CANCELLED, "its parent was cancelled")
    assert kinds(scene.pass_ms(50)) == ["JobExpired", "JobCancelled"]
    assert end_of(scene, 4) == (CANCELLED, "its parent expired")


def test_children_of_a_run_that_its_deadline_stops_are_told_in_the_same_batch(scene: Scene) -> None:
    scene.worker(slots=2)
    scene.submit(new_job(1, deadline_in_ms=500))
    scene.submit(new_job(2, parent=job_id(1), inherits=True, deadline_in_ms=9_000))
    child_job = scene.job(2)
    assert child_job is not None
    assert child_job.terms is not None
    assert child_job.terms.deadline_ms == scene.clock.wall_ms + 500
    assert kinds(scene.pass_ms(500)) == ["JobStopping", "JobStopping"]


@pytest.mark.parametrize("end", [SUCCEEDED, FAILED])
def test_a_parent_that_comes_to_its_own_end_leaves_its_children_alone(scene: Scene, end: c.RunEnd) -> None:
    session = scene.worker()
    scene.submit(new_job(1, retry=RetryPolicy(attempts=1)))
    scene.submit(child(2))
    scene.settle(session, 1, end)
    assert list(scene.held[session]) == [job_id(1), job_id(2)]


@pytest.mark.parametrize("fate", ["stopping", "cancelled", "succeeded", "never there"])
def test_a_child_that_comes_when_its_parent_is_over_is_cancelled_at_once(scene: Scene, fate: str) -> None:
    session = scene.worker(slots=3)
    if fate != "never there":
        scene.submit(new_job(1))
    if fate in ("stopping", "cancelled"):
        cancel(scene, 1)
    if fate in ("cancelled", "succeeded"):
        scene.settle(session, 1, RELEASED if fate == "cancelled" else SUCCEEDED)
    step = scene.step(c.SubmitJobs([child(2)]))
    assert step.replies == [[c.SubmitOutcome.ACCEPTED]]
    assert kinds(step) == ["JobSubmitted", "JobCancelled"]
    assert end_of(scene, 2) == (CANCELLED, "its parent was over")


def test_a_job_that_names_itself_as_its_parent_has_none(scene: Scene) -> None:
    scene.submit(child(1, 1), new_job(2, parent=job_id(2)))
    assert end_of(scene, 1) == (CANCELLED, "its parent was over")
    session = scene.worker(slots=2)
    assert scene.settle(session, 2) is c.SettleOutcome.OK


def test_a_parent_of_another_namespace_is_none(scene: Scene) -> None:
    scene.submit(new_job(1))
    other = child(2)
    other.spec = Spec("elsewhere", "default", "task")
    other.packed_spec = pack_spec(other.spec)
    scene.submit(other)
    assert end_of(scene, 2)[0] is CANCELLED


def test_a_child_that_is_over_is_forgotten_by_its_parent(scene: Scene) -> None:
    session = scene.worker(slots=2)
    scene.submit(new_job(1))
    scene.submit(child(2), child(3))
    scene.settle(session, 2)
    cancel(scene, 3)
    assert scene.partition.state.children == {}


def test_very_many_children_end_a_part_at_a_time_and_none_of_them_begins(scene: Scene) -> None:
    scene.judging = False
    session = scene.worker(slots=1)
    scene.submit(new_job(1))
    many = 2 * BATCH_EVENTS_TARGET
    scene.submit(*(child(number) for number in range(2, many + 2)))
    step = scene.step(c.CancelJob(job_id(1), NAMESPACE))
    assert step.more
    assert len(step.events) <= BATCH_EVENTS_TARGET
    scene.settle(session, 1, RELEASED)
    scene.restart()
    scene.worker("w2", slots=5)
    while scene.partition.state.jobs:
        step = scene.step()
    assert len(scene.archive) == many + 1
    assert list(scene.held) == [session]


def test_the_next_children_to_end_are_found_many_at_a_time(scene: Scene) -> None:
    scene.judging = False
    scene.submit(new_job(1))
    scene.submit(*(child(number) for number in range(2, BATCH_EVENTS_TARGET)))
    cancel(scene, 1)
    some = decide_doomed(scene.partition.state, 10)
    assert len({event.id for event in some}) == 10


def test_children_of_a_requeued_parent_do_not_end_with_its_last_life(scene: Scene) -> None:
    scene.judging = False
    scene.submit(new_job(1))
    scene.submit(*(child(number) for number in range(2, 2 * BATCH_EVENTS_TARGET)))
    cancel(scene, 1)
    scene.ask(c.RequeueJob(job_id(1), NAMESPACE))
    scene.submit(child(2 * BATCH_EVENTS_TARGET))
    while scene.step().more:
        pass
    assert [job.id for job in scene.partition.state.jobs.values()] == [job_id(1), job_id(2 * BATCH_EVENTS_TARGET)]


def test_what_bounds_a_job_is_carried_with_it(scene: Scene) -> None:
    session = scene.worker(slots=2)
    scene.submit(new_job(1, deadline_in_ms=900), new_job(2))
    scene.submit(child(3, expires_in_ms=500), child(4, 2, delay_ms=100), new_job(5, deadline_in_ms=700))
    cancel(scene, 2, "enough")
    scene.carry()
    base = scene.position
    assert scene.move_base(base)
    assert scene.replayed(base).state.journaled_part() == scene.partition.state.journaled_part()
    scene.partition = scene.replayed(base)
    scene.judging = False
    scene.settle(session, 2, RELEASED)
    assert end_of(scene, 2) == (CANCELLED, "enough")
    scene.pass_ms(500)
    assert end_of(scene, 3)[0] is EXPIRED
    scene.pass_ms(400)
    scene.settle(session, 1, RELEASED)
    assert [end_of(scene, number)[0] for number in (1, 5)] == [EXPIRED, EXPIRED]


def test_the_base_does_not_move_while_children_are_still_to_be_told(scene: Scene) -> None:
    scene.judging = False
    scene.submit(new_job(1))
    scene.submit(*(child(number) for number in range(2, BATCH_EVENTS_TARGET)))
    scene.carry()
    base = scene.position
    assert scene.step(c.CancelJob(job_id(1), NAMESPACE), c.MoveBase(base, scene.position)).replies == [
        "cancelled",
        False,
    ]
    while scene.partition.state.jobs:
        scene.step()
    assert scene.move_base(base)
    assert scene.replayed(base).state.journaled_part() == scene.partition.state.journaled_part()


def test_a_child_of_a_dead_session_expires_with_its_deadline_and_not_before(scene: Scene) -> None:
    scene.worker(slots=2)
    scene.submit(new_job(1))
    scene.submit(child(2, deadline_in_ms=10 * TTL_MS))
    scene.pass_ms(TTL_MS)
    job = scene.job(2)
    assert job is not None
    assert (job.state, job.crashes) == (JobState.READY, 1)
    scene.pass_ms(9 * TTL_MS)
    assert end_of(scene, 2) == (EXPIRED, "its deadline passed")


def test_the_terms_of_a_job_cost_others_nothing() -> None:
    scene = Scene()
    scene.submit(new_job(1), new_job(2, deadline_in_ms=5))
    plain, bound = scene.job(1), scene.job(2)
    assert plain is not None
    assert bound is not None
    assert plain.rare is None
    assert bound.terms is not None
