"""Ids that callers give: one job each, of one task; told as there before; free again long after it was forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from aioqueue.core import commands as c
from aioqueue.core.decide import own_ids
from aioqueue.errors import Duplicate, NotRetryable
from aioqueue.limits import OWN_ID_FREED_MS
from aioqueue.model.ids import child_id, id_text, own_id
from aioqueue.model.records import FinishedJob, Terms
from aioqueue.model.spec import RetryPolicy, Spec, pack_spec
from aioqueue.model.states import JobState
from tests.support.scene import NAMESPACE, Scene, new_job

ID = own_id(NAMESPACE, "default", "invoice-42")
ACCEPTED, EXISTS = c.SubmitOutcome.ACCEPTED, c.SubmitOutcome.EXISTS


def own(task: str = "task", *, job_id: bytes = ID, body: bytes = b"args", **changes: Any) -> c.NewJob:
    """A submit under the caller's own id."""
    spec = Spec(NAMESPACE, "default", task, keep_ms=0, retry=RetryPolicy(attempts=1))
    made = c.NewJob(job_id, spec, pack_spec(spec), body, known=c.Known.OWN)
    return replace(made, **changes)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def run(scene: Scene, end: c.RunEnd = c.RunEnd.SUCCEEDED) -> FinishedJob:
    """The job of the id, run to its end."""
    session = scene.worker(f"w{scene.position}")
    fence = scene.held[session].pop(ID)
    scene.ask(c.SettleRuns(session, [c.EndRun(ID, fence, end, b"result")]))
    scene.ask(c.EndSession(session, c.SessionEnd.GOODBYE))
    return scene.archive[ID]


def test_an_id_that_lives_is_told_as_there_whatever_the_arguments(scene: Scene) -> None:
    assert scene.submit(own()) == [ACCEPTED]
    assert scene.submit(own(body=b"others")) == [EXISTS]
    assert scene.partition.state.jobs[ID].body_bytes == len(b"args")


@pytest.mark.parametrize("over", [False, True], ids=["living", "over"])
def test_another_task_under_an_id_is_refused_and_both_are_named(scene: Scene, over: bool) -> None:
    scene.submit(own("mail.send"))
    if over:
        run(scene)
    (refused,) = scene.submit(own("mail.drop"))
    assert isinstance(refused, Duplicate)
    assert refused.fields == {"job": id_text(ID), "task": "mail.send", "asked": "mail.drop"}
    assert scene.submit(own("mail.send")) == [EXISTS]


def test_the_other_items_of_a_submit_are_taken_though_one_is_anothers(scene: Scene) -> None:
    scene.submit(own("mail.send"))
    first, second, third = scene.submit(new_job(1), own("mail.drop"), new_job(2))
    assert (first, third) == (ACCEPTED, ACCEPTED)
    assert isinstance(second, Duplicate)


def test_two_tasks_under_one_id_in_one_submit_are_one_job_and_a_refusal(scene: Scene) -> None:
    first, second, third = scene.submit(own("mail.send"), own("mail.drop"), own("mail.send"))
    assert (first, third) == (ACCEPTED, EXISTS)
    assert isinstance(second, Duplicate)
    assert second.task == "mail.send"


def test_an_atomic_submit_with_anothers_id_is_refused_whole(scene: Scene) -> None:
    scene.submit(own("mail.send"))
    with pytest.raises(Duplicate) as refused:
        scene.ask(c.SubmitJobs([new_job(1), own("mail.drop"), new_job(2)], atomic=True))
    assert (refused.value.task, refused.value.asked) == ("mail.send", "mail.drop")
    assert (scene.job(1), scene.job(2)) == (None, None)


def test_an_atomic_submit_tells_of_each_item_whether_it_was_there(scene: Scene) -> None:
    scene.submit(own())
    other = own(job_id=own_id(NAMESPACE, "default", "other"))
    assert scene.ask(c.SubmitJobs([new_job(1), own(), other, other], atomic=True)) == [
        ACCEPTED, EXISTS, ACCEPTED, EXISTS,
    ]  # fmt: skip


def test_an_id_of_another_namespace_says_nothing_of_its_task(scene: Scene) -> None:
    scene.submit(own("mail.send"))
    spec = Spec("other", "default", "mail.drop")
    assert scene.submit(own(spec=spec, packed_spec=pack_spec(spec))) == [EXISTS]


# --- forgotten ----------------------------------------------------------------------------------------------------


def test_an_id_is_taken_until_an_hour_after_its_job_was_forgotten(scene: Scene) -> None:
    scene.submit(own())
    run(scene)
    scene.forget(ID)
    scene.pass_ms(OWN_ID_FREED_MS)
    # What is left of the job does not say whose it was.
    assert scene.submit(own("mail.drop")) == [EXISTS]
    scene.pass_ms(1)
    assert scene.submit(own("mail.drop", body=b"anew")) == [ACCEPTED]
    job = scene.partition.state.jobs[ID]
    assert (job.generation, job.terms, job.spec.task) == (1, Terms(first_generation=1), "mail.drop")


