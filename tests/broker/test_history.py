"""The runs of a job, from what is kept of it."""

from __future__ import annotations

from typing import Any

from aioqueue.broker.history import fitted, history
from aioqueue.model.bodies import pack_failure
from aioqueue.model.records import EndedRun
from aioqueue.model.views import Failure, JobInfo, Run

JOB = b"j" * 16
FAILURE = Failure("ValueError", "no", "Traceback")


def info(state: str, **changes: Any) -> JobInfo:
    fields: dict[str, Any] = {
        "id": JOB, "own_id": "", "namespace": "default", "queue": "default", "task": "t", "state": state, "priority": 5,
        "submitted_ms": 1_000, "due_ms": 0, "started_ms": 0, "finished_ms": 0, "failures": 0, "crashes": 0, "runs": 0,
        "generation": 0, "worker": "w",
    }  # fmt: skip
    return JobInfo(**{**fields, **changes})


def ended(run: int, outcome: str, started_ms: int, ended_ms: int, generation: int = 0) -> EndedRun:
    body = pack_failure(FAILURE) if outcome == "failed" else b""
    return EndedRun(JOB, generation, run, outcome, started_ms, ended_ms, "w", body)


def test_a_job_that_never_ran_has_no_history() -> None:
    assert history(info("ready"), []) == []


def test_a_success_at_once_is_one_run() -> None:
    job = info("succeeded", runs=1, started_ms=1_010, finished_ms=1_050)
    [run] = history(job, [])
    assert run == Run(1, 0, 1, "succeeded", "w", 1_000, 1_010, 1_050)
    assert run.duration_ms == 40


def test_a_run_that_is_on_has_no_end() -> None:
    for state in ("running", "stopping"):
        [run] = history(info(state, runs=1, started_ms=1_010), [])
        assert (run.outcome, run.ended_ms, run.duration_ms) == ("running", 0, None)


def test_released_and_crashed_runs_are_no_attempts_and_each_waited_since_the_one_before() -> None:
    runs = [
        ended(1, "released", 1_010, 1_020), ended(2, "crashed", 1_030, 1_040), ended(3, "failed", 1_050, 1_060),
    ]  # fmt: skip
    job = info("succeeded", runs=4, failures=1, started_ms=2_000, finished_ms=2_001)
    told = history(job, runs)
    assert [(run.run, run.attempt, run.queued_ms, run.outcome) for run in told] == [
        (1, 1, 1_000, "released"),
        (2, 1, 1_020, "crashed"),
        (3, 1, 1_040, "failed"),
        (4, 2, 1_060, "succeeded"),
    ]
    assert told[2].failure == FAILURE


def test_runs_before_a_retry_by_hand_are_told_first_and_counted_apart() -> None:
    runs = [ended(1, "failed", 10, 20), ended(2, "failed", 30, 40), ended(1, "failed", 1_010, 1_020, 1)]
    job = info("dead", runs=1, failures=1, generation=1)
    assert [(run.generation, run.run, run.attempt, run.queued_ms) for run in history(job, runs)] == [
        (0, 1, 1, 0),
        (0, 2, 2, 20),
        (1, 1, 1, 1_000),
    ]
    waiting = history(info("succeeded", runs=1, generation=2, started_ms=1_001, finished_ms=1_002), runs)[-1]
    assert (waiting.generation, waiting.attempt, waiting.queued_ms) == (2, 1, 1_000)


def test_of_more_than_a_frame_holds_the_newest_are_told_whole_and_the_oldest_not_at_all() -> None:
    large = Failure("ValueError", "x" * 2_000, "y" * 1_000)
    runs = [Run(number, 0, number, "failed", "w", 0, 1, 2, large) for number in range(100)]
    told = fitted(runs, 50_000, 100_000)
    assert [run.run for run in told] == list(range(100 - len(told), 100))
    whole = [run for run in told if run.failure == large]
    assert 0 < len(whole) < len(told) < 100
    assert told[-len(whole) :] == whole
    assert told[0].failure == Failure("ValueError", "x" * 500)
