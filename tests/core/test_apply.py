"""What applying keeps of a job's rare part, whatever that will hold one day."""

from __future__ import annotations

import pytest

from aioqueue.core import commands as c
from aioqueue.core.lanes import PriorityLane
from aioqueue.core.nouns import Job, Rare
from aioqueue.model.states import Cause
from tests.support.scene import NAMESPACE, Scene, job_id, new_job


class Later(Rare, frozen=True, gc=False):
    """What few jobs have, with a field of a later version."""

    group: str = ""


def test_a_job_that_is_told_to_stop_keeps_what_else_is_rare_about_it(scene: Scene) -> None:
    scene.worker(slots=1)
    scene.submit(new_job(1, deadline_in_ms=5_000))
    job = scene.job(1)
    assert job is not None
    assert job.rare is not None
    terms = job.rare.terms
    job.rare = Later(None, terms, group="tenant 7")
    # By the partition itself: no record tells of such a field yet, so a replay would not have it.
    scene.partition.step([c.CancelJob(job.id, NAMESPACE, reason="wrong file")], scene.clock.now(), 10)
    assert job.rare == Later(None, terms, Cause.CANCEL, "wrong file", "tenant 7")


@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_a_lane_that_forgets_a_job_still_sees_what_is_rare_about_it(
    scene: Scene, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Rare | None] = []
    forget = PriorityLane.forget

    def look(lane: PriorityLane, job: Job) -> None:
        seen.append(job.rare)
        forget(lane, job)

    monkeypatch.setattr(PriorityLane, "forget", look)
    scene.submit(new_job(1, expires_in_ms=1_000))
    job = scene.job(1)
    assert job is not None
    rare = job.rare
    assert rare is not None
    if end == "cancelled":
        scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    else:
        scene.pass_ms(2_000)
    # In the partition itself, and in the one that replays its journal.
    assert seen == [rare, rare]
    # Headers can be large, and the lane may hold what it forgot until it is swept.
    assert job.rare is None
