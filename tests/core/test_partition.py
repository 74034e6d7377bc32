"""A step: what comes first, how much fits, when the next one is due, and what a replay makes of it."""

from __future__ import annotations

from zlib import crc32

import pytest

from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.partition import Partition
from aioqueue.core.places import unpack_place
from aioqueue.limits import BATCH_BYTES_MAX, BATCH_BYTES_TARGET, BATCH_EVENTS_TARGET
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.states import JobState
from tests.support.scene import NAMESPACE, TTL_MS, Scene, job_id, kinds, new_job, submitted

PART = BATCH_EVENTS_TARGET // 3


def test_a_job_that_was_due_earlier_stands_before_a_submit(scene: Scene) -> None:
    scene.submit(new_job(1, delay_ms=50))
    scene.clock.advance(50)
    assert kinds(scene.step(c.SubmitJobs([new_job(2)]))) == ["JobDue", "JobSubmitted"]
    scene.worker()
    assert scene.running() == {1: [job_id(1)]}


def test_a_job_never_wakes_before_its_time(scene: Scene) -> None:
    scene.submit(new_job(1, delay_ms=50))
    assert kinds(scene.pass_ms(49)) == []
    scene.clock.jump(-1_000)
    assert kinds(scene.pass_ms(500)) == []
    assert kinds(scene.pass_ms(501)) == ["JobDue"]


def test_jobs_wake_in_the_order_they_are_due(scene: Scene) -> None:
    scene.submit(*(new_job(number, delay_ms=90 - number * 10) for number in range(5)))
    step = scene.pass_ms(100)
    assert [event.id for event in step.events if isinstance(event, e.JobDue)] == [job_id(n) for n in (4, 3, 2, 1, 0)]


def test_a_retry_takes_a_new_place(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1, retry=RetryPolicy(base_ms=10, jitter=False)), new_job(2), new_job(3))
    scene.settle(session, 1, c.RunEnd.FAILED)
    scene.pass_ms(20)
    scene.settle(session, 2)
    assert scene.running() == {session: [job_id(3)]}


# --- bounds -------------------------------------------------------------------------------------------------------


def test_a_full_batch_takes_no_other_command(scene: Scene) -> None:
    half = BATCH_EVENTS_TARGET // 2
    commands = [c.SubmitJobs([new_job(start + number) for number in range(half)]) for start in (0, half, 2 * half)]
    step = scene.step(*commands)
    assert (step.taken, len(step.replies), step.more) == (2, 2, True)
    step = scene.step(commands[2])
    assert (step.taken, step.more) == (1, False)


