"""Bulks: jobs in many parts that are accepted together, or not at all."""

from __future__ import annotations

import pytest

from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core import homes
from aioqueue.core.admission import BacklogLimits
from aioqueue.core.apply import Moment, apply
from aioqueue.core.invariants import check_state
from aioqueue.core.machine import IllegalChange
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events
from aioqueue.errors import BadOption, BulkUnknown, JobNotFound, QueueFull, TooManyBulks
from aioqueue.limits import BULK_FREED_MAX, BULK_OPEN_MS, BULKS_MAX, HOME_POSITIONS, KEEP_DROPPED_MS
from aioqueue.model.states import BulkPhase, JobState
from tests.support.scene import NAMESPACE, Scene, job_id, kinds, new_job, seen_part, seen_session

BULK = b"b" * 16


def stage(scene: Scene, part: int, *jobs: c.NewJob, bulk: bytes = BULK) -> int:
    parts: int = scene.ask(c.StageBulk(bulk, NAMESPACE, part, list(jobs)))
    return parts


def commit(scene: Scene, parts: int, first: int = 1, bulk: bytes = BULK) -> None:
    scene.ask(c.CommitBulk(bulk, NAMESPACE, parts, job_id(first)))


def states(scene: Scene, *numbers: int) -> list[JobState | None]:
    return [None if (job := scene.job(number)) is None else job.state for number in numbers]


def settle_down(scene: Scene) -> None:
    """Steps until nothing is left to do."""
    while scene.step().more:
        pass


def test_no_job_of_a_bulk_runs_before_it_is_committed(scene: Scene) -> None:
    session = scene.worker(slots=5)
    assert stage(scene, 0, new_job(1), new_job(2)) == 1
    assert stage(scene, 1, new_job(3)) == 2
    settle_down(scene)
    assert states(scene, 1, 2, 3) == [JobState.BLOCKED] * 3
    commit(scene, 2)
    settle_down(scene)
    assert list(scene.held[session]) == [job_id(1), job_id(2), job_id(3)]
    assert scene.partition.state.bulks == {}


def test_a_restart_at_any_step_forgets_nothing_of_a_bulk(scene: Scene) -> None:
    jobs = BULK_FREED_MAX + 10
    stage(scene, 0, *(new_job(number) for number in range(1, jobs)))
    scene.restart()
    stage(scene, 1, new_job(jobs))
    scene.restart()
    commit(scene, 2)
    scene.restart()
    assert scene.step().more
    scene.restart()
    settle_down(scene)
    assert states(scene, *range(1, jobs + 1)) == [JobState.READY] * jobs
    assert [scene.job(n).seq for n in range(1, jobs + 1)] == sorted(scene.job(n).seq for n in range(1, jobs + 1))  # type: ignore[union-attr]


def test_the_jobs_of_a_large_bulk_are_freed_some_at_a_time(scene: Scene) -> None:
    scene.judging = False
    jobs = 2 * BULK_FREED_MAX + 1
    stage(scene, 0, *(new_job(number) for number in range(1, jobs + 1)))
    commit(scene, 1)
    freed = []
    while scene.partition.state.bulks:
        step = scene.step()
        freed += [event.taken for event in step.events if isinstance(event, e.BulkFreed)]
    assert freed == [BULK_FREED_MAX, BULK_FREED_MAX, 1]
    scene.judge()


def test_a_part_that_comes_again_is_answered_and_adds_nothing(scene: Scene) -> None:
    stage(scene, 0, new_job(1))
    stage(scene, 1, new_job(2))
    assert stage(scene, 0, new_job(1)) == 2
    assert stage(scene, 1, new_job(2)) == 2
    commit(scene, 2)
    settle_down(scene)
    assert states(scene, 1, 2) == [JobState.READY] * 2


def test_a_commit_that_comes_again_is_answered_though_the_bulk_and_its_first_job_are_over(scene: Scene) -> None:
    session = scene.worker()
    stage(scene, 0, new_job(1))
    commit(scene, 1)
    commit(scene, 1)
    settle_down(scene)
    commit(scene, 1)
    scene.settle(session, 1)
    assert scene.job(1) is None
    commit(scene, 1)


