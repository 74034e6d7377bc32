"""Lanes on their own: what goes in, and in which order it comes out."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from aioqueue.core.lanes import PriorityLane
from aioqueue.core.nouns import Job, SharedSpec
from aioqueue.model.states import JobState
from tests.support.scene import job_id


def ready(number: int, priority: int = 5) -> Job:
    """A ready job with the place `number`."""
    spec = SharedSpec("default", "default", "task", priority)
    return Job(job_id(number), spec, number, JobState.READY, 0, 0, b"")


def drained(lane: PriorityLane) -> list[int]:
    places = []
    while (head := lane.head()) is not None:
        assert lane.pop() is head
        places.append(head.seq)
    assert lane.depth == 0
    return places


def cancel(lane: PriorityLane, job: Job) -> None:
    job.state = JobState.CANCELLED
    lane.forget(job)


def test_an_empty_lane_has_no_head() -> None:
    assert PriorityLane().head() is None


def test_equals_come_out_in_the_order_they_came() -> None:
    lane = PriorityLane()
    for number in (1, 2, 3):
        lane.push(ready(number))
    assert drained(lane) == [1, 2, 3]


def test_a_higher_priority_goes_first() -> None:
    lane = PriorityLane()
    for number, priority in enumerate((0, 9, 5, 9), 1):
        lane.push(ready(number, priority))
    assert drained(lane) == [2, 4, 3, 1]


def test_a_job_given_back_keeps_its_place() -> None:
    lane = PriorityLane()
    jobs = [ready(number) for number in range(1, 6)]
    for job in jobs:
        lane.push(job)
    taken = [lane.pop() for _ in range(3)]
    for job in (taken[2], taken[0]):
        lane.give_back(job)
    assert [job.seq for job in lane.in_order()] == [1, 3, 4, 5]
    assert drained(lane) == [1, 3, 4, 5]


def test_a_cancelled_job_never_comes_out() -> None:
    lane = PriorityLane()
    jobs = [ready(number) for number in range(1, 6)]
    for job in jobs:
        lane.push(job)
    lane.give_back(lane.pop())
    cancel(lane, jobs[0])
    cancel(lane, jobs[3])
    assert lane.depth == 3
    assert drained(lane) == [2, 3, 5]


def test_cancelled_jobs_do_not_pile_up_where_nobody_leases() -> None:
    lane = PriorityLane()
    kept = ready(0)
    lane.push(kept)
    for number in range(1, 10_000):
        job = ready(number)
        lane.push(job)
        cancel(lane, job)
    [line] = lane._lines.values()
    assert len(line.jobs) <= 1_100
    assert drained(lane) == [0]


@given(st.lists(st.sampled_from(["push", "pop", "back", "cancel"]), max_size=60), st.randoms(use_true_random=False))
def test_a_lane_gives_what_a_sorted_list_would(actions: list[str], rng: Random) -> None:
    lane = PriorityLane()
    inside: dict[int, Job] = {}
    taken: dict[int, Job] = {}
    for number, action in enumerate(actions):
        if action == "push":
            inside[number] = ready(number, rng.choice((0, 5, 9)))
            lane.push(inside[number])
        elif action == "pop" and inside:
            job = lane.pop()
            taken[job.seq] = inside.pop(job.seq)
        elif action == "back" and taken:
            seq = rng.choice(sorted(taken))
            inside[seq] = taken.pop(seq)
            lane.give_back(inside[seq])
        elif action == "cancel" and inside:
            cancel(lane, inside.pop(rng.choice(sorted(inside))))
        order = sorted(inside.values(), key=lambda job: (-job.spec.priority, job.seq))
        assert list(lane.in_order()) == order
        assert lane.head() is (order[0] if order else None)
        assert lane.depth == len(order)
