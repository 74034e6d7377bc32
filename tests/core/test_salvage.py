"""What is kept of jobs around a gap: for every gap in a history in which everything happens, and case by case."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core import salvage
from aioqueue.core.invariants import History, check_state
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events, encode_events
from aioqueue.core.salvage import Rescue
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.states import TERMINAL, JobState
from tests.support.scene import NAMESPACE, ONCE, Scene, Written, arguments_in, job_id, new_job, seen_part

NOW_MS = 1_800_000_000_000


class Salvaged(NamedTuple):
    rescue: Rescue
    partition: Partition
    batches: list[Written]

    def replayed(self) -> Partition:
        twin = Partition()
        for batch in self.batches:
            twin.replay(decode_events(batch.events, "salvaged"), batch.bodies, batch.position, batch.wall_ms)
        return twin


def salvaged(batches: list[Written], first: int, last: int, known: tuple[bytes, ...] = ()) -> Salvaged:
    """The batches from `first` to `last` are lost; `known` to be over are these jobs."""
    partition = Partition()
    kept = batches[: first - 1]
    for batch in kept:
        partition.replay(decode_events(batch.events, "scene"), batch.bodies, batch.position, batch.wall_ms)
    rescue = Rescue(partition)
    for batch in batches[last:]:
        rescue.take(decode_events(batch.events, "scene"), batch.bodies, batch.wall_ms)
    living = rescue.living()
    rescue.drop(known)
    whole = list(kept)
    for found in rescue.batches(len(kept), NOW_MS):
        whole.append(Written(len(whole) + 1, found.wall_ms, encode_events(found.events), b"".join(found.bodies)))
    jobs = {job.id: job.generation for job in partition.state.jobs.values()}
    assert jobs == {key: generation for key, generation in living.items() if key not in known}
    return Salvaged(rescue, partition, whole)


def told(batches: list[Written]) -> list[e.Event]:
    return [event for batch in batches for event in decode_events(batch.events, "scene")]


def ends(batches: list[Written]) -> set[bytes]:
    """Jobs whose last word here is an end."""
    over: set[bytes] = set()
    for event in told(batches):
        if isinstance(event, e.JobSubmitted):
            over.discard(event.id)
        elif isinstance(event, e.JobSucceeded | e.JobCancelled) or getattr(event, "state", None) in TERMINAL:
            over.add(event.id)
    return over


@pytest.fixture
def eventful(scene: Scene) -> Scene:
    """A history of two workers in which jobs end in every way, wait, retry, are given back, crash and come back."""
    twice = RetryPolicy(attempts=2, base_ms=1_000)
    first, second = scene.worker("w1", 2), scene.worker("w2", 1)
    scene.submit(*(new_job(number) for number in range(1, 5)))
    scene.submit(new_job(5, delay_ms=60_000), new_job(6, delay_ms=500))
    scene.settle(first, 1)
    scene.settle(second, 3, c.RunEnd.FAILED, retry=False)
    scene.submit(new_job(7, retry=twice), new_job(8, retry=ONCE, priority=9), new_job(9))
    scene.settle(first, 2, c.RunEnd.RELEASED)
    scene.pass_ms(600)
    scene.ask(c.CancelJob(job_id(9), NAMESPACE))
    scene.step(c.EndSession(second, c.SessionEnd.DIED))
    for number in (2, 4, 6, 7, 8):
        scene.settle(first, number, c.RunEnd.FAILED if number == 7 else c.RunEnd.SUCCEEDED)
    scene.pass_ms(1_500)
    third = scene.worker("w3", 1)
    for number in (2, 4, 6, 7, 8):
        scene.settle(first, number)
        scene.settle(third, number)
    scene.ask(c.RequeueJob(job_id(3), NAMESPACE))
    scene.submit(new_job(10, body=b"the last"), new_job(11))
    scene.settle(first, 10, c.RunEnd.RELEASED)
    assert len(scene.batches) > 15
    return scene


def test_what_is_kept_around_any_gap_is_legal_and_complete(eventful: Scene) -> None:
    batches = eventful.batches
    for first in range(1, len(batches) + 1):
        for last in range(first, len(batches) + 1):
            kept, behind = batches[: first - 1], batches[last:]
            found = salvaged(batches, first, last)
            history = History()
            broken = [
                sentence
                for batch in found.batches
                for sentence in history.observe(decode_events(batch.events, "x"), batch.wall_ms, batch.position)
            ]
            # An earlier generation may be in the gap; all else must be as if nothing had been lost.
            assert [x for x in broken if "was requeued" not in x and "follows generation" not in x] == [], (first, last)
            state = found.partition.state
            assert check_state(state) == []
            assert state.journaled_part() == found.replayed().state.journaled_part()
            assert state.sessions == {}
            assert {job.state for job in state.jobs.values()} <= {JobState.READY, JobState.SCHEDULED}
            submitted = {event.id for event in told(kept + behind) if isinstance(event, e.JobSubmitted)}
            over = ends(kept + behind)
            assert state.jobs.keys() == submitted - over, (first, last)
            assert (
                found.rescue.lost
                == {event.id for event in told(behind) if isinstance(event, e.JobEvent)} - submitted - over
            )


def test_without_a_gap_the_history_is_kept_and_leases_are_given_back(eventful: Scene) -> None:
    found = salvaged(eventful.batches, len(eventful.batches) + 1, len(eventful.batches))
    assert found.batches[: len(eventful.batches)] == eventful.batches
    ended = told(found.batches[len(eventful.batches) :])
    assert {type(event) for event in ended} == {e.JobReleased, e.SessionEnded}
    before = eventful.partition.state.jobs
    assert found.partition.state.jobs.keys() == before.keys()
    for job in found.partition.state.jobs.values():
        was = before[job.id]
        assert (job.failures, job.crashes, job.seq) == (was.failures, was.crashes, was.seq)
        assert arguments_in(found.batches, job) == arguments_in(eventful.batches, was)


def test_a_run_that_was_on_at_the_gap_ends_as_it_did(scene: Scene) -> None:
    worker = scene.worker(slots=2)
    scene.submit(new_job(1), new_job(2))
    scene.clock.advance(1_000)
    scene.settle(worker, 1)
    scene.settle(worker, 2, c.RunEnd.FAILED, retry=False)
    # A batch of each submit and settle; the gap is empty, and everything behind the submit is told as behind it.
    start = next(b.position for b in scene.batches if any(isinstance(x, e.JobSubmitted) for x in told([b])))
    found = salvaged(scene.batches, start + 1, start)
    assert found.partition.state.jobs == {}
    ended = found.batches[start:][:2]
    assert [type(told([batch])[0]) for batch in ended] == [e.JobSucceeded, e.JobFailed] or len(told([ended[0]])) == 2
    assert ended[0].wall_ms == scene.batches[start].wall_ms
    assert b"result" in ended[0].bodies


def test_a_job_whose_end_is_behind_the_gap_and_whose_lease_is_in_it_does_not_run_again(scene: Scene) -> None:
    scene.submit(new_job(1), new_job(2))
    worker = scene.worker(slots=1)
    leased = scene.position
    scene.settle(worker, 1)
    found = salvaged(scene.batches, leased, leased)
    assert [type(event) for event in told(found.batches[leased - 1 :])] == [e.JobCancelled]
    assert list(found.partition.state.jobs) == [job_id(2)]


def test_a_job_submitted_behind_the_gap_keeps_its_id_body_and_time(scene: Scene) -> None:
    scene.submit(new_job(1))
    scene.clock.advance(5_000)
    scene.submit(new_job(2, body=b"mine", delay_ms=60_000))
    found = salvaged(scene.batches, 1, 1)
    job = found.partition.state.jobs[job_id(2)]
    assert (arguments_in(found.batches, job), job.state, job.due_ms) == (
        b"mine",
        JobState.SCHEDULED,
        scene.job(2).due_ms,
    )
    assert job.submitted_ms == scene.clock.wall_ms
    assert job_id(1) not in found.partition.state.jobs
    scene.clock.advance(5_000)
    scene.submit(new_job(3))
    jobs = salvaged(scene.batches, 1, 1).partition.state.jobs
    assert (jobs[job_id(2)].submitted_ms, jobs[job_id(3)].submitted_ms) == (job.submitted_ms, scene.clock.wall_ms)


def test_a_job_that_was_requeued_behind_the_gap_lives_in_its_new_generation(scene: Scene) -> None:
    worker = scene.worker()
    scene.submit(new_job(1, retry=ONCE))
    living = scene.position
    scene.settle(worker, 1, c.RunEnd.FAILED)
    scene.ask(c.RequeueJob(job_id(1), NAMESPACE))
    found = salvaged(scene.batches, living + 1, living + 1)
    assert found.partition.state.jobs[job_id(1)].generation == 1


def test_a_job_that_is_known_to_be_over_does_not_run_again(scene: Scene) -> None:
    scene.submit(new_job(1))
    scene.submit(new_job(2))
    scene.submit(new_job(3))
    found = salvaged(scene.batches, 2, 2, known=(job_id(1), job_id(3)))
    assert found.partition.state.jobs == {}


def test_many_jobs_are_submitted_again_in_batches_that_are_not_too_large(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salvage, "BATCH_EVENTS_TARGET", 4)
    monkeypatch.setattr(salvage, "BATCH_BYTES_TARGET", 100)
    scene.submit(new_job(1))
    scene.submit(*(new_job(number, body=b"x" * (40 if number < 10 else 1)) for number in range(2, 20)))
    found = salvaged(scene.batches, 1, 1)
    sizes = [len(told([batch])) for batch in found.batches]
    assert sizes == [3, 3, 4, 4, 4]
    assert [job.id for job in sorted(found.partition.state.jobs.values(), key=lambda job: job.seq)] == [
        job_id(number) for number in range(2, 20)
    ]


def staged_around_a_gap(*, commit: bool) -> Salvaged:
    """Job 1 was staged before the gap, job 2 in it, jobs 3 and 4 behind it."""
    scene = Scene()
    bulk = b"b" * 16
    scene.step(c.StageBulk(bulk, NAMESPACE, 0, [new_job(1)]))
    scene.step(c.StageBulk(bulk, NAMESPACE, 1, [new_job(2)]))
    scene.step(c.StageBulk(bulk, NAMESPACE, 2, [new_job(3), new_job(4, delay_ms=60_000)]))
    if commit:
        scene.step(c.CommitBulk(bulk, NAMESPACE, 3, job_id(1)))
    return salvaged(scene.batches, 2, 2)


def test_a_bulk_that_was_committed_behind_the_gap_is_kept_but_for_what_was_in_it() -> None:
    found = staged_around_a_gap(commit=True)
    found.partition.step([], Scene().clock.now(), 99)
    jobs = found.partition.state.jobs
    assert {key: job.state for key, job in jobs.items()} == {
        job_id(1): JobState.READY, job_id(3): JobState.READY, job_id(4): JobState.SCHEDULED,
    }  # fmt: skip
    assert check_state(found.partition.state) == []


def test_a_bulk_that_is_not_known_to_have_been_committed_does_not_run() -> None:
    found = staged_around_a_gap(commit=False)
    assert {key: job.state for key, job in found.partition.state.jobs.items()} == {job_id(1): JobState.BLOCKED}
    assert check_state(found.partition.state) == []


@pytest.mark.parametrize("commit", [False, True])
def test_a_job_that_was_carried_while_it_waited_for_its_bulk_runs_only_if_that_was_committed(commit: bool) -> None:
    scene = Scene()
    bulk = b"b" * 16
    scene.submit(new_job(1))
    scene.step(c.StageBulk(bulk, NAMESPACE, 0, [new_job(2), new_job(3, delay_ms=60_000)]))
    jobs = scene.partition.state.jobs.values()
    carried = [c.CarriedJob(job.id, job.home, arguments_in(scene.batches, job)) for job in jobs]
    word = [c.CommitBulk(bulk, NAMESPACE, 1, job_id(2))] if commit else []
    scene.step(*word, c.CarryItems(carried, [seen_part(bulk, 0, 2)]))
    found = salvaged(scene.batches, 2, 2)
    states = {job_id(1): JobState.READY}
    if commit:
        states |= {job_id(2): JobState.READY, job_id(3): JobState.SCHEDULED}
    assert {key: job.state for key, job in found.partition.state.jobs.items()} == states
    assert check_state(found.partition.state) == []