def test_what_the_broker_does_not_have_is_not_committed(scene: Scene) -> None:
    with pytest.raises(BulkUnknown):
        commit(scene, 1)
    with pytest.raises(BulkUnknown):
        stage(scene, 1, new_job(2))
    stage(scene, 0, new_job(1))
    with pytest.raises(BulkUnknown):
        commit(scene, 2)
    with pytest.raises(BulkUnknown):
        stage(scene, 2, new_job(3))
    with pytest.raises(BulkUnknown):
        scene.ask(c.CommitBulk(BULK, "other", 1, job_id(1)))
    with pytest.raises(BulkUnknown):
        scene.ask(c.StageBulk(BULK, "other", 1, [new_job(2)]))
    assert states(scene, 1, 2, 3) == [JobState.BLOCKED, None, None]


def test_a_bulk_that_is_dropped_is_cancelled_whole(scene: Scene) -> None:
    scene.worker(slots=5)
    stage(scene, 0, *(new_job(number) for number in range(1, BULK_FREED_MAX + 3)))
    scene.ask(c.DropBulk(BULK, NAMESPACE))
    scene.restart()
    with pytest.raises(BulkUnknown):
        commit(scene, 1)
    settle_down(scene)
    assert len(scene.archive) == BULK_FREED_MAX + 2
    assert {finished.state for finished in scene.archive.values()} == {JobState.CANCELLED}
    assert scene.held == {}
    with pytest.raises(BulkUnknown):
        stage(scene, 1, new_job(9_999))


@pytest.mark.parametrize(("asked_ms", "kept_ms"), [(-1, KEEP_DROPPED_MS), (10**9, KEEP_DROPPED_MS), (5, 5)])
def test_the_jobs_of_a_bulk_that_was_dropped_are_not_kept_for_long(scene: Scene, asked_ms: int, kept_ms: int) -> None:
    stage(scene, 0, new_job(1, keep_ms=asked_ms))
    scene.ask(c.DropBulk(BULK, NAMESPACE))
    settle_down(scene)
    assert scene.archive[job_id(1)].keep_ms == kept_ms


def test_a_bulk_that_is_committed_or_of_another_namespace_is_not_dropped(scene: Scene) -> None:
    stage(scene, 0, new_job(1))
    scene.ask(c.DropBulk(BULK, "other"))
    commit(scene, 1)
    scene.ask(c.DropBulk(BULK, NAMESPACE))
    scene.ask(c.DropBulk(b"?" * 16, NAMESPACE))
    settle_down(scene)
    assert states(scene, 1) == [JobState.READY]


def test_a_bulk_of_which_nothing_is_heard_for_long_is_cancelled_and_a_restart_gives_it_the_time_again(
    scene: Scene,
) -> None:
    stage(scene, 0, new_job(1))
    scene.pass_ms(BULK_OPEN_MS - 1)
    scene.restart()
    scene.pass_ms(BULK_OPEN_MS - 1)
    stage(scene, 1, new_job(2))
    scene.pass_ms(BULK_OPEN_MS - 1)
    assert states(scene, 1, 2) == [JobState.BLOCKED] * 2
    scene.pass_ms(1_000)
    settle_down(scene)
    assert states(scene, 1, 2) == [None, None]
    assert scene.partition.next_due(scene.clock.now()) is None


def test_a_part_that_is_said_again_is_heard_of_its_bulk(scene: Scene) -> None:
    stage(scene, 0, new_job(1))
    scene.pass_ms(BULK_OPEN_MS - 1)
    assert stage(scene, 0, new_job(1)) == 1
    scene.pass_ms(BULK_OPEN_MS - 1)
    settle_down(scene)
    assert states(scene, 1) == [JobState.BLOCKED]


def test_a_bulk_whose_next_part_stands_in_line_is_not_silent(scene: Scene) -> None:
    stage(scene, 0, new_job(1))
    scene.clock.advance(BULK_OPEN_MS)
    waiting = [c.StageBulk(BULK, NAMESPACE, 1, [new_job(2)])]
    now = scene.clock.now()
    scene.partition.step([], now, scene.position + 1, behind=waiting, heard_up_to_ms=now.mono_ms)
    assert states(scene, 1) == [JobState.BLOCKED]


def test_a_bulk_is_judged_as_of_the_instant_up_to_which_all_was_heard(scene: Scene) -> None:
    stage(scene, 0, new_job(1))
    heard_up_to_ms = scene.clock.mono_ms + BULK_OPEN_MS
    scene.clock.advance(10 * BULK_OPEN_MS)
    assert scene.partition.seems_silent(scene.clock.now())
    for too_early in (None, heard_up_to_ms - 1):
        scene.partition.step([], scene.clock.now(), scene.position + 1, heard_up_to_ms=too_early)
        assert states(scene, 1) == [JobState.BLOCKED]
    scene.partition.step([], scene.clock.now(), scene.position + 1, heard_up_to_ms=heard_up_to_ms)
    assert states(scene, 1) == [None]