def test_a_heavy_batch_takes_no_other_command(scene: Scene) -> None:
    commands = [c.SubmitJobs([new_job(number, body=b"x" * (BATCH_BYTES_TARGET // 2))]) for number in range(3)]
    assert scene.step(*commands).taken == 2


def test_what_is_long_in_the_records_is_weighed(scene: Scene) -> None:
    def heavy(start: int) -> c.SubmitJobs:
        jobs = [new_job(start + number) for number in range(250)]
        for job in jobs:
            job.extra = b"x" * 16_000
        return c.SubmitJobs(jobs)

    step = scene.step(*(heavy(start) for start in (0, 1_000, 2_000)))
    assert step.taken == 1
    assert len(scene.batches[0].events) < BATCH_BYTES_MAX


def test_a_flood_of_submits_does_not_starve_the_workers(scene: Scene) -> None:
    session = scene.worker(slots=10_000)
    for start in (0, 2_000):
        step = scene.step(c.SubmitJobs([new_job(start + number) for number in range(BATCH_EVENTS_TARGET)]))
        assert step.more
        assert kinds(step).count("JobLeased") >= PART - 1
    while step.more:
        step = scene.step()
    assert len(scene.running()[session]) == 2 * BATCH_EVENTS_TARGET


def test_jobs_that_are_all_due_at_once_leave_room_for_commands(scene: Scene) -> None:
    scene.submit(*(new_job(number, delay_ms=50) for number in range(2 * PART + 5)))
    scene.clock.advance(50)
    step = scene.step(c.SubmitJobs([new_job(9_999)]))
    assert (kinds(step).count("JobDue"), step.taken, step.more) == (PART, 1, True)
    assert scene.step().more
    step = scene.step()
    assert (kinds(step), step.more) == (["JobDue"] * 5, False)


def test_silent_sessions_with_many_runs_end_in_several_batches(scene: Scene) -> None:
    scene.judging = False
    for name in range(3):
        scene.worker(f"w{name}", slots=600)
    scene.submit(*(new_job(number) for number in range(1_800)))
    while scene.step().more:
        pass
    assert sum(map(len, scene.running().values())) == 1_800
    step = scene.pass_ms(TTL_MS)
    assert step.more
    assert kinds(step).count("SessionEnded") == 2
    assert kinds(scene.step()).count("SessionEnded") == 1


# --- silence ------------------------------------------------------------------------------------------------------


def test_no_session_expires_by_the_wall_clock(scene: Scene) -> None:
    session = scene.worker()
    scene.clock.jump(10 * TTL_MS)
    scene.step()
    scene.clock.jump(-20 * TTL_MS)
    scene.step()
    assert list(scene.running()) == [session]


def test_a_session_expires_only_when_it_was_not_heard_for_the_ttl(scene: Scene) -> None:
    session = scene.worker()
    for _ in range(5):
        scene.clock.advance(TTL_MS - 1)
        scene.step(c.HearSession(session))
    assert list(scene.running()) == [session]
    assert scene.pass_ms(TTL_MS).effects != []
    assert scene.running() == {}


@pytest.mark.parametrize("full", [False, True], ids=["decided", "left for the next step"])
def test_a_session_whose_words_wait_in_the_line_does_not_expire(scene: Scene, full: bool) -> None:
    first, second = scene.worker("w1"), scene.worker("w2")
    scene.clock.advance(TTL_MS)
    flood = [c.SubmitJobs([new_job(number) for number in range(BATCH_EVENTS_TARGET)])] if full else []
    step = scene.step(*flood, c.HearSession(first), c.OpenSession(b"w2", NAMESPACE, "w2"))
    assert step.taken == (1 if full else 2)
    assert sorted(scene.running()) == [first, second]


def test_silence_is_judged_as_of_the_instant_up_to_which_all_was_heard(scene: Scene) -> None:
    session = scene.worker()
    heard_up_to_ms = scene.clock.mono_ms + TTL_MS
    scene.clock.advance(10 * TTL_MS)
    for too_early in (None, heard_up_to_ms - 1):
        scene.partition.step([], scene.clock.now(), scene.position + 1, heard_up_to_ms=too_early)
        assert list(scene.running()) == [session]
    scene.partition.step([], scene.clock.now(), scene.position + 1, heard_up_to_ms=heard_up_to_ms)
    assert scene.running() == {}


def test_a_word_behind_the_judged_instant_saves_a_session_that_says_it_before_its_end(scene: Scene) -> None:
    session = scene.worker()
    heard_up_to_ms = scene.clock.mono_ms + TTL_MS
    scene.clock.advance(TTL_MS + 50)
    word = c.HearSession(session)
    scene.partition.step([word], scene.clock.now(), scene.position + 1, heard_up_to_ms=heard_up_to_ms)
    assert list(scene.running()) == [session]


def test_nobody_seems_silent_between_two_looks(scene: Scene) -> None:
    scene.worker("w1")
    scene.clock.advance(TTL_MS - 1)
    assert not scene.partition.seems_silent(scene.clock.now())
    # It is looked again after a tenth of the ttl.
    scene.clock.advance(TTL_MS // 10 - 1)
    assert not scene.partition.seems_silent(scene.clock.now())
    scene.clock.advance(1)
    assert scene.partition.seems_silent(scene.clock.now())
    # Until it was judged.
    assert scene.partition.seems_silent(scene.clock.now())
    scene.step()
    assert not scene.partition.seems_silent(scene.clock.now())


def test_sessions_have_a_whole_ttl_after_a_restart(scene: Scene) -> None:
    session = scene.worker()
    scene.submit(new_job(1))
    scene.clock.advance(100 * TTL_MS)
    scene.restart()
    scene.step()
    assert scene.running() == {session: [job_id(1)]}
    scene.pass_ms(TTL_MS)
    assert scene.running() == {}


# --- what is next -------------------------------------------------------------------------------------------------


def test_a_partition_without_sessions_or_times_is_never_due(scene: Scene) -> None:
    assert scene.partition.next_due(scene.clock.now()) is None
    scene.submit(new_job(1))
    assert scene.partition.next_due(scene.clock.now()) is None


def test_the_next_due_job_is_what_is_waited_for(scene: Scene) -> None:
    scene.submit(new_job(1, delay_ms=90), new_job(2, delay_ms=70))
    assert scene.partition.next_due(scene.clock.now()) == 70
    scene.ask(c.CancelJob(job_id(2), NAMESPACE))
    assert scene.partition.next_due(scene.clock.now()) == 90
    scene.clock.advance(500)
    assert scene.partition.next_due(scene.clock.now()) == 0


def test_a_session_wakes_the_partition_within_its_ttl(scene: Scene) -> None:
    scene.worker()
    scene.step()
    wait_ms = scene.partition.next_due(scene.clock.now())
    assert wait_ms is not None
    assert 0 < wait_ms <= TTL_MS


def test_cancelled_jobs_do_not_pile_up_among_those_that_wait(scene: Scene) -> None:
    scene.judging = False
    scene.submit(new_job(0, delay_ms=1))
    for number in range(1, 5_000):
        scene.step(c.SubmitJobs([new_job(number, delay_ms=5_000)]), c.CancelJob(job_id(number), NAMESPACE))
    assert len(scene.partition.state.due) < 2_000
    scene.judge()


# --- replay -------------------------------------------------------------------------------------------------------


def test_a_replay_owes_the_effects_that_were_owed_then(scene: Scene) -> None:
    session = scene.worker()
    step = scene.step(c.SubmitJobs([new_job(1)]))
    twin = Partition(TTL_MS)
    owed = twin.replay(step.events, b"".join(step.bodies), 1, scene.clock.wall_ms)
    scene.bodies.take(owed.arguments, owed.effects)
    assert (owed.arguments, owed.effects) == (step.arguments, step.effects)
    settled = scene.step(c.SettleRuns(session, [c.EndRun(job_id(1), 1, c.RunEnd.SUCCEEDED, b"result")]))
    assert twin.replay(settled.events, b"".join(settled.bodies), 2, scene.clock.wall_ms).effects == settled.effects


def test_a_restart_remembers_fences_places_and_sessions(scene: Scene) -> None:
    scene.worker(slots=2)
    scene.submit(new_job(1), new_job(2), new_job(3))
    before = scene.partition.state.journaled_part()
    scene.restart()
    assert scene.partition.state.journaled_part() == before
    assert scene.session("w1") == 1
    assert scene.session("w2") == 2
    state = scene.partition.state
    assert (state.next_fence, state.next_seq) == (3, 4)


@pytest.mark.parametrize("damage", ["crc", "short"])
def test_a_body_that_is_not_the_one_that_was_written_is_not_replayed(damage: str) -> None:
    event = submitted(1, 1, body_bytes=4, body_crc=1)
    with pytest.raises(ValueError, match="checksum"):
        Partition().replay([event], b"args" if damage == "crc" else b"ar", 1, 1)


def test_a_spec_that_nobody_could_have_sent_is_not_replayed() -> None:
    with pytest.raises(ValueError, match="no caller"):
        Partition().replay([submitted(1, 1, spec=b"\xc1")], b"", 1, 1)


def test_a_job_knows_where_its_arguments_lie_and_a_cancelled_one_is_archived_with_them(scene: Scene) -> None:
    scene.submit(new_job(2), new_job(1, body=b"x" * 1_000))
    job = scene.job(1)
    assert job is not None
    assert (job.home, job.body_bytes) == (scene.position, 1_000)
    assert unpack_place(job.place) == (len(b"args 2"), 1_000, crc32(b"x" * 1_000))
    scene.ask(c.CancelJob(job_id(1), NAMESPACE))
    assert job.state is JobState.CANCELLED
    assert scene.archive[job_id(1)].args == b"x" * 1_000
