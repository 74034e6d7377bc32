"""The door: what is refused while it is shut, and what never is."""

from __future__ import annotations

from typing import Any

import pytest

from aioqueue.core import commands as c
from aioqueue.core.admission import BacklogLimits
from aioqueue.errors import DiskLow, QueueFull
from tests.support.scene import NAMESPACE, ONCE, Scene, job_id, new_job

ACCEPTED, EXISTS = c.SubmitOutcome.ACCEPTED, c.SubmitOutcome.EXISTS
LOW = DiskLow(free=10, needed=20, path="jobs.db")


def kinds(outcomes: list[Any]) -> list[Any]:
    return [outcome if isinstance(outcome, c.SubmitOutcome) else type(outcome) for outcome in outcomes]


def full_scene() -> tuple[Scene, int]:
    """Two jobs, of which one runs at the session, where no more may be."""
    scene = Scene(limits=BacklogLimits(2, 1_000))
    session = scene.worker()
    scene.submit(new_job(1, retry=ONCE), new_job(2))
    return scene, session


def test_jobs_above_the_limit_are_refused_one_by_one_with_the_numbers() -> None:
    scene = Scene(limits=BacklogLimits(2, 1_000))
    outcomes: list[Any] = scene.submit(*(new_job(number) for number in range(4)))

    assert kinds(outcomes) == [ACCEPTED, ACCEPTED, QueueFull, QueueFull]
    assert outcomes[2].fields == {"jobs": 2, "size": 12, "jobs_max": 2, "size_max": 1_000}


def test_bytes_above_the_limit_are_refused_headers_included() -> None:
    scene = Scene(limits=BacklogLimits(10, 100))
    with_headers = new_job(2, body=b"x" * 30)
    with_headers.extra = b"h" * 11
    scene.submit(new_job(1, body=b"x" * 60))

    assert kinds(scene.submit(with_headers)) == [QueueFull]
    assert kinds(scene.submit(new_job(3, body=b"x" * 40))) == [ACCEPTED]


def test_no_small_job_passes_by_a_large_one_that_was_refused() -> None:
    scene = Scene(limits=BacklogLimits(10, 100))

    assert kinds(scene.submit(new_job(1, body=b"x" * 101), new_job(2))) == [QueueFull, QueueFull]


def test_an_atomic_submit_that_does_not_fit_leaves_nothing_behind() -> None:
    scene = Scene(limits=BacklogLimits(2, 1_000))

    step = scene.step(c.SubmitJobs([new_job(1), new_job(2), new_job(3)], atomic=True))

    assert [type(reply) for reply in step.replies] == [QueueFull]
    assert step.events == []
    assert kinds(scene.ask(c.SubmitJobs([new_job(1), new_job(2)], atomic=True))) == [ACCEPTED, ACCEPTED]


def test_a_job_that_is_there_exists_however_full_it_is() -> None:
    scene, _ = full_scene()

    assert kinds(scene.submit(new_job(1, known=c.Known.UNKNOWN), new_job(3))) == [EXISTS, QueueFull]
    assert kinds(scene.ask(c.SubmitJobs([new_job(1), new_job(2)], atomic=True))) == [EXISTS, EXISTS]


def test_there_is_room_again_when_a_job_has_ended() -> None:
    scene, session = full_scene()
    scene.settle(session, 1)

    assert kinds(scene.submit(new_job(3))) == [ACCEPTED]


@pytest.mark.parametrize("shut", [True, False], ids=["the disk is low", "it is full"])
def test_settles_cancels_and_leases_go_on_behind_the_shut_door(shut: bool) -> None:
    scene, session = full_scene()
    if shut:
        scene.ask(c.LimitAdmission(LOW))

    assert scene.settle(session, 1) is c.SettleOutcome.OK
    assert list(scene.held[session]) == [job_id(1), job_id(2)]
    assert scene.ask(c.CancelJob(job_id(2), NAMESPACE)) == "stopping"
    assert scene.session("w2")


def test_a_dead_job_lives_again_only_where_there_is_room() -> None:
    scene, session = full_scene()
    scene.settle(session, 1, c.RunEnd.FAILED)
    scene.submit(new_job(3))
    with pytest.raises(QueueFull):
        scene.ask(c.RequeueJob(job_id(1), NAMESPACE))
    scene.settle(session, 2)

    assert scene.ask(c.RequeueJob(job_id(1), NAMESPACE)) == 1


def test_while_the_disk_is_low_new_jobs_are_refused_with_its_numbers_and_then_no_more() -> None:
    scene = Scene()
    scene.ask(c.LimitAdmission(LOW))
    [refusal] = scene.submit(new_job(1))
    assert isinstance(refusal, DiskLow)
    assert refusal.fields == LOW.fields
    scene.ask(c.LimitAdmission(None))

    assert kinds(scene.submit(new_job(1))) == [ACCEPTED]


def test_a_restart_with_a_smaller_limit_keeps_what_lives_and_takes_nothing_new() -> None:
    scene, session = full_scene()
    scene.limits = BacklogLimits(1, 1_000)
    scene.restart()
    scene.held[session] = {job_id(1): 1}

    assert kinds(scene.submit(new_job(3))) == [QueueFull]
    assert scene.settle(session, 1) is c.SettleOutcome.OK
    assert kinds(scene.submit(new_job(3))) == [QueueFull]


def test_the_state_of_the_disk_is_not_journaled() -> None:
    scene = Scene()

    assert scene.step(c.LimitAdmission(LOW)).events == []