def test_nothing_is_added_to_a_bulk_that_was_committed(scene: Scene) -> None:
    stage(scene, 0, new_job(1))
    step = scene.step(
        c.CommitBulk(BULK, NAMESPACE, 1, job_id(1)),
        *(c.StageBulk(BULK, NAMESPACE, part, [new_job(2 + part)]) for part in (0, 1, 2)),
    )
    assert step.replies[:2] == [None, 1]
    assert all(isinstance(reply, BadOption) for reply in step.replies[2:])
    settle_down(scene)
    assert states(scene, 1, 2, 3, 4) == [JobState.READY, None, None, None]


def test_a_client_that_stages_an_id_twice_breaks_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    # It broke I14 itself.
    scene.judging = False
    monkeypatch.setattr(scene.history, "observe", lambda *batch: [])
    for part in (0, 1):
        stage(scene, part, new_job(1))
        scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    stage(scene, 2, new_job(1), new_job(2))
    scene.ask(c.DropBulk(BULK, NAMESPACE))
    settle_down(scene)
    assert states(scene, 1, 2) == [None, None]


def test_a_bulk_is_open_longer_by_the_time_in_which_the_broker_stood_still(scene: Scene) -> None:
    stage(scene, 0, new_job(1))
    scene.pass_ms(1_000)
    scene.clock.advance(BULK_OPEN_MS)
    scene.step(c.SkipTime(BULK_OPEN_MS))
    scene.pass_ms(BULK_OPEN_MS - 1_001)
    settle_down(scene)
    assert states(scene, 1) == [JobState.BLOCKED]
    scene.pass_ms(1_000)
    settle_down(scene)
    assert states(scene, 1) == [None]


def test_a_delayed_job_of_a_bulk_is_due_as_if_it_had_been_submitted_when_it_was_staged(scene: Scene) -> None:
    scene.worker(slots=5)
    stage(scene, 0, new_job(1, delay_ms=1_000), new_job(2, delay_ms=5_000))
    scene.pass_ms(1_500)
    commit(scene, 1)
    settle_down(scene)
    assert states(scene, 1, 2) == [JobState.RUNNING, JobState.SCHEDULED]
    scene.pass_ms(3_500)
    assert states(scene, 2) == [JobState.READY]


def test_a_job_that_was_cancelled_while_it_waited_for_its_bulk_never_runs(scene: Scene) -> None:
    stage(scene, 0, new_job(1), new_job(2), new_job(3))
    assert scene.ask(c.CancelJob(job_id(2), NAMESPACE)) == "cancelled"
    commit(scene, 1)
    assert scene.ask(c.CancelJob(job_id(3), NAMESPACE)) in ("cancelled", "finished")
    scene.restart()
    settle_down(scene)
    assert states(scene, 1, 2, 3) == [JobState.READY, None, None]


def test_a_cancelled_job_of_a_bulk_may_be_requeued_and_is_not_the_bulks_any_more(scene: Scene) -> None:
    stage(scene, 0, new_job(1), new_job(2))
    scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    assert scene.ask(c.RequeueJob(job_id(1), NAMESPACE)) == 1
    assert states(scene, 1, 2) == [JobState.READY, JobState.BLOCKED]
    commit(scene, 1)
    settle_down(scene)
    assert states(scene, 1, 2) == [JobState.READY, JobState.READY]


def test_jobs_with_ids_that_may_be_known_are_refused_in_a_bulk(scene: Scene) -> None:
    scene.submit(new_job(1))
    for jobs in ([new_job(1)], [new_job(2, known=c.Known.UNKNOWN)], [new_job(3), new_job(3)]):
        with pytest.raises(BadOption):
            stage(scene, 0, *jobs)
    assert scene.partition.state.bulks == {}


def test_as_many_bulks_as_may_be_and_no_more(scene: Scene) -> None:
    scene.judging = False
    for number in range(BULKS_MAX):
        stage(scene, 0, new_job(number), bulk=number.to_bytes(16, "big"))
    with pytest.raises(TooManyBulks):
        stage(scene, 0, new_job(5_000))
    scene.ask(c.DropBulk(bytes(16), NAMESPACE))
    stage(scene, 0, new_job(5_000))
    scene.judge(settled=False)


