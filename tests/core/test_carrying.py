"""Records that are written again, and replays that begin at a base: nothing that lives is lost, and nothing returns."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core import homes
from aioqueue.core.machine import IllegalChange
from aioqueue.core.nouns import Job
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.states import JobState
from tests.support.scene import NAMESPACE, Scene, arguments_in, job_id, kinds, new_job, seen_session

TWICE = RetryPolicy(attempts=2, base_ms=5_000, jitter=False)


@pytest.fixture(autouse=True)
def _homes_are_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "HOME_POSITIONS", 1)


def seen_jobs(scene: Scene) -> list[c.CarriedJob]:
    jobs = scene.partition.state.jobs.values()
    return [c.CarriedJob(job.id, job.home, arguments_in(scene.batches, job)) for job in jobs]


def rebased(scene: Scene) -> int:
    """Carry everything, and begin there; the base."""
    scene.carry()
    base = scene.position
    assert scene.move_base(base)
    return base


def events_of(scene: Scene, position: int) -> list[Any]:
    return list(decode_events(scene.batches[position - 1].events, "scene"))


def busy_scene() -> Scene:
    """A job in every living state, with failures, crashes, an older generation and headers among them."""
    scene = Scene()
    poison = scene.worker("poison")
    scene.submit(new_job(1))
    scene.ask(c.EndSession(poison, c.SessionEnd.DIED))
    first = scene.worker("w1", slots=1)
    scene.submit(replace(new_job(2, retry=TWICE), extra=b"headers"))
    scene.settle(first, 1, c.RunEnd.FAILED, retry=False)
    scene.settle(first, 2, c.RunEnd.FAILED)
    scene.ask(c.RequeueJob(job_id(1), NAMESPACE))
    scene.submit(new_job(3), new_job(4), new_job(5, delay_ms=60_000), new_job(6), new_job(7))
    scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    second = scene.worker("w2", slots=1)
    dying = scene.worker("w3", slots=1)
    scene.ask(c.EndSession(dying, c.SessionEnd.DIED))
    assert all(scene.running()[number] for number in (first, second))
    return scene


def test_every_field_of_a_job_is_carried() -> None:
    scene = busy_scene()
    before = {key: replace(job) for key, job in scene.partition.state.jobs.items()}
    states = {job.state for job in before.values()}
    assert states >= {JobState.READY, JobState.RUNNING, JobState.SCHEDULED, JobState.STOPPING}
    for name in {*Job.__struct_fields__} - {"id", "spec", "home", "place"}:
        assert any(getattr(job, name) for job in before.values()), f"no job of this scene has {name}"
    base = rebased(scene)
    found = scene.replayed(base).state.jobs
    assert {key: replace(job, home=0, place=0) for key, job in found.items()} == {
        key: replace(job, home=0, place=0) for key, job in before.items()
    }
    for number in (1, 2, 3, 4, 5, 6, 7):
        assert arguments_in(scene.batches, found[job_id(number)]) == b"args %d" % number


def test_a_broker_that_begins_at_a_base_goes_on_as_if_nothing_had_happened() -> None:
    scene = busy_scene()
    base = rebased(scene)
    holding = {key: list(leases) for key, leases in scene.running().items() if leases}
    scene.partition = scene.replayed(base)
    scene.partition.begin(scene.clock.now())
    assert {key: list(leases) for key, leases in scene.running().items() if leases} == holding
    session = scene.session("w2")
    scene.ask(c.ResumeSession(session, [c.HeldRun(*held) for held in scene.held[session].items()], []))
    scene.ask(c.OfferCapacity(session, 1, ("default",)))
    for _ in range(12):
        for key in list(scene.running().get(session, ())):
            scene.ask(c.SettleRuns(session, [c.EndRun(key, scene.held[session][key], c.RunEnd.SUCCEEDED, b"r")]))
    scene.pass_ms(61_000)


def test_carrying_owes_nothing_to_anybody() -> None:
    scene = busy_scene()
    items = seen_jobs(scene)
    step = scene.step(c.CarryItems(items, []))
    assert set(kinds(step)) == {"JobCarried"}
    assert step.effects == []


def test_a_job_that_is_over_or_has_moved_is_not_carried() -> None:
    scene = Scene()
    scene.submit(new_job(1), new_job(2), new_job(3))
    seen = seen_jobs(scene)
    scene.carry(2)
    scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    scene.ask(c.RequeueJob(job_id(1), NAMESPACE))
    scene.ask(c.CancelJob(job_id(3), NAMESPACE))
    step = scene.step(c.CarryItems(seen, [seen_session(99, 1)]))
    assert (step.replies, step.events) == ([0], [])


def test_a_session_that_is_over_or_has_moved_is_not_carried() -> None:
    scene = busy_scene()
    seen = [seen_session(each.number, each.home) for each in scene.partition.state.sessions.values()]
    scene.carry()
    step = scene.step(c.CarryItems([], seen))
    assert step.events == []


def test_the_base_stays_below_every_home() -> None:
    scene = Scene()
    scene.submit(new_job(1))
    scene.submit(new_job(2))
    home = scene.partition.state.jobs[job_id(1)].home
    assert not scene.move_base(home + 1)
    scene.carry(1)
    assert scene.move_base(home + 1)
    assert not scene.move_base(home + 1), "it is there already"
    assert not scene.move_base(home)


def test_what_a_carried_job_was_before_is_passed_over_from_the_base_on() -> None:
    scene = Scene()
    first = scene.worker("w1", slots=3)
    scene.submit(new_job(1, retry=TWICE), new_job(2), new_job(3))
    scene.submit(new_job(4, delay_ms=10))
    base = scene.position + 1
    # From here on things happen to jobs and a session that such a replay has never heard of.
    scene.settle(first, 1, c.RunEnd.FAILED)
    scene.settle(first, 2)
    scene.settle(first, 3, c.RunEnd.RELEASED)
    scene.pass_ms(20)
    scene.submit(new_job(5))
    scene.ask(c.CancelJob(job_id(4), NAMESPACE))
    scene.ask(c.EndSession(first, c.SessionEnd.GOODBYE))
    second = scene.worker("w2", slots=2)
    scene.ask(c.CancelJob(job_id(5), NAMESPACE))
    scene.carry()
    assert scene.move_base(base)
    scene.settle(second, 3)
    assert scene.replayed(base).state.journaled_part() == scene.partition.state.journaled_part()


def test_a_job_may_be_leased_to_a_session_that_is_carried_later() -> None:
    scene = Scene()
    session = scene.worker("w1", slots=2)
    scene.submit(new_job(1))
    base = scene.position + 1
    scene.submit(new_job(2))
    assert scene.running()[session] == [job_id(1), job_id(2)]
    scene.carry()
    assert scene.move_base(base)
    twin = scene.replayed(base).state
    assert twin.sessions[session].name == "w1"
    assert set(twin.sessions[session].leases) == {job_id(1), job_id(2)}


def test_the_counters_go_on_where_nothing_is_left_to_tell_of_them() -> None:
    scene = Scene()
    session = scene.worker("w1")
    scene.submit(new_job(1))
    scene.settle(session, 1)
    scene.ask(c.EndSession(session, c.SessionEnd.GOODBYE))
    base = scene.position
    assert scene.move_base(base)
    was = scene.partition.state
    state = scene.replayed(base).state
    assert (state.next_seq, state.next_fence, state.next_session) == (was.next_seq, was.next_fence, was.next_session)


def test_carried_jobs_keep_their_places() -> None:
    scene = Scene()
    for number in range(1, 7):
        scene.submit(new_job(number, priority=7 if number == 4 else 5))
    scene.carry(5, 1, 3)
    scene.carry(6, 4, 2)
    base = scene.position - 1
    assert scene.move_base(base)
    scene.submit(new_job(7))
    state = scene.replayed(base).state
    lane = [job.id for job in state.queues[NAMESPACE, "default"].lane.in_order()]
    assert lane == [job_id(number) for number in (4, 1, 2, 3, 5, 6, 7)]
    assert list(state.jobs)[-1] == job_id(7), "lists show what was submitted last first"


def torn(scene: Scene, base: int, *events: e.Event) -> Partition:
    """A replay from the base of the scene's journal, and then of what it never held."""
    twin = scene.replayed(base)
    twin.replay(events, b"", scene.position + 1, scene.clock.wall_ms)
    return twin


