"""The cohort rule: who ran when a process ended is a suspect, and an innocent one never dies of its neighbour."""

from __future__ import annotations

from random import Random

import pytest

from aioqueue.core import cohorts
from aioqueue.core import commands as c
from aioqueue.core.lanes import Suspects
from aioqueue.core.nouns import Job, Session
from aioqueue.model.states import JobState
from tests.core.test_lanes import ready
from tests.support.scene import NAMESPACE, Scene, job_id, new_job

DIED, EXPIRED = c.SessionEnd.DIED, c.SessionEnd.EXPIRED


def crash(scene: Scene, session: int, cause: c.SessionEnd = DIED) -> None:
    scene.held.pop(session, None)
    scene.ask(c.EndSession(session, cause))


def suspects(scene: Scene, *numbers: int, crashes: int = 1) -> None:
    """Jobs whose process ended so often under them; more than once only one, for then it ran alone."""
    scene.submit(*(new_job(number) for number in numbers))
    for life in range(crashes):
        crash(scene, scene.worker(f"life {life}", slots=len(numbers)))


def test_a_session_holds_one_suspect_and_any_number_of_others(scene: Scene) -> None:
    suspects(scene, 1, 2, 3)
    scene.submit(new_job(4), new_job(5))
    session = scene.worker(slots=10)
    assert scene.running() == {session: [job_id(1), job_id(4), job_id(5)]}


def test_the_next_suspect_comes_when_the_last_is_settled(scene: Scene) -> None:
    suspects(scene, 1, 2)
    session = scene.worker(slots=10)
    assert scene.running() == {session: [job_id(1)]}
    scene.settle(session, 1)
    assert scene.running() == {session: [job_id(2)]}


def test_each_session_may_hold_a_suspect(scene: Scene) -> None:
    suspects(scene, 1, 2)
    first, second = scene.worker("first", slots=3), scene.worker("second", slots=3)
    assert scene.running() == {first: [job_id(1)], second: [job_id(2)]}


def test_a_suspect_on_its_last_chance_waits_for_an_empty_session(scene: Scene) -> None:
    suspects(scene, 1, crashes=2)
    scene.submit(new_job(2))
    session = scene.worker(slots=10)
    assert scene.running() == {session: [job_id(1)]}
    scene.submit(new_job(3))
    assert scene.running() == {session: [job_id(1)]}
    scene.settle(session, 1)
    assert scene.running() == {session: [job_id(2), job_id(3)]}


def test_a_session_drains_for_a_suspect_whose_turn_it_is(scene: Scene) -> None:
    busy, free = scene.worker("busy", slots=10), scene.worker("free", slots=10)
    scene.submit(*(new_job(number) for number in range(1, 6)))
    assert [len(jobs) for jobs in scene.running().values()] == [3, 2]
    other = scene.worker("other", slots=1, queues=("apart",))
    scene.submit(new_job(9, queue="apart"))
    crash(scene, other)
    crash(scene, scene.worker("another", slots=1, queues=("apart",)))
    # Both sessions serve that queue too from now on; neither is empty.
    for session in (busy, free):
        scene.ask(c.OfferCapacity(session, 10, ("apart", "default")))
    scene.submit(new_job(10), new_job(11))
    assert len(scene.running()[busy]) == 5
    for job in scene.running()[free]:
        scene.ask(c.SettleRuns(free, [c.EndRun(job, scene.held[free][job], c.RunEnd.SUCCEEDED, b"")]))
    assert scene.running()[free] == [job_id(9, "apart")]


def test_who_drained_for_a_suspect_goes_on_when_a_session_of_other_queues_takes_it(scene: Scene) -> None:
    """Found by seed 172523404551621 of the simulator."""
    both = scene.worker("both", slots=10)
    scene.submit(new_job(1), new_job(9, queue="apart"))
    for life in range(2):
        crash(scene, scene.worker(f"life {life}", queues=("apart",)))
    scene.ask(c.OfferCapacity(both, 10, ("apart", "default")))
    scene.submit(new_job(2))
    assert scene.running() == {both: [job_id(1)]}
    other = scene.worker("other", queues=("apart",))
    assert scene.running() == {both: [job_id(1), job_id(2)], other: [job_id(9, "apart")]}


def test_what_stands_before_a_suspect_goes_first(scene: Scene) -> None:
    suspects(scene, 1, crashes=2)
    scene.submit(new_job(2, priority=9), new_job(3, priority=1))
    session = scene.worker(slots=10)
    assert scene.running() == {session: [job_id(2)]}
    scene.settle(session, 2)
    assert scene.running() == {session: [job_id(1)]}