def test_a_job_of_a_bulk_is_not_that_of_another_namespace(scene: Scene) -> None:
    stage(scene, 0, new_job(1))
    with pytest.raises(JobNotFound):
        scene.ask(c.CancelJob(job_id(1), "other"))


@pytest.mark.parametrize(
    "event",
    [
        e.BulkStaged(BULK, NAMESPACE, 0, job_id(1)),
        e.BulkStaged(BULK, NAMESPACE, 1, job_id(9)),
        e.BulkCommitted(b"?" * 16),
        e.BulkFreed(b"?" * 16, 1, 50, job_id(1)),
        e.BulkFreed(BULK, 1, 50, job_id(1)),
        e.BulkFreed(BULK, 5, 50, b"", b"", job_id(1)),
        e.BulkCarried(b"?" * 16, NAMESPACE, BulkPhase.OPEN, 1, 1, 0, 0, 0, job_id(1)),
        e.BulkCarried(BULK, NAMESPACE, BulkPhase.OPEN, 2, 1, 0, 0, 0, job_id(1)),
        e.BulkCarried(BULK, NAMESPACE, BulkPhase.OPEN, 1, 1, 0, 0, 0, job_id(2)),
        e.BulkCarried(BULK, NAMESPACE, BulkPhase.OPEN, 1, 1, 0, 0, 1, job_id(1)),
    ],
)
def test_what_cannot_be_so_of_a_bulk_is_illegal(scene: Scene, event: e.Event) -> None:
    stage(scene, 0, new_job(1))
    was = scene.partition.state.journaled_part()
    with pytest.raises(IllegalChange):
        apply(scene.partition.state, event, None, Moment(scene.position + 1, 0))
    assert scene.partition.state.journaled_part() == was


def test_a_part_and_its_jobs_are_one_batch(scene: Scene) -> None:
    step = scene.step(c.StageBulk(BULK, NAMESPACE, 0, [new_job(1), new_job(2)]))
    assert kinds(step) == ["JobSubmitted", "JobSubmitted", "BulkStaged"]


def test_a_part_that_does_not_fit_the_backlog_is_refused_whole() -> None:
    scene = Scene(limits=BacklogLimits(jobs_max=3))
    stage(scene, 0, new_job(1), new_job(2))
    with pytest.raises(QueueFull):
        stage(scene, 1, new_job(3), new_job(4))
    assert states(scene, 1, 2, 3) == [JobState.BLOCKED, JobState.BLOCKED, None]
    commit(scene, 1)


def test_a_job_of_a_bulk_expires_while_it_waits_for_it(scene: Scene) -> None:
    late = new_job(2)
    late.terms = c.AskedTerms(expires_in_ms=1_000)
    stage(scene, 0, new_job(1), late)
    scene.pass_ms(1_000)
    assert scene.archive[job_id(2)].state is JobState.EXPIRED
    commit(scene, 1)
    settle_down(scene)
    assert states(scene, 1, 2) == [JobState.READY, None]


def test_a_bulk_whose_first_parts_lie_before_the_base_is_over_by_its_head(scene: Scene) -> None:
    """A replay begins at a base in the middle of it: the bulk is over by the base's head, and one job lives on."""
    stage(scene, 0, new_job(1))
    fillers = []
    while (scene.position + 1) % HOME_POSITIONS:
        fillers.append(100 + scene.position)
        scene.submit(new_job(fillers[-1]))
    middle = scene.position + 1
    stage(scene, 1, new_job(2), new_job(3))
    commit(scene, 2)
    settle_down(scene)
    for number in fillers:
        scene.ask(c.CancelJob(job_id(number), NAMESPACE))
    session = scene.worker(slots=3)
    for number in (1, 3):
        scene.settle(session, number)
    head = scene.position
    scene.step(c.CarryItems([], [seen_session(session, scene.partition.state.sessions[session].home)]))
    assert scene.ask(c.MoveBase(middle, head)) is True
    from_base(scene, middle)


def from_base(scene: Scene, base: int) -> Partition:
    """What a replay makes of the batches from a base on; the scene's own state, or the test fails."""
    twin = Partition(scene.partition.session_ttl_ms)
    twin.start_at(base)
    for batch in scene.batches[base - 1 :]:
        twin.replay(decode_events(batch.events, "scene"), batch.bodies, batch.position, batch.wall_ms)
    assert twin.state.journaled_part() == scene.partition.state.journaled_part()
    assert check_state(twin.state) == []
    return twin


