"""Queues come with the first job or worker that names them, and go when nobody has for a long time."""

from __future__ import annotations

import pytest

from aioqueue.core import commands as c
from aioqueue.core import state as state_module
from tests.simulator.world import simulate
from tests.support.scene import NAMESPACE, Scene, job_id, new_job


@pytest.fixture
def one_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "QUEUES_IDLE_MAX", 1)


def names(scene: Scene) -> list[str]:
    return [name for _, name in scene.partition.state.queues]


def cancel(scene: Scene, number: int, queue: str) -> None:
    scene.ask(c.CancelJob(job_id(number, queue), NAMESPACE))


@pytest.mark.usefixtures("one_idle")
def test_a_flood_of_invented_names_leaves_one_behind() -> None:
    scene = Scene()
    for number in range(20):
        scene.submit(new_job(number, queue=f"invented-{number}"))
    assert len(names(scene)) == 20
    for number in range(20):
        cancel(scene, number, f"invented-{number}")
    assert names(scene) == ["invented-19"]


@pytest.mark.usefixtures("one_idle")
def test_a_queue_that_a_worker_takes_from_is_not_forgotten_and_feeds_it_later() -> None:
    scene = Scene()
    session = scene.worker(queues=("mine",))
    for number in range(3):
        scene.submit(new_job(number, queue=f"other-{number}"))
        cancel(scene, number, f"other-{number}")
    scene.submit(new_job(9, queue="mine"))
    assert scene.held[session] == {job_id(9, "mine"): 1}


@pytest.mark.usefixtures("one_idle")
def test_a_forgotten_queue_is_there_again_with_its_next_job() -> None:
    scene = Scene()
    for number, queue in enumerate(("a", "b", "a")):
        scene.submit(new_job(number, queue=queue))
        cancel(scene, number, queue)
    assert names(scene) == ["a"]
    session = scene.worker(queues=("a",))
    scene.submit(new_job(7, queue="a"))
    assert list(scene.held[session]) == [job_id(7, "a")]


@pytest.mark.usefixtures("one_idle")
def test_the_queues_of_workers_that_left_are_forgotten_too() -> None:
    scene = Scene()
    for number in range(5):
        session = scene.worker(f"w{number}", queues=(f"a{number}", f"b{number}"))
        scene.ask(c.EndSession(session, c.SessionEnd.GOODBYE))
    assert len(names(scene)) == 1


def test_an_idle_queue_keeps_its_totals_while_few_others_are_idle() -> None:
    scene = Scene()
    session = scene.worker()
    scene.submit(new_job(1))
    scene.settle(session, 1)
    scene.ask(c.EndSession(session, c.SessionEnd.GOODBYE))
    assert scene.partition.state.queues[NAMESPACE, "default"].succeeded == 1


@pytest.mark.usefixtures("one_idle")
@pytest.mark.parametrize("seed", range(4))
def test_worlds_that_forget_their_queues_keep_every_promise(seed: int) -> None:
    assert simulate(seed).jobs > 0
