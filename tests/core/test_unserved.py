"""Why a ready job is given to nobody, in words for people."""

from __future__ import annotations

from aioqueue.core.unserved import why_unserved
from tests.support.scene import Scene, new_job


def why(scene: Scene, number: int = 1) -> str:
    job = scene.job(number)
    assert job is not None
    return why_unserved(scene.partition.state, job)


def test_what_is_missing_first_is_told_and_nothing_where_somebody_takes_the_job(scene: Scene) -> None:
    scene.submit(new_job(1, task="train", labels=("eu", "gpu")))
    assert why(scene) == "no worker of queue default is connected"
    scene.worker("elsewhere", queues=("mail",))
    assert why(scene) == "no worker of queue default is connected"
    scene.worker("other", tasks=("send",))
    assert why(scene) == "no connected worker of queue default knows task train"
    scene.worker("near", tasks=("train",), labels=("gpu",))
    assert why(scene) == "no connected worker that knows task train has the labels eu, gpu"
    full = scene.worker("far", tasks=("train",), labels=("gpu", "eu"))
    # It runs there; the next one only waits for the slot.
    scene.submit(new_job(2, task="train", labels=("eu", "gpu")))
    assert (why(scene), why(scene, 2)) == ("", "")
    assert scene.running()[full] == [new_job(1, task="train").id]


def test_a_worker_that_declares_nothing_takes_every_task(scene: Scene) -> None:
    scene.worker("older", slots=1)
    scene.submit(new_job(1), new_job(2))
    assert why(scene, 2) == ""


def test_a_job_that_waits_for_its_time_waits_for_no_worker(scene: Scene) -> None:
    scene.submit(new_job(1, delay_ms=60_000))
    assert why(scene) == ""