def test_an_open_bulk_does_not_hold_the_log_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "HOME_POSITIONS", 1)
    stage(scene, 0, new_job(1), new_job(2, delay_ms=60_000))
    stage(scene, 1, new_job(3))
    scene.ask(c.CancelJob(job_id(3), NAMESPACE))
    scene.carry()
    base = scene.position
    assert scene.move_base(base)
    scene.partition = from_base(scene, base)
    scene.partition.begin(scene.clock.now())
    scene.judging = False
    assert stage(scene, 0, new_job(1)) == 2
    stage(scene, 2, new_job(4))
    commit(scene, 3)
    from_base(scene, base)
    settle_down(scene)
    from_base(scene, base)
    assert states(scene, 1, 2, 3, 4) == [JobState.READY, JobState.SCHEDULED, None, JobState.READY]
    assert scene.partition.state.bulks == {}


@pytest.mark.parametrize("first_carried", ["open", "committed", "half freed", "dropped"])
def test_a_replay_may_hear_of_the_last_part_of_a_bulk_before_the_first(
    scene: Scene, first_carried: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homes, "HOME_POSITIONS", 1)
    scene.judging = False
    jobs = 2 * BULK_FREED_MAX
    stage(scene, 0, *(new_job(number) for number in range(1, jobs + 1)))
    scene.submit(new_job(5_000))
    middle = scene.position
    stage(scene, 1, new_job(jobs + 1))
    if first_carried == "dropped":
        scene.ask(c.DropBulk(BULK, NAMESPACE))
    elif first_carried != "open":
        commit(scene, 2)
    if first_carried == "half freed":
        scene.step()
    scene.carry()
    head = scene.position
    assert scene.ask(c.MoveBase(middle, head)) is True
    from_base(scene, middle)
    while scene.step().more:
        from_base(scene, middle)
    from_base(scene, middle)


def test_a_part_that_is_worked_off_holds_the_log_back_no_longer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "HOME_POSITIONS", 1)
    stage(scene, 0, new_job(1))
    stage(scene, 1, *(new_job(number) for number in range(2, 2 * BULK_FREED_MAX)))
    second = scene.position
    commit(scene, 2)
    scene.step()
    [bulk] = scene.partition.state.bulks.values()
    assert [(part.first, part.home) for part in bulk.parts] == [(1, second)]
    scene.carry(1)
    assert scene.move_base(second)
    from_base(scene, second)


def test_a_part_that_has_moved_or_is_over_is_not_carried(scene: Scene) -> None:
    stage(scene, 0, new_job(1))
    home = scene.position
    for seen in (seen_part(BULK, 0, home + 1), seen_part(BULK, 1, home), seen_part(b"?" * 16, 0, home)):
        assert kinds(scene.step(c.CarryItems([], [seen]))) == []
    assert kinds(scene.step(c.CarryItems([], [seen_part(BULK, 0, home)]))) == ["BulkCarried"]


def test_a_base_below_which_a_part_was_lost_is_illegal(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "HOME_POSITIONS", 1)
    stage(scene, 0, new_job(1))
    stage(scene, 1, new_job(2))
    scene.carry(1)
    middle, moved = scene.position - 1, e.BaseMoved(scene.position - 1, scene.position, 9, 9, 9)
    twin = Partition()
    twin.start_at(middle)
    for batch in scene.batches[middle - 1 :]:
        twin.replay(decode_events(batch.events, "scene"), batch.bodies, batch.position, batch.wall_ms)
    with pytest.raises(IllegalChange, match=BULK.hex()):
        twin.replay([moved], b"", scene.position + 1, 0)


def test_a_first_part_that_comes_again_when_its_bulk_is_over_begins_none(scene: Scene) -> None:
    """As from a client whose connection was cut after it had dropped the bulk."""
    stage(scene, 0, new_job(1))
    scene.ask(c.DropBulk(BULK, NAMESPACE))
    settle_down(scene)
    with pytest.raises(BulkUnknown):
        scene.ask(c.StageBulk(BULK, NAMESPACE, 0, [new_job(1)], resent=True))
    # One that never arrived is as good as new.
    assert scene.ask(c.StageBulk(BULK, NAMESPACE, 0, [new_job(2)], resent=True)) == 1
    assert scene.ask(c.StageBulk(BULK, NAMESPACE, 0, [new_job(2)], resent=True)) == 1


def test_a_part_without_jobs_is_refused(scene: Scene) -> None:
    with pytest.raises(BadOption):
        stage(scene, 0)
