"""Who may take a job: by its task and labels, and by the slots that are free."""

from __future__ import annotations

from random import Random

import pytest

from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core import partition, state
from aioqueue.core.lanes import PriorityLane, SplitLane
from aioqueue.core.leasing import upcoming
from aioqueue.model.states import JobState
from tests.support.scene import NAMESPACE, ONCE, Scene, job_id, new_job

DIED = c.SessionEnd.DIED
MISFIT = c.RunEnd.MISFIT


def numbers(scene: Scene, session: int) -> list[int]:
    """The jobs that the session holds, by their numbers."""
    known = {job_id(number, queue): number for number in range(2_100) for queue in ("default", "mail")}
    return [known[key] for key in scene.running()[session]]


def lane(scene: Scene, queue: str = "default") -> object:
    return scene.partition.state.queues[NAMESPACE, queue].lane


def is_plain(scene: Scene) -> bool:
    return type(lane(scene)) is PriorityLane


# --- tasks --------------------------------------------------------------------------------------------------------


def test_a_worker_gets_no_job_of_a_task_that_it_did_not_declare(scene: Scene) -> None:
    old = scene.worker("old", slots=10, tasks=("a",))
    scene.submit(new_job(1, task="b"), new_job(2, task="a"), new_job(3, task="b"))
    assert numbers(scene, old) == [2]
    new = scene.worker("new", slots=10, tasks=("a", "b"))
    assert numbers(scene, new) == [1, 3]


def test_a_worker_that_declares_nothing_takes_every_task(scene: Scene) -> None:
    session = scene.worker(slots=10)
    scene.submit(new_job(1, task="b"), new_job(2, task="a"))
    assert numbers(scene, session) == [1, 2]


def test_a_worker_that_declares_no_task_gets_no_job(scene: Scene) -> None:
    session = scene.worker(slots=10, tasks=())
    scene.submit(new_job(1), new_job(2))
    assert numbers(scene, session) == []


def test_what_nobody_takes_waits_and_holds_up_nobody(scene: Scene) -> None:
    scene.submit(*(new_job(number, task="b", retry=ONCE, priority=9) for number in range(50)))
    session = scene.worker(slots=1, tasks=("a",))
    for number in range(50, 60):
        scene.submit(new_job(number, task="a"))
        assert numbers(scene, session) == [number]
        scene.settle(session, number)
    waiting = scene.job(7)
    assert waiting is not None
    assert (waiting.state, waiting.runs) == (JobState.READY, 0)


def test_those_that_are_taken_keep_their_order_among_themselves(scene: Scene) -> None:
    scene.submit(*(new_job(number, task="ab"[number % 2], priority=(5, 5, 9)[number % 3]) for number in range(12)))
    scene.worker("old", slots=3, tasks=("a",))
    order = sorted(range(12), key=lambda number: (-(5, 5, 9)[number % 3], number))
    assert numbers(scene, 1) == [number for number in order if number % 2 == 0][:3]
    scene.worker("new", slots=20, tasks=("a", "b"))
    assert numbers(scene, 2) == [number for number in order if number not in numbers(scene, 1)]


def test_a_job_given_back_keeps_its_place_among_its_like_where_lines_are_split(scene: Scene) -> None:
    scene.submit(*(new_job(number, task="ab"[number % 2]) for number in range(8)))
    old = scene.worker("old", slots=2, tasks=("a",))
    new = scene.worker("new", slots=1, tasks=("b",))
    assert (numbers(scene, old), numbers(scene, new)) == ([0, 2], [1])
    scene.settle(new, 1, c.RunEnd.RELEASED)
    assert numbers(scene, new) == [1]
    scene.settle(old, 2, c.RunEnd.RELEASED)
    assert numbers(scene, old) == [0, 2]


def test_a_queue_that_everybody_takes_all_of_is_not_split(scene: Scene) -> None:
    scene.worker("w1", slots=2, tasks=("a", "b"))
    scene.worker("w2", slots=2, tasks=("a", "b", "c"))
    scene.submit(*(new_job(number, task="ab"[number % 2]) for number in range(10)))
    assert is_plain(scene)
    takers = scene.partition.state.queues[NAMESPACE, "default"].takers
    assert not any(taker.careful for taker in takers)