def test_behind_the_head_an_unknown_job_is_illegal() -> None:
    scene = busy_scene()
    base = rebased(scene)
    with pytest.raises(IllegalChange, match="no job"):
        torn(scene, base, e.JobCancelled(job_id(99)))
    carried = events_of(scene, base)[-1]
    with pytest.raises(IllegalChange, match="not known"):
        torn(scene, base, replace(carried, id=job_id(99), body_bytes=0, body_crc=0))
    with pytest.raises(IllegalChange, match="not known"):
        torn(scene, base, e.SessionCarried(99, b"x", "default", "w"))


def test_an_unknown_job_between_the_head_and_its_record_is_illegal() -> None:
    scene = Scene()
    scene.submit(new_job(1))
    scene.submit(new_job(2))
    scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    late = e.BaseMoved(2, 2, 9, 9, 9)
    twin = Partition()
    twin.start_at(2)
    for batch in scene.batches[1:]:
        twin.replay(decode_events(batch.events, "scene"), batch.bodies, batch.position, batch.wall_ms)
    with pytest.raises(IllegalChange, match="never heard of"):
        twin.replay([late], b"", scene.position + 1, scene.clock.wall_ms)
    assert twin.state.partial


def test_a_session_that_is_never_told_of_is_illegal() -> None:
    scene = Scene()
    scene.worker("w1")
    scene.submit(new_job(1))
    scene.carry(1)
    twin = Partition()
    twin.start_at(2)
    batch = scene.batches[-1]
    twin.replay(decode_events(batch.events, "scene"), batch.bodies, 2, batch.wall_ms)
    with pytest.raises(IllegalChange, match="never heard of"):
        twin.replay([e.BaseMoved(2, 2, 9, 9, 9)], b"", 3, 1)


def test_a_record_that_says_otherwise_than_what_is_known_is_illegal() -> None:
    scene = busy_scene()
    base = rebased(scene)
    for event in events_of(scene, base):
        if isinstance(event, e.JobCarried):
            with pytest.raises(IllegalChange, match="another record"):
                torn(scene, base, replace(event, runs=event.runs + 1, body_offset=0, body_bytes=0, body_crc=0))


def test_an_older_base_on_the_way_is_passed_over() -> None:
    scene = busy_scene()
    first = rebased(scene)
    second = rebased(scene)
    third = second + 1
    assert scene.replayed(first).state.journaled_part() == scene.replayed(second).state.journaled_part()
    scene.carry()
    assert scene.move_base(third)
    assert scene.replayed(third).state.journaled_part() == scene.partition.state.journaled_part()
