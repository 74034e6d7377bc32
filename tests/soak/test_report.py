"""What a soak makes of its samples and logs."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.soak.report import (
    METRICS,
    Judgement,
    Sample,
    Series,
    judge_growth,
    percentile,
    rise,
    second_half,
    slope,
    sort_lines,
    table,
    verdict,
)

MIB = 1024 * 1024
STEADY: dict[str, Any] = {
    "broker_rss": 100 * MIB, "worker_rss": 30 * MIB, "broker_fds": 30, "worker_fds": 16, "journal": 12 * MIB,
    "wal": 4 * MIB, "archive": 64 * MIB, "mark": 36, "disk": 80 * MIB, "living": 1_500,
}  # fmt: skip


def run(seconds: int = 100, **changes: Any) -> list[Sample]:
    """A run that changes nothing, but what `changes` says for a moment."""
    return [
        Sample(at=float(at), **{**STEADY, **{name: change(at) for name, change in changes.items()}})
        for at in range(0, seconds, 2)
    ]


def bad(samples: list[Sample]) -> list[str]:
    return [each.sentence for each in judge_growth(samples, 100) if not each.good]


def test_a_slope_is_that_of_the_line_which_the_values_lie_on() -> None:
    assert slope([0, 1, 2, 3], [5, 7, 9, 11]) == pytest.approx(2)


def test_noise_around_a_level_has_no_slope() -> None:
    chance = random.Random(1)
    times = [float(at) for at in range(1_000)]
    assert abs(slope(times, [50 + chance.uniform(-5, 5) for _ in times])) < 0.001


@pytest.mark.parametrize("times", [[], [3.0], [3.0, 3.0]])
def test_one_moment_has_no_slope(times: list[float]) -> None:
    assert slope(times, times) == 0


def test_what_a_run_fills_up_with_at_first_is_no_growth() -> None:
    seen = Series([float(at) for at in range(100)], [float(min(at, 50)) for at in range(100)])
    assert second_half(seen, 100).times[0] == 50
    assert rise(seen, 100) == 0


def test_a_steady_run_is_good() -> None:
    assert bad(run()) == []


def test_memory_that_grows_slowly_to_the_end_is_found() -> None:
    [sentence] = bad(run(broker_rss=lambda at: (100 + at // 2) * MIB))
    assert sentence.startswith("broker, resident: +25.")


def test_open_files_that_grow_are_found_in_a_run_that_lost_samples() -> None:
    samples = run(broker_fds=lambda at: None if 60 < at < 80 else 30 + at // 8)
    assert [sentence.split(":")[0] for sentence in bad(samples)] == ["broker, open files"]


def test_a_metric_that_was_never_seen_is_not_called_steady() -> None:
    assert bad(run(archive=lambda at: None)) == ["archive, with its log: not seen in the second half"]


def test_less_at_the_end_is_good() -> None:
    assert bad(run(journal=lambda at: (100 - at) * MIB)) == []


def test_the_table_has_a_line_for_each_metric_that_was_seen_with_its_quarters() -> None:
    lines = table(run(living=lambda at: at), 100).splitlines()
    assert len(lines) == 2 + sum(metric.field in STEADY for metric in METRICS)
    [line] = [line for line in lines if line.startswith("| jobs that live")]
    assert line == "| jobs that live | 0 | 0 to 24.0 | 26.0 to 48.0 | 50.0 to 74.0 | 76.0 to 98.0 | 98.0 | +3,600.0 |"
    assert {line.count("|") for line in lines} == {9}


def test_a_quarter_in_which_nothing_was_seen_is_empty() -> None:
    [line] = [
        line
        for line in table(run(wal=lambda at: None if at < 25 else MIB), 100).splitlines()
        if line.startswith("| its write-ahead log")
    ]
    assert line == "| its write-ahead log, MiB | 1 |  | 1 to 1 | 1 to 1 | 1 to 1 | 1 | +0.0 |"


def test_a_percentile_of_nothing_is_nothing() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3, 1, 2], 0.99) == 3


def test_lines_that_the_soak_brings_about_are_counted_and_all_others_are_told() -> None:
    at = "2026-01-31T12:00:00.000Z"
    expected, others = sort_lines([
        f"{at} INFO aioqueue.broker: listening",
        f"{at} WARNING aioqueue.worker: job 018b of task soak.doomed failed in attempt 1: ValueError: no",
        f"{at} WARNING aioqueue.worker.settles[7]: job 018b of task soak.doomed: dead: out of attempts (2 of 2)",
        f"{at} WARNING aioqueue.broker.failures[7]: job 018b of task soak.doomed in queue q failed on w: E: no; dead",
        f"{at} WARNING aioqueue.worker: job 018b of task soak.noop failed in attempt 1: ValueError: no",
        f"{at} ERROR aioqueue.broker: worker w is idle",
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in f',
        "ValueError: no",
    ])  # fmt: skip
    assert dict(expected) == {"an attempt failed, as it was to": 3}
    assert [line.split(" ")[0] for line in others] == [at, at, "Traceback", "ValueError:"]


def test_a_bad_line_of_the_verdict_is_marked() -> None:
    assert verdict([Judgement(True, "all"), Judgement(False, "some")]) == "- all\n- **BAD** some\n"
