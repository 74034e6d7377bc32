"""Runs of another release: given back without an attempt while anybody is left who may take the job."""

from __future__ import annotations

from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.effects import ArchiveRun
from aioqueue.model.bodies import pack_failure, unpack_failure
from aioqueue.model.states import JobState
from aioqueue.model.views import Failure
from tests.support.scene import NAMESPACE, ONCE, Scene, job_id, kinds, new_job

WORDS = pack_failure(
    Failure("BadArguments", "the arguments do not fit task task: it has no parameter tenant", "", False)
)
MISFIT = c.RunEnd.MISFIT


def declare(scene: Scene, session: int, *tasks: str) -> None:
    scene.ask(c.DeclareOffer(session, 0, tuple((task, 0) for task in tasks) if tasks else None))


def numbers(scene: Scene) -> dict[int, list[int]]:
    """Which jobs each session holds, by their numbers."""
    known = {job_id(number): number for number in range(1, 30)}
    return {session: [known[job] for job in jobs] for session, jobs in scene.running().items()}


def test_a_misfit_spends_no_attempt_keeps_its_place_and_leaves_no_run(scene: Scene) -> None:
    old = scene.worker("old", slots=1)
    scene.submit(new_job(1, retry=ONCE), new_job(2, retry=ONCE))
    # Full, with the second job.
    scene.worker("new", slots=1)
    step = scene.step(c.SettleRuns(old, [c.EndRun(job_id(1), 1, MISFIT, WORDS)]))
    assert (step.replies, kinds(step)[0]) == ([[c.SettleOutcome.OK]], "JobMisfit")
    assert not any(isinstance(effect, ArchiveRun) for effect in step.effects)
    job = scene.job(1)
    assert job is not None
    assert (job.failures, job.crashes, job.seq) == (0, 0, 1)


def test_where_nobody_is_left_the_attempt_fails_for_good_and_names_who_refused(scene: Scene) -> None:
    scene.submit(new_job(1))
    number = scene.ask(c.OpenSession(b"w1", NAMESPACE, "w1", about="shop 1.4"))[0]
    scene.ask(c.OfferCapacity(number, 1, ("default",)))
    other = scene.ask(c.OpenSession(b"w2", NAMESPACE, "w2", about="shop 1.3"))[0]
    scene.ask(c.OfferCapacity(other, 1, ("elsewhere",)))
    scene.settle(number, 1, MISFIT, body=WORDS)
    end = scene.archive[job_id(1)]
    failure = unpack_failure(end.body)
    assert (end.state, end.failures, failure.type, failure.retry) == (JobState.DEAD, 1, "BadArguments", False)
    assert failure.text == (
        "the arguments do not fit task task: it has no parameter tenant (refused by shop 1.4)"
    )  # fmt: skip


def test_the_last_of_several_names_them_all(scene: Scene) -> None:
    sessions = []
    for version in ("1.3", "1.4"):
        number = scene.ask(c.OpenSession(version.encode(), NAMESPACE, version, about=f"shop {version}"))[0]
        scene.ask(c.OfferCapacity(number, 1, ("default",)))
        sessions.append(number)
    scene.submit(new_job(1))
    for _ in sessions:
        [holder] = [number for number, jobs in numbers(scene).items() if jobs]
        scene.settle(holder, 1, MISFIT, body=WORDS)
    assert unpack_failure(scene.archive[job_id(1)].body).text.endswith("(refused by shop 1.3, shop 1.4)")


def test_a_run_that_was_told_to_stop_is_over_whatever_its_worker_could_not_call(scene: Scene) -> None:
    session = scene.worker()
    scene.worker("other", slots=1)
    scene.submit(new_job(1))
    scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    scene.settle(session, 1, MISFIT, body=WORDS)
    assert scene.archive[job_id(1)].state is JobState.CANCELLED


def test_a_misfit_that_a_resume_tells_is_given_back_once(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1), new_job(2))
    scene.worker("other", slots=1)
    fence = scene.held[session][job_id(1)]
    assert scene.session() == session
    step = scene.step(c.ResumeSession(session, [], [c.EndRun(job_id(1), fence, MISFIT, WORDS)]))
    assert [kind for kind in kinds(step) if kind.startswith("Job")] == ["JobMisfit"]
    assert [type(event) for event in step.events] == [e.JobMisfit]


def test_a_task_that_was_refused_goes_to_others_while_there_are_any(scene: Scene) -> None:
    old = scene.worker("old", slots=1)
    scene.submit(*(new_job(number) for number in range(1, 6)))
    new = scene.worker("new", slots=1)
    scene.settle(old, 1, MISFIT, body=WORDS)
    for number in (2, 1, 3, 4, 5):
        assert numbers(scene) == {old: [], new: [number]}
        scene.settle(new, number)


def test_jobs_for_two_releases_in_one_queue_all_go_to_their_own(scene: Scene) -> None:
    """Each release refuses the first job of the other: neither is shut for its own, and nobody's job is dead."""
    old, new = scene.worker("old", slots=1), scene.worker("new", slots=1)
    scene.submit(*(new_job(number) for number in range(1, 21)))
    misfits = 0
    while running := {session: jobs for session, jobs in numbers(scene).items() if jobs}:
        for session, [number] in running.items():
            if session == (old if number // 3 % 2 else new):
                scene.settle(session, number)
            else:
                misfits += 1
                scene.settle(session, number, MISFIT, body=WORDS)
    ends = [scene.archive[job_id(number)] for number in range(1, 21)]
    assert [(end.state, end.failures) for end in ends] == [(JobState.SUCCEEDED, 0)] * 20
    assert 0 < misfits <= 2 * 20


def test_who_was_shut_is_opened_again_when_the_last_other_one_stops(scene: Scene) -> None:
    new = scene.worker("new", slots=1)
    scene.submit(new_job(1), new_job(2))
    old = scene.worker("old", slots=1)
    scene.settle(new, 1, MISFIT, body=WORDS)
    scene.settle(old, 2)
    scene.settle(old, 1)
    scene.submit(new_job(3))
    assert numbers(scene) == {new: [], old: [3]}
    scene.submit(new_job(4))
    assert numbers(scene)[new] == []
    scene.ask(c.OfferCapacity(old, 0, ("default",)))
    assert numbers(scene) == {new: [4], old: [3]}


def test_what_was_refused_is_forgotten_with_its_job(scene: Scene) -> None:
    old = scene.worker("old", slots=1)
    scene.submit(new_job(1), new_job(2))
    new = scene.worker("new", slots=1)
    scene.settle(old, 1, MISFIT, body=WORDS)
    refusals = scene.partition.state.refusals
    assert refusals.by_job == {job_id(1): {old}}
    scene.settle(new, 2)
    scene.settle(new, 1)
    refusals.keep(dict(scene.partition.state.jobs))
    assert refusals.by_job == {}
    scene.ask(c.EndSession(old, c.SessionEnd.GOODBYE))
    assert refusals.shut == {}
