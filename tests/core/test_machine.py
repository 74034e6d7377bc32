"""Every pair of a state and an event, against the table; and the table's picture in the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aioqueue.core import events as e
from aioqueue.core.apply import Moment, apply
from aioqueue.core.commands import CancelJob, SessionEnd
from aioqueue.core.machine import NEXT_STATE, IllegalChange
from aioqueue.model.states import TERMINAL, Cause, JobState
from tests.support.scene import NAMESPACE, Scene, job_id, new_job, submitted
from tests.support.state_diagram import mermaid

BEFORE: list[JobState | None] = [None, *JobState]
JOB_EVENTS: tuple[type[e.JobEvent], ...] = e.JobEvent.__args__
# What an event that does not name the next state makes of a job.
FIXED = {
    e.JobDue: JobState.READY,
    e.JobLeased: JobState.RUNNING,
    e.JobSucceeded: JobState.SUCCEEDED,
    e.JobCancelled: JobState.CANCELLED,
    e.JobStopping: JobState.STOPPING,
    e.JobExpired: JobState.EXPIRED,
}


def afters(before: JobState | None, kind: type[e.JobEvent]) -> list[JobState]:
    """What the event may make of a job in that state, as far as its fields go."""
    if kind is e.JobMisfit:
        return [JobState.READY]
    if kind is e.JobReleased:
        return [JobState.CANCELLED if before is JobState.STOPPING else JobState.READY]
    return [FIXED[kind]] if kind in FIXED else list(JobState)


PAIRS = [(before, kind, after) for before in BEFORE for kind in JOB_EVENTS for after in afters(before, kind)]


def event_of(kind: type[e.JobEvent], after: JobState, scene: Scene) -> Any:
    """An event that is right in all but the state it meets."""
    job = scene.job(1)
    fence = job.fence if job is not None and job.fence else 77
    seq = scene.partition.state.next_seq
    made: dict[type[e.JobEvent], Any] = {
        e.JobSubmitted: submitted(1, seq, state=after, due_ms=5 if after is JobState.SCHEDULED else 0),
        e.JobDue: e.JobDue(job_id(1), seq),
        e.JobLeased: e.JobLeased(job_id(1), 1, scene.partition.state.next_fence, 1),
        e.JobSucceeded: e.JobSucceeded(job_id(1), fence, 0, 0, 0),
        e.JobFailed: e.JobFailed(job_id(1), fence, after, 5, 0, 0, 0),
        e.JobReleased: e.JobReleased(job_id(1), fence),
        e.JobMisfit: e.JobMisfit(job_id(1), fence),
        e.JobCrashed: e.JobCrashed(job_id(1), fence, after, 3),
        e.JobCancelled: e.JobCancelled(job_id(1)),
        e.JobStopping: e.JobStopping(job_id(1), fence),
        e.JobExpired: e.JobExpired(job_id(1), Cause.DEADLINE),
    }
    return made[kind]


def scene_with(before: JobState | None) -> Scene:
    """A scene whose job 1 is in the state; session 1 is a worker with a slot."""
    scene = Scene()
    session = scene.worker(slots=1)
    assert session == 1
    if before in (JobState.RUNNING, JobState.STOPPING):
        scene.submit(new_job(1))
        if before is JobState.STOPPING:
            scene.ask(CancelJob(job_id(1), NAMESPACE))
    elif before is not None:
        scene.submit(new_job(2), new_job(1, delay_ms=5_000 if before is JobState.SCHEDULED else 0))
        job = scene.job(1)
        assert job is not None
        if before not in (JobState.SCHEDULED, JobState.READY):
            # No command leads there in this version: the state is put in place by hand.
            job.state = before
    return scene


@pytest.mark.parametrize(("before", "kind", "after"), PAIRS)
def test_an_event_changes_a_job_as_the_table_says_or_not_at_all(
    before: JobState | None, kind: type[e.JobEvent], after: JobState
) -> None:
    scene = scene_with(before)
    state = scene.partition.state
    found = scene.job(1)
    assert (found.state if found is not None else None) is before
    event = event_of(kind, after, scene)
    at = Moment(scene.position + 1, scene.clock.wall_ms)
    was = state.journaled_part()
    if after in NEXT_STATE.get((before, kind), ()):
        apply(state, event, b"", at)
        job = state.jobs.get(job_id(1))
        assert job is None if after in TERMINAL else job is not None and job.state is after
    else:
        with pytest.raises(IllegalChange):
            apply(state, event, b"", at)
        assert state.journaled_part() == was
        assert at.effects == []


@pytest.mark.parametrize("kind", [e.JobSucceeded, e.JobFailed, e.JobReleased, e.JobMisfit, e.JobCrashed, e.JobStopping])
def test_an_end_under_another_fence_is_illegal(kind: type[e.JobEvent]) -> None:
    scene = scene_with(JobState.RUNNING)
    after = FIXED.get(kind, JobState.READY if kind in (e.JobReleased, e.JobMisfit) else JobState.DEAD)
    event = event_of(kind, after, scene)
    event.fence += 1
    was = scene.partition.state.journaled_part()
    with pytest.raises(IllegalChange, match="fence"):
        apply(scene.partition.state, event, b"", Moment(9, 9))
    assert scene.partition.state.journaled_part() == was


@pytest.mark.parametrize(("session", "fence"), [(1, 0), (99, 50)])
def test_a_lease_to_nobody_or_under_an_old_fence_is_illegal(session: int, fence: int) -> None:
    scene = scene_with(JobState.READY)
    was = scene.partition.state.journaled_part()
    with pytest.raises(IllegalChange, match="cannot lease"):
        apply(scene.partition.state, e.JobLeased(job_id(1), session, fence, 1), None, Moment(9, 9))
    assert scene.partition.state.journaled_part() == was


def test_a_lease_of_a_job_that_stands_in_no_line_is_illegal() -> None:
    scene = scene_with(JobState.READY)
    scene.submit(new_job(3))
    scene.partition.state.queues[NAMESPACE, "default"].lane.take(scene.job(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not stand in this line"):
        apply(scene.partition.state, e.JobLeased(job_id(3), 1, 50, 1), None, Moment(9, 9))


def test_a_lease_before_its_turn_is_one_of_a_worker_that_did_not_take_what_stood_before() -> None:
    scene = scene_with(JobState.READY)
    scene.submit(new_job(3))
    apply(scene.partition.state, e.JobLeased(job_id(3), 1, 50, 1), None, Moment(9, 9))
    assert job_id(3) in scene.running()[1]


@pytest.mark.parametrize("number", [1, 42])
def test_the_end_of_a_session_with_leases_or_of_an_unknown_one_is_illegal(number: int) -> None:
    scene = scene_with(JobState.RUNNING)
    was = scene.partition.state.journaled_part()
    with pytest.raises(IllegalChange, match="cannot end"):
        apply(scene.partition.state, e.SessionEnded(number, SessionEnd.GOODBYE), None, Moment(9, 9))
    assert scene.partition.state.journaled_part() == was


def test_a_terminal_state_has_no_way_out() -> None:
    assert not [before for before, _ in NEXT_STATE if before in TERMINAL]


def test_the_diagram_in_the_docs_is_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "job-states.md"
    assert mermaid() in page.read_text(encoding="utf-8")