def test_a_new_use_is_told_as_there_when_it_is_said_again(scene: Scene) -> None:
    scene.submit(own())
    run(scene)
    scene.forget(ID)
    scene.pass_ms(OWN_ID_FREED_MS + 1)
    again = own()
    assert scene.submit(again, own()) == [ACCEPTED, EXISTS]
    assert scene.submit(own()) == [EXISTS]
    run(scene)
    assert scene.submit(own()) == [EXISTS]
    scene.forget(ID)
    assert scene.submit(own()) == [EXISTS]
    scene.pass_ms(OWN_ID_FREED_MS + 1)
    assert scene.submit(own()) == [ACCEPTED]
    assert scene.partition.state.jobs[ID].generation == 2


def test_a_new_use_is_above_all_retries_of_the_one_before(scene: Scene) -> None:
    scene.submit(own())
    for generation in (1, 2):
        run(scene, c.RunEnd.FAILED)
        assert scene.ask(c.RequeueJob(ID, NAMESPACE, generation=generation)) == generation
    run(scene, c.RunEnd.FAILED)
    scene.forget(ID)
    scene.pass_ms(OWN_ID_FREED_MS + 1)
    assert scene.submit(own()) == [ACCEPTED]
    assert scene.partition.state.jobs[ID].generation == 3
    # A retry of the job before, which comes late, or is said again, is none of this one.
    assert scene.ask(c.RequeueJob(ID, NAMESPACE, generation=3)) == 3
    run(scene, c.RunEnd.FAILED)
    assert scene.ask(c.RequeueJob(ID, NAMESPACE, generation=3)) == 3
    assert ID not in scene.partition.state.jobs
    # One of its own is a retry of the same use.
    assert scene.ask(c.RequeueJob(ID, NAMESPACE, generation=4)) == 4
    assert scene.partition.state.jobs[ID].terms == Terms(first_generation=3)


def test_a_new_use_has_the_times_and_the_parent_that_its_submit_asks_for(scene: Scene) -> None:
    scene.submit(own())
    run(scene)
    scene.forget(ID)
    scene.pass_ms(OWN_ID_FREED_MS + 1)
    parent = new_job(7)
    scene.submit(parent)
    asked = c.AskedTerms(deadline_in_ms=5_000, parent=parent.id, inherits=True)
    assert scene.submit(own(terms=asked)) == [ACCEPTED]
    deadline_ms = scene.clock.now().wall_ms + 5_000
    assert scene.partition.state.jobs[ID].terms == Terms(0, deadline_ms, parent.id, True, 1)
    scene.ask(c.CancelJob(parent.id, NAMESPACE))
    assert scene.archive[ID].state is JobState.CANCELLED


def test_an_id_that_is_derived_or_said_again_is_never_free(scene: Scene) -> None:
    child = child_id(NAMESPACE, "default", bytes(16), ("task", b"args", 1))
    scene.submit(own(job_id=child, known=c.Known.UNKNOWN))
    scene.ask(c.CancelJob(child, NAMESPACE))
    scene.forget(child)
    scene.pass_ms(20 * OWN_ID_FREED_MS)
    assert scene.submit(own(job_id=child, known=c.Known.UNKNOWN)) == [EXISTS]


def test_a_job_that_succeeded_is_not_retried_though_its_id_may_be_used_again(scene: Scene) -> None:
    scene.submit(own())
    run(scene)
    with pytest.raises(NotRetryable):
        scene.ask(c.RequeueJob(ID, NAMESPACE))


def test_a_new_use_is_carried_and_replayed_as_one(scene: Scene) -> None:
    scene.submit(own())
    run(scene)
    scene.forget(ID)
    scene.pass_ms(OWN_ID_FREED_MS + 1)
    scene.submit(own())
    base = scene.position
    scene.carry()
    assert scene.replayed().state.jobs[ID].terms == Terms(first_generation=1)
    scene.move_base(base)
    assert scene.replayed(base).state.jobs[ID].generation == 1


def test_a_use_again_waits_until_the_log_states_its_level(scene: Scene) -> None:
    scene.partition.level = 1
    scene.submit(own())
    run(scene)
    scene.forget(ID)
    scene.pass_ms(OWN_ID_FREED_MS + 1)
    command = c.SubmitJobs([own(known=c.Known.FORGOTTEN, before=c.Before(0, forgotten_ms=1))])
    step = scene.step(command)
    assert (step.taken, step.events, scene.partition.level_needed) == (0, [], 2)
    scene.partition.level = 2
    assert scene.step(command).replies == [[ACCEPTED]]


@pytest.mark.parametrize(
    ("forgotten_ms", "free"), [(0, False), (1, True), (10, True), (11, False), (10_000_000, False)]
)
def test_only_what_was_forgotten_for_longer_than_an_hour_is_free(forgotten_ms: int, free: bool) -> None:
    assert own_ids.is_free(c.Before(0, forgotten_ms=forgotten_ms), OWN_ID_FREED_MS + 11) is free
    assert not own_ids.is_free(None, OWN_ID_FREED_MS + 11)
