"""Who gets the next job."""

from __future__ import annotations

from typing import Any

import pytest

from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.nouns import Offer
from aioqueue.core.partition import Step
from aioqueue.limits import LEASED_BYTES_TARGET, MIB
from tests.support.scene import NAMESPACE, Scene, job_id, new_job


def leased(step: Step) -> list[tuple[bytes, int]]:
    return [(event.id, event.session) for event in step.events if isinstance(event, e.JobLeased)]


def test_a_worker_gets_as_many_runs_as_it_has_slots(scene: Scene) -> None:
    session = scene.worker(slots=2)
    scene.submit(*(new_job(number) for number in range(5)))
    assert scene.running() == {session: [job_id(0), job_id(1)]}
    scene.settle(session, 0)
    assert scene.running() == {session: [job_id(1), job_id(2)]}


def test_a_large_worker_does_not_starve_a_small_one(scene: Scene) -> None:
    large, small = scene.worker("large", slots=100), scene.worker("small", slots=10)
    scene.submit(*(new_job(number) for number in range(8)))
    assert {number: len(jobs) for number, jobs in scene.running().items()} == {large: 4, small: 4}


def test_what_a_small_worker_cannot_take_goes_to_a_large_one(scene: Scene) -> None:
    large, small = scene.worker("large", slots=100), scene.worker("small", slots=2)
    scene.submit(*(new_job(number) for number in range(10)))
    assert {number: len(jobs) for number, jobs in scene.running().items()} == {large: 8, small: 2}


def test_the_worker_with_the_fewest_runs_comes_first(scene: Scene) -> None:
    busy = scene.worker("busy", slots=10)
    scene.submit(new_job(1), new_job(2))
    idle = scene.worker("idle", slots=10)
    step = scene.step(c.SubmitJobs([new_job(3)]))
    assert leased(step) == [(job_id(3), idle)]
    assert len(scene.running()[busy]) == 2


@pytest.mark.parametrize("declared", [{}, {"tasks": ("task",), "processes": ("other",), "process_slots": 1}])
def test_among_equals_a_job_goes_to_the_worker_that_has_waited_longest(scene: Scene, declared: Any) -> None:
    workers = [scene.worker(name, slots=10, **declared) for name in ("w1", "w2", "w3")]
    got = []
    for number in range(6):
        scene.submit(new_job(number))
        [session] = [each for each, jobs in scene.running().items() if jobs]
        got.append(session)
        scene.settle(session, number)
    assert got == workers * 2


def test_the_queues_of_a_worker_act_as_one(scene: Scene) -> None:
    scene.submit(
        new_job(1, queue="a"), new_job(2, queue="b"), new_job(3, queue="a"), new_job(4, queue="b", priority=8),
        new_job(5, queue="c"),
    )  # fmt: skip
    session = scene.session()
    step = scene.step(c.OfferCapacity(session, 10, ("b", "a")))
    order = [job_id(4, "b"), job_id(1, "a"), job_id(2, "b"), job_id(3, "a")]
    assert leased(step) == [(job, session) for job in order]


def test_workers_that_name_the_same_queues_share_a_pool(scene: Scene) -> None:
    scene.worker("w1", slots=1, queues=("a", "b"))
    scene.worker("w2", slots=1, queues=("b", "a", "b"))
    assert list(scene.partition.state.pools) == [Offer(NAMESPACE, ("a", "b"))]


def test_a_requeued_job_keeps_its_priority(scene: Scene) -> None:
    scene.submit(new_job(1, priority=9), new_job(2, priority=1))
    scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    scene.ask(c.RequeueJob(job_id(1), NAMESPACE))
    scene.worker()
    assert scene.running() == {1: [job_id(1)]}


def test_a_queue_of_the_same_name_in_another_namespace_is_another(scene: Scene) -> None:
    scene.submit(new_job(1))
    session = scene.ask(c.OpenSession(b"x", "other", "x"))[0]
    scene.ask(c.OfferCapacity(session, 5, ("default",)))
    assert scene.running() == {session: []}


def test_capacity_that_was_taken_back_is_not_used(scene: Scene) -> None:
    session = scene.worker(slots=3)
    scene.submit(new_job(1))
    scene.ask(c.OfferCapacity(session, 0, ("default",)))
    scene.submit(new_job(2))
    assert scene.running() == {session: [job_id(1)]}
    scene.ask(c.OfferCapacity(session, 2, ("default",)))
    assert scene.running() == {session: [job_id(1), job_id(2)]}


def test_a_worker_whose_capacity_shrank_gets_no_job_for_one_that_ended(scene: Scene) -> None:
    session = scene.worker(slots=3)
    scene.submit(*(new_job(number) for number in range(5)))
    scene.ask(c.OfferCapacity(session, 1, ("default",)))
    scene.settle(session, 0)
    assert len(scene.running()[session]) == 2


@pytest.mark.parametrize("leaves", [c.LoseLink(1), c.EndSession(1, c.SessionEnd.GOODBYE)])
def test_the_pool_of_a_worker_that_left_is_forgotten(scene: Scene, leaves: c.Command) -> None:
    scene.worker(queues=("a", "b"))
    scene.ask(leaves)
    assert scene.partition.state.pools == {}


def test_the_runs_of_one_job_are_numbered_one_by_one(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    for run in (1, 2, 3):
        job = scene.job(1)
        assert job is not None
        assert job.runs == job.fence == run
        scene.settle(session, 1, c.RunEnd.RELEASED)


def test_a_worker_whose_connection_is_full_gets_no_job_until_it_has_room(scene: Scene) -> None:
    full, other = scene.worker("w1", slots=3), scene.worker("w2", slots=1)
    scene.ask(c.ThrottleLink(full, True))
    scene.submit(*(new_job(number) for number in range(4)))
    assert scene.running() == {full: [], other: [job_id(0)]}
    scene.settle(other, 0)
    assert scene.running() == {full: [], other: [job_id(1)]}
    scene.ask(c.OfferCapacity(full, 4, ("default",)))
    assert scene.running()[full] == []
    scene.ask(c.ThrottleLink(full, False))
    assert scene.running()[full] == [job_id(2), job_id(3)]


def test_a_new_connection_of_a_worker_has_room(scene: Scene) -> None:
    session = scene.worker(slots=3)
    scene.ask(c.ThrottleLink(session, True))
    scene.ask(c.ThrottleLink(session, False, link=7))
    scene.submit(new_job(1))
    assert scene.running() == {session: []}
    assert scene.worker(slots=3) == session
    assert scene.running() == {session: [job_id(1)]}


def test_one_batch_leases_no_more_bytes_than_a_connection_should_hold(scene: Scene) -> None:
    scene.judging = False
    for number in range(20):
        scene.submit(new_job(number, body=b"x" * MIB))
    session = scene.session()
    step = scene.step(c.OfferCapacity(session, 100, ("default",)))
    leased = [len(step.events)]
    while step.more:
        step = scene.step()
        leased.append(len(step.events))
    # The first batch also opens the session.
    per_batch = LEASED_BYTES_TARGET // MIB
    assert [count for count in leased if count] == [per_batch + 1, *[per_batch] * (20 // per_batch - 1)]
    assert len(scene.running()[session]) == 20