def flow(seed: int) -> int:
    """How many others ended before a suspect on its last chance was leased, while more came all the time."""
    rng = Random(seed)
    scene = Scene()
    scene.judging = False
    suspects(scene, 0, crashes=2)
    for name in ("a", "b", "c"):
        session = scene.session(name)
        # They are full already when the suspect's queue is theirs too.
        scene.ask(c.OfferCapacity(session, 4, ("full",)))
    scene.submit(*(new_job(number, queue="full") for number in range(1_000, 1_012)))
    for session in list(scene.running()):
        scene.ask(c.OfferCapacity(session, 4, ("default", "full")))
    for ended in range(200):
        if any(job_id(0) in jobs for jobs in scene.running().values()):
            return ended
        scene.submit(new_job(ended + 1))
        held = [(session, job) for session, jobs in scene.running().items() for job in jobs]
        session, job = rng.choice(held)
        scene.ask(c.SettleRuns(session, [c.EndRun(job, scene.held[session][job], c.RunEnd.SUCCEEDED, b"")]))
    return -1


@pytest.mark.parametrize("seed", range(10))
def test_a_suspect_does_not_wait_for_ever_beside_sessions_that_are_never_empty(seed: int) -> None:
    assert 0 < flow(seed) < 150


def test_without_a_session_that_drains_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohorts, "drained", lambda state, pool, job: None)
    assert flow(0) == -1


def test_silence_alone_never_makes_a_suspect_dead(scene: Scene) -> None:
    scene.submit(new_job(1))
    for _ in range(5):
        crash(scene, scene.worker(), EXPIRED)
    job = scene.job(1)
    assert job is not None
    assert (job.state, job.crashes) == (JobState.READY, 2)


def test_a_suspect_that_fails_is_a_suspect_still(scene: Scene) -> None:
    suspects(scene, 1, 2)
    session = scene.worker(slots=5)
    scene.settle(session, 1, c.RunEnd.FAILED)
    scene.settle(session, 2)
    scene.submit(new_job(3))
    scene.pass_ms(1_900)
    assert scene.running() == {session: [job_id(3), job_id(1)]}
    held: Session = scene.partition.state.sessions[session]
    assert held.suspects == (scene.job(1),)


def test_a_suspect_that_is_cancelled_leaves_the_line(scene: Scene) -> None:
    suspects(scene, 1, 2)
    scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    session = scene.worker(slots=5)
    assert scene.running() == {session: [job_id(2)]}


@pytest.mark.parametrize("seed", range(5))
def test_one_suicide_runs_three_times_and_its_ninety_nine_neighbours_succeed(seed: int) -> None:
    rng = Random(seed)
    scene = Scene()
    scene.submit(*(new_job(number) for number in range(100)))
    suicide = job_id(rng.randrange(100))
    deaths = succeeded = 0
    while scene.partition.state.jobs:
        session = scene.worker(f"life {deaths}", slots=100)
        while held := scene.running().get(session):
            # The process may live for a while before the suicide takes it along.
            job = rng.choice(held)
            if job == suicide:
                crash(scene, session)
                deaths += 1
            else:
                scene.ask(c.SettleRuns(session, [c.EndRun(job, scene.held[session][job], c.RunEnd.SUCCEEDED, b"")]))
                succeeded += 1
    end = scene.archive[suicide]
    assert (deaths, succeeded) == (3, 99)
    assert (end.state, end.runs, end.crashes) == (JobState.DEAD, 3, 3)


def test_suspects_stand_in_the_order_of_their_turn() -> None:
    line = Suspects()
    jobs: list[Job] = [ready(3), ready(1), ready(2, priority=9), ready(4)]
    for job, crashes in zip(jobs, (1, 2, 1, 1), strict=True):
        job.crashes = crashes
        line.add(job)
    assert [job.seq for job in line.in_order()] == [2, 1, 3, 4]
    assert ([job.seq for job in line.among_others], [job.seq for job in line.solitary]) == ([2, 3, 4], [1])
    line.remove(jobs[0])
    with pytest.raises(ValueError, match="no ready suspect"):
        line.remove(jobs[0])
    assert len(line) == 3


# --- families -----------------------------------------------------------------------------------------------------


def test_a_suspect_child_goes_before_its_suspect_parent(scene: Scene) -> None:
    scene.submit(new_job(1))
    session = scene.worker("a", slots=10)
    scene.submit(new_job(2, parent=job_id(1)), new_job(3))
    crash(scene, session)
    only = scene.worker("b", slots=10)
    assert scene.running() == {only: [job_id(2)]}
    scene.settle(only, 2)
    assert scene.running() == {only: [job_id(1)]}


def test_a_child_that_becomes_ready_beside_its_suspect_parent_joins_it(scene: Scene) -> None:
    scene.submit(new_job(1))
    session = scene.worker("a", slots=10)
    scene.submit(new_job(2, parent=job_id(1)))
    crash(scene, session)
    first, second = scene.worker("first", slots=10), scene.worker("second", slots=10)
    assert scene.running() == {first: [job_id(2)], second: [job_id(1)]}
    crash(scene, first)
    assert scene.running() == {second: [job_id(1), job_id(2)]}


def test_a_suspect_on_its_last_chance_gets_its_children_and_nobody_else(scene: Scene) -> None:
    suspects(scene, 1, crashes=2)
    only = scene.worker("b", slots=10)
    scene.submit(new_job(3), new_job(2, parent=job_id(1)), new_job(4, parent=job_id(3)))
    assert scene.running() == {only: [job_id(1), job_id(2)]}
    scene.submit(new_job(5, parent=job_id(2)))
    assert scene.running() == {only: [job_id(1), job_id(2), job_id(5)]}
    scene.settle(only, 2)
    scene.settle(only, 5)
    assert scene.running() == {only: [job_id(1)]}
    scene.settle(only, 1)
    assert scene.running() == {only: [job_id(3), job_id(4)]}