def test_lines_join_when_the_last_worker_that_did_not_take_them_has_left(scene: Scene) -> None:
    old = scene.worker("old", slots=10, tasks=("a",))
    scene.submit(new_job(1, task="b"), new_job(2, task="a"), new_job(3, task="b"))
    assert isinstance(lane(scene), SplitLane)
    scene.ask(c.EndSession(old, c.SessionEnd.GOODBYE))
    new = scene.worker("new", slots=10, tasks=("a", "b"))
    assert numbers(scene, new) == [1, 2, 3]
    assert is_plain(scene)
    scene.submit(new_job(4, task="b"), new_job(5, task="a"))
    assert numbers(scene, new) == [1, 2, 3, 4, 5]
    assert is_plain(scene)


def test_a_worker_that_takes_nothing_of_a_deep_queue_is_told_so_in_small_steps(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.judging = False
    monkeypatch.setattr(partition, "PARTED_MAX", 100)
    for start in range(0, 1_000, 500):
        scene.submit(*(new_job(number, task="b") for number in range(start, start + 500)))
    scene.submit(new_job(1_000, task="a"))
    old = scene.session("old")
    scene.declare(old, ("a",))
    step = scene.step(c.OfferCapacity(old, 1, ("default",)))
    steps = 1
    while step.more:
        assert numbers(scene, old) == []
        parted = lane(scene)
        assert isinstance(parted, SplitLane)
        assert parted.main.depth == 1_001 - 100 * steps
        step = scene.step()
        steps += 1
    assert numbers(scene, old) == [1_000]
    assert steps == 10


def test_two_that_take_nothing_of_each_other_share_a_queue(scene: Scene) -> None:
    left = scene.worker("left", slots=3, tasks=("a",))
    right = scene.worker("right", slots=3, tasks=("b",))
    scene.submit(*(new_job(number, task="ab"[number % 2]) for number in range(10)))
    assert (numbers(scene, left), numbers(scene, right)) == ([0, 2, 4], [1, 3, 5])


def test_a_new_declaration_of_a_connection_counts_from_then_on(scene: Scene) -> None:
    session = scene.worker(slots=10, tasks=("a",))
    scene.submit(new_job(1, task="b"))
    scene.declare(session, ("a", "b"))
    assert numbers(scene, session) == [1]


def test_what_was_declared_is_lost_with_its_connection(scene: Scene) -> None:
    scene.worker(slots=10, tasks=("a",))
    scene.submit(new_job(1, task="b"))
    session = scene.worker(slots=10)
    assert numbers(scene, session) == [1]


def test_nothing_is_leased_between_a_resume_and_the_first_capacity(scene: Scene) -> None:
    session = scene.worker(slots=10, tasks=("a",))
    scene.submit(new_job(1, task="b"), new_job(2, task="a"))
    assert scene.session() == session
    scene.ask(c.ResumeSession(session, [], []))
    assert numbers(scene, session) == []
    scene.declare(session, ("a",))
    assert numbers(scene, session) == []
    scene.ask(c.OfferCapacity(session, 10, ("default",)))
    assert numbers(scene, session) == [2]


def test_the_words_of_an_older_connection_declare_nothing(scene: Scene) -> None:
    session = scene.worker(slots=10, tasks=("a",))
    scene.ask(c.DeclareOffer(session, 77, None))
    scene.submit(new_job(1, task="b"))
    assert numbers(scene, session) == []


def test_sessions_that_declare_the_same_share_a_pool_and_the_names(scene: Scene) -> None:
    first = scene.worker("w1", tasks=("a", "b"), processes=("c",), process_slots=1)
    second = scene.worker("w2", tasks=("b", "a"), processes=("c",), process_slots=1)
    sessions = scene.partition.state.sessions
    assert len(scene.partition.state.pools) == 1
    assert sessions[first].link.offer is sessions[second].link.offer


# --- suspects and children ----------------------------------------------------------------------------------------


def crash(scene: Scene, *jobs: c.NewJob) -> None:
    scene.submit(*jobs)
    session = scene.worker("crashing", slots=len(jobs))
    scene.ask(c.EndSession(session, DIED))


def test_a_suspect_goes_only_where_its_task_is_known(scene: Scene) -> None:
    crash(scene, new_job(1, task="b"), new_job(2, task="a"))
    old = scene.worker("old", slots=10, tasks=("a",))
    assert numbers(scene, old) == [2]
    new = scene.worker("new", slots=10, tasks=("a", "b"))
    assert numbers(scene, new) == [1]


def test_a_suspect_on_its_last_chance_drains_nobody_who_does_not_take_it(scene: Scene) -> None:
    crash(scene, new_job(1, task="b"))
    session = scene.worker("again", slots=1)
    scene.ask(c.EndSession(session, DIED))
    job = scene.job(1)
    assert job is not None
    assert job.crashes == 2
    old = scene.worker("old", slots=2, tasks=("a",))
    scene.submit(*(new_job(number, task="a") for number in range(2, 6)))
    assert numbers(scene, old) == [2, 3]
    scene.settle(old, 2)
    assert numbers(scene, old) == [3, 4]


def test_a_child_goes_only_where_its_task_is_known(scene: Scene) -> None:
    crash(scene, new_job(1, task="a"))
    old = scene.worker("old", slots=10, tasks=("a",))
    scene.submit(new_job(2, task="b", parent=job_id(1)), new_job(3, task="a", parent=job_id(1)))
    assert numbers(scene, old) == [1, 3]


def test_a_suspect_child_that_only_others_take_does_not_hold_up_its_parent(scene: Scene) -> None:
    crash(scene, new_job(1, task="a"), new_job(2, task="b", parent=job_id(1)))
    old = scene.worker("old", slots=10, tasks=("a",))
    assert numbers(scene, old) == [1]


# --- labels -------------------------------------------------------------------------------------------------------


def test_a_job_with_labels_goes_only_to_a_worker_that_has_them_all(scene: Scene) -> None:
    plain = scene.worker("plain", slots=10)
    some = scene.worker("some", slots=10, labels=("gpu",))
    scene.submit(new_job(1, labels=("gpu", "eu")), new_job(2, labels=("eu", "gpu")))
    assert (numbers(scene, plain), numbers(scene, some)) == ([], [])
    all_of_them = scene.worker("all", slots=10, labels=("eu", "gpu", "big"))
    assert numbers(scene, all_of_them) == [1, 2]
    scene.submit(*(new_job(number) for number in range(10, 13)))
    assert numbers(scene, plain) != []


# --- classes of slots -----------------------------------------------------------------------------------------------


def test_jobs_of_processes_are_leased_no_further_than_there_are_processes(scene: Scene) -> None:
    scene.submit(*(new_job(number, task="crunch") for number in range(8)))
    first = scene.worker("first", slots=100, process_slots=1, tasks=("add",), processes=("crunch",))
    second = scene.worker("second", slots=100, process_slots=2, tasks=("add",), processes=("crunch",))
    assert (numbers(scene, first), numbers(scene, second)) == ([0], [1, 2])
    scene.settle(second, 1)
    assert numbers(scene, second) == [2, 3]


def test_a_worker_whose_processes_are_busy_still_takes_coroutines_out_of_the_same_queue(scene: Scene) -> None:
    session = scene.worker(slots=2, process_slots=1, tasks=("add",), processes=("crunch",))
    scene.submit(*(new_job(number, task=("crunch", "crunch", "add")[number % 3]) for number in range(9)))
    assert numbers(scene, session) == [0, 2, 5]
    scene.settle(session, 0)
    assert numbers(scene, session) == [2, 5, 1]
    scene.settle(session, 2)
    assert numbers(scene, session) == [5, 1, 8]


def test_a_worker_whose_coroutines_are_all_busy_still_takes_what_runs_in_a_process(scene: Scene) -> None:
    session = scene.worker(slots=1, process_slots=2, tasks=("add",), processes=("crunch",))
    scene.submit(*(new_job(number, task="add") for number in range(5)), new_job(5, task="crunch"))
    assert numbers(scene, session) == [0, 5]


def test_a_high_priority_job_for_a_process_is_not_last(scene: Scene) -> None:
    session = scene.worker(slots=100, process_slots=1, tasks=("add",), processes=("crunch",))
    scene.submit(*(new_job(number, task="crunch") for number in range(5)))
    scene.submit(new_job(9, task="crunch", priority=9))
    scene.settle(session, 0)
    assert numbers(scene, session) == [9]


def test_leases_of_processes_are_counted_again_when_a_connection_returns(scene: Scene) -> None:
    session = scene.worker(slots=5, process_slots=2, tasks=("add",), processes=("crunch",))
    scene.submit(*(new_job(number, task="crunch") for number in range(4)))
    held = [c.HeldRun(key, fence) for key, fence in scene.held[session].items()]
    assert scene.session() == session
    scene.ask(c.ResumeSession(session, held, []))
    scene.declare(session, ("add",), ("crunch",))
    scene.ask(c.OfferCapacity(session, 5, ("default",), process_slots=2))
    assert numbers(scene, session) == [0, 1]
    scene.settle(session, 0)
    assert numbers(scene, session) == [1, 2]


def test_the_slots_of_a_worker_that_declared_nothing_are_for_all(scene: Scene) -> None:
    session = scene.worker(slots=2, process_slots=5)
    scene.submit(*(new_job(number, task="crunch") for number in range(4)))
    assert numbers(scene, session) == [0, 1]


def test_a_suspect_that_runs_in_a_process_waits_for_one_and_others_pass_it(scene: Scene) -> None:
    crash(scene, new_job(1, task="crunch"), new_job(2, task="add"))
    session = scene.worker("w", slots=3, process_slots=0, tasks=("add",), processes=("crunch",))
    assert numbers(scene, session) == [2]


# --- misfits ------------------------------------------------------------------------------------------------------


def test_a_misfit_goes_to_another_worker_and_the_task_never_again_to_this_connection(scene: Scene) -> None:
    old = scene.worker("old", slots=1)
    scene.submit(new_job(1, retry=ONCE))
    new = scene.worker("new", slots=1)
    scene.submit(new_job(2, retry=ONCE), new_job(3, task="other"))
    assert (numbers(scene, old), numbers(scene, new)) == ([1], [2])
    scene.settle(old, 1, MISFIT)
    assert (numbers(scene, old), numbers(scene, new)) == ([3], [2])
    scene.settle(new, 2)
    assert numbers(scene, new) == [1]
    assert scene.session("old") == old
    scene.ask(c.ResumeSession(old, [], []))
    scene.ask(c.OfferCapacity(old, 2, ("default",)))
    scene.submit(new_job(4))
    assert numbers(scene, old) == [3, 4]


def test_a_shut_task_stays_shut_through_the_declaration_that_follows_a_resume(scene: Scene) -> None:
    old = scene.worker("old", slots=1, tasks=("task",))
    scene.submit(new_job(1))
    scene.worker("new", slots=1, tasks=("task",))
    fence = scene.held[old][job_id(1)]
    assert scene.session("old") == old
    scene.ask(c.ResumeSession(old, [], [c.EndRun(job_id(1), fence, MISFIT, b"")]))
    scene.declare(old, ("task",))
    scene.ask(c.OfferCapacity(old, 5, ("default",)))
    scene.submit(new_job(2), new_job(3))
    assert numbers(scene, old) == []


# --- all queues ---------------------------------------------------------------------------------------------------


def test_a_worker_of_all_queues_takes_from_those_that_come_later(scene: Scene) -> None:
    session = scene.worker(slots=10, queues=(), all_queues=True)
    scene.submit(new_job(1, queue="mail"), new_job(2))
    assert numbers(scene, session) == [1, 2]
    scene.submit(new_job(3, queue="mail"))
    assert numbers(scene, session) == [1, 2, 3]


def test_no_queues_without_that_word_are_none(scene: Scene) -> None:
    session = scene.worker(slots=10, queues=())
    scene.submit(new_job(1))
    assert numbers(scene, session) == []


def test_the_queues_of_a_worker_of_all_act_as_one(scene: Scene) -> None:
    rng = Random(7)
    jobs = [
        new_job(number, queue=rng.choice(("default", "mail")), priority=rng.choice((1, 5, 9))) for number in range(40)
    ]
    scene.submit(*jobs)
    session = scene.worker(slots=40, queues=(), all_queues=True)
    order = sorted(range(40), key=lambda number: (-jobs[number].spec.priority, number))
    assert numbers(scene, session) == order


def test_another_namespaces_queues_are_not_among_all(scene: Scene) -> None:
    number = scene.ask(c.OpenSession(b"other", "elsewhere", "other"))[0]
    scene.ask(c.DeclareOffer(number, 0, None, (), True))
    scene.ask(c.OfferCapacity(number, 10, ()))
    scene.submit(new_job(1))
    assert numbers(scene, number) == []


def test_queues_that_nobody_needs_are_forgotten_though_somebody_takes_from_all(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "QUEUES_IDLE_MAX", 2)
    session = scene.worker(slots=1, queues=(), all_queues=True)
    for number in range(20):
        scene.submit(new_job(number, queue=f"invented-{number}"))
        scene.ask(
            c.SettleRuns(session, [c.EndRun(job_id(number, f"invented-{number}"), number + 1, c.RunEnd.SUCCEEDED, b"")])
        )
    assert len(scene.partition.state.queues) <= 3


# --- reading ahead ------------------------------------------------------------------------------------------------


def test_only_what_somebody_takes_is_read_ahead(scene: Scene) -> None:
    scene.submit(*(new_job(number, task="b") for number in range(20)))
    scene.worker("old", slots=1, tasks=("a",))
    scene.submit(*(new_job(number, task="a") for number in range(20, 25)))
    ahead = [job.spec.task for job in upcoming(scene.partition.state, 10)]
    assert ahead == ["a"] * 4


def test_a_deep_line_of_processes_does_not_fill_what_is_read_ahead(scene: Scene) -> None:
    scene.submit(*(new_job(number, task="crunch") for number in range(500)))
    scene.worker(slots=1, process_slots=1, tasks=("add",), processes=("crunch",))
    scene.submit(*(new_job(number, task="add") for number in range(500, 520)))
    ahead = [job.spec.task for job in upcoming(scene.partition.state, 300)]
    assert ahead.count("add") == 19
    assert 0 < ahead.count("crunch") <= 64


# --- the journal --------------------------------------------------------------------------------------------------


def test_a_replay_makes_of_split_lines_what_was_so(scene: Scene) -> None:
    scene.submit(*(new_job(number, task="ab"[number % 2]) for number in range(10)))
    scene.worker("old", slots=3, tasks=("b",))
    scene.restart()
    scene.judge(settled=False)
    assert [job.seq for job in scene.partition.state.queues[NAMESPACE, "default"].lane.in_order()] == [
        1,
        3,
        5,
        7,
        8,
        9,
        10,
    ]


def test_names_of_tasks_that_somebody_invents_do_not_stay(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_FITS_A_QUEUE_MAX", 10)
    scene.judging = False
    session = scene.worker(slots=5, tasks=("known",))
    scene.submit(*(new_job(number, task=f"invented-{number}") for number in range(30)))
    queue = scene.partition.state.queues[NAMESPACE, "default"]
    assert queue.vague
    assert len(queue.fits) <= 11
    scene.submit(new_job(40, task="known"))
    assert numbers(scene, session) == [40]
    scene.judge()


def test_what_is_asked_of_a_step_is_not_journaled() -> None:
    assert {e.JobParted, e.LaneJoined, e.LinkDeclared} <= e.NOT_JOURNALED