def test_a_session_that_drains_gets_the_children_of_what_it_runs(scene: Scene) -> None:
    scene.submit(new_job(1))
    suspects_lane = scene.worker("a", slots=10)
    apart = ("apart",)
    scene.submit(new_job(9, queue="apart"))
    for life in range(2):
        crash(scene, scene.worker(f"life {life}", queues=apart))
    scene.ask(c.OfferCapacity(suspects_lane, 10, ("apart", "default")))
    scene.submit(new_job(2), new_job(3, parent=job_id(1)))
    assert scene.running() == {suspects_lane: [job_id(1), job_id(3)]}
    scene.settle(suspects_lane, 3)
    scene.settle(suspects_lane, 1)
    assert scene.running() == {suspects_lane: [job_id(9, "apart")]}


def test_parents_that_wait_for_suspects_on_their_last_chance_are_no_obstacle_to_each_other(scene: Scene) -> None:
    only = scene.worker("only", slots=10)
    scene.submit(new_job(1), new_job(2))
    for number in (3, 4):
        scene.submit(new_job(number, queue="apart", parent=job_id(number - 2)))
        for life in range(2):
            crash(scene, scene.worker(f"life {number}.{life}", queues=("apart",)))
        if number == 3:
            # It stays away from the other one's deaths.
            held = scene.worker("keeper", queues=("apart",))
    crash(scene, held, c.SessionEnd.GOODBYE)
    scene.ask(c.OfferCapacity(only, 10, ("apart", "default")))
    assert scene.running() == {only: [job_id(1), job_id(2), job_id(3, "apart")]}


def test_the_child_of_another_sessions_job_waits_for_its_turn(scene: Scene) -> None:
    suspects(scene, 1, crashes=2)
    scene.submit(new_job(5, queue="apart"))
    other = scene.worker("other", queues=("apart",))
    only = scene.worker("b", slots=10)
    scene.submit(new_job(2, parent=job_id(5, "apart")))
    assert scene.running() == {other: [job_id(5, "apart")], only: [job_id(1)]}


def test_a_child_taken_out_of_its_turn_and_given_back_stands_in_line_once(scene: Scene) -> None:
    suspects(scene, 1, crashes=2)
    only = scene.worker("b", slots=10)
    scene.submit(new_job(3), new_job(2, parent=job_id(1)), new_job(4))
    for _ in range(2):
        scene.settle(only, 2, c.RunEnd.RELEASED)
        assert scene.running() == {only: [job_id(1), job_id(2)]}
    crash(scene, only, c.SessionEnd.GOODBYE)
    assert [job.id for job in scene.partition.state.queues[NAMESPACE, "default"].lane.in_order()] == [
        job_id(3), job_id(2), job_id(4)
    ]  # fmt: skip


def test_a_child_whose_arguments_must_be_read_first_is_asked_for_once(scene: Scene) -> None:
    only = scene.worker("only", slots=10)
    scene.submit(new_job(1), new_job(2, queue="apart", parent=job_id(1)))
    for life in range(2):
        crash(scene, scene.worker(f"life {life}", queues=("apart",)))
    offer = c.OfferCapacity(only, 10, ("apart", "default"))
    scene.judging = False
    step = scene.partition.step([offer], scene.clock.now(), scene.position + 1, held=frozenset())
    assert [job.id for job in step.missing] == [job_id(2, "apart")]
    assert step.events == []


def test_who_drains_no_more_for_it_got_a_child_goes_on(scene: Scene) -> None:
    """Found by seed 21410533672501 of the simulator."""
    first, second = scene.worker("first", slots=5), scene.worker("second", slots=5)
    scene.submit(new_job(1), new_job(2), new_job(9, queue="apart"))
    for life in range(2):
        crash(scene, scene.worker(f"life {life}", queues=("apart",)))
    for session, slots in ((second, 1), (first, 5)):
        scene.ask(c.OfferCapacity(session, slots, ("apart", "default")))
    scene.submit(new_job(3, parent=job_id(1)), new_job(4))
    assert scene.running() == {first: [job_id(1), job_id(3), job_id(4)], second: [job_id(2)]}


def test_jobs_that_name_each_other_as_parents_do_no_harm(scene: Scene) -> None:
    scene.submit(new_job(1, parent=job_id(2)), new_job(2, parent=job_id(1)))
    crash(scene, scene.worker("a", slots=2))
    only = scene.worker("b", slots=2)
    for number in (1, 2):
        if job_id(number) in scene.running()[only]:
            scene.settle(only, number)
    for number in (1, 2):
        if scene.job(number) is not None:
            scene.settle(only, number)
    assert scene.running() == {only: []}
    assert scene.archive.keys() == {job_id(1), job_id(2)}
