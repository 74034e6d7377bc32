"""What the samples of a soak say: a table by quarters, slopes, and a verdict. Pure: numbers and lines in, text out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Final, NamedTuple

import msgspec

MIB: Final = 1024 * 1024
QUARTERS: Final = 4


class Sample(msgspec.Struct, frozen=True):
    """One look at everything; what belongs to a process that was away just then is missing."""

    at: float
    broker_rss: int | None = None
    worker_rss: int | None = None
    broker_fds: int | None = None
    worker_fds: int | None = None
    journal: int | None = None
    wal: int | None = None
    archive: int | None = None
    mark: int | None = None
    disk: int | None = None
    position: int | None = None
    base: int | None = None
    log_bytes: int | None = None
    step_us_p99: int | None = None
    living: int | None = None
    living_bytes: int | None = None
    submit_p50_ms: float | None = None
    submit_p99_ms: float | None = None
    round_trip_p50_ms: float | None = None
    round_trip_p99_ms: float | None = None
    jobs_a_second: float | None = None
    broker_us_a_job: float | None = None


class Metric(NamedTuple):
    """A field of a sample as people read it; over the second half it may rise by `rise_max` of its unit, if set."""

    field: str
    name: str
    unit: str
    scale: float = 1.0
    rise_max: float | None = None


# Half a run sees every kind of churn many times, so what it does not give back it never will. The allowances are a part
# of what one look may differ from another by: a burst of results, a connection in the making, a cut of the log.
METRICS: Final = (
    Metric("broker_rss", "broker, resident", "MiB", 1 / MIB, rise_max=20),
    Metric("worker_rss", "worker, resident", "MiB", 1 / MIB, rise_max=6),
    Metric("broker_fds", "broker, open files", "", rise_max=4),
    Metric("worker_fds", "worker, open files", "", rise_max=2),
    Metric("journal", "journal", "MiB", 1 / MIB, rise_max=6),
    Metric("log_bytes", "of that the log, from its base on", "MiB", 1 / MIB),
    Metric("base", "its base", "batches"),
    Metric("wal", "its write-ahead log", "MiB", 1 / MIB, rise_max=4),
    Metric("archive", "archive, with its log", "MiB", 1 / MIB, rise_max=16),
    Metric("mark", "mark", "bytes", rise_max=0),
    Metric("disk", "all files", "MiB", 1 / MIB, rise_max=20),
    Metric("living", "jobs that live", "", rise_max=1_000),
    Metric("living_bytes", "their arguments", "MiB", 1 / MIB),
    Metric("step_us_p99", "the engine's step, p99, processor time", "ms", 1 / 1_000),
    Metric("submit_p50_ms", "submit, p50", "ms"),
    Metric("submit_p99_ms", "submit, p99", "ms"),
    Metric("round_trip_p50_ms", "round trip, p50", "ms"),
    Metric("round_trip_p99_ms", "round trip, p99", "ms"),
    Metric("jobs_a_second", "jobs a second", ""),
    Metric("broker_us_a_job", "broker's CPU a job", "us"),
)


class Series(NamedTuple):
    """One metric over time, in its unit."""

    times: list[float]
    values: list[float]


def series(samples: Sequence[Sample], metric: Metric) -> Series:
    """The metric wherever it was seen."""
    seen = [(each.at, getattr(each, metric.field)) for each in samples]
    kept = [(at, value * metric.scale) for at, value in seen if value is not None]
    return Series([at for at, _ in kept], [value for _, value in kept])


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Units a second by least squares; 0 of fewer than two moments."""
    if len(set(times)) < 2:
        return 0.0
    middle, level = fmean(times), fmean(values)
    spread = sum((at - middle) ** 2 for at in times)
    return sum((at - middle) * (value - level) for at, value in zip(times, values, strict=True)) / spread


def second_half(seen: Series, seconds: float) -> Series:
    """What was seen from the middle of a run of so many seconds on."""
    kept = [pair for pair in zip(*seen, strict=True) if pair[0] >= seconds / 2]
    return Series([at for at, _ in kept], [value for _, value in kept])


def rise(seen: Series, seconds: float) -> float:
    """How much the fitted line rises over the second half."""
    return slope(*second_half(seen, seconds)) * seconds / 2


def percentile(values: Sequence[float], part: float) -> float | None:
    """The value below which such a part lies, None of no values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else None


def figure(value: float) -> str:
    return (
        f"{value:,.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}".rstrip("0").rstrip(".")
    )


def table(samples: Sequence[Sample], seconds: float) -> str:
    """First, last, least and most of each quarter, and the slope an hour over the second half, as Markdown."""
    heads = ["", "first", *(f"{part}. quarter" for part in range(1, QUARTERS + 1)), "last", "slope an hour"]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---|' * (len(heads) - 1)}"]
    for metric in METRICS:
        seen = series(samples, metric)
        if not seen.values:
            continue
        cells = [f"{metric.name}{f', {metric.unit}' if metric.unit else ''}", figure(seen.values[0])]
        for part in range(QUARTERS):
            low, high = seconds * part / QUARTERS, seconds * (part + 1) / QUARTERS
            inside = [value for at, value in zip(*seen, strict=True) if low <= at < high]
            cells.append(f"{figure(min(inside))} to {figure(max(inside))}" if inside else "")
        cells += [figure(seen.values[-1]), f"{slope(*second_half(seen, seconds)) * 3_600:+,.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


class Judgement(NamedTuple):
    """One line of the verdict."""

    good: bool
    sentence: str


def judge_growth(samples: Sequence[Sample], seconds: float) -> list[Judgement]:
    """Whether each bounded metric stayed within what it may rise by in the second half; one never seen is no good."""
    judged = []
    for metric in METRICS:
        if metric.rise_max is None:
            continue
        seen = series(samples, metric)
        if len(second_half(seen, seconds).values) < 2:
            judged.append(Judgement(False, f"{metric.name}: not seen in the second half"))
            continue
        by = rise(seen, seconds)
        unit = f" {metric.unit}" if metric.unit else ""
        sentence = f"{metric.name}: {by:+.2f}{unit} over the second half, may be {figure(metric.rise_max)}"
        judged.append(Judgement(by <= metric.rise_max, sentence))
    return judged


_LEVELS: Final = re.compile(r" (WARNING|ERROR|CRITICAL) |^\s*Traceback|^\S*(Error|Exception)\b")
# What the soak itself brings about, by what is said of it.
EXPECTED: Final = {
    "it began with a journal of its own": re.compile(r"created a new journal at"),
    "an attempt failed, as it was to": re.compile(
        r"job \S+ of task soak\.(flaky|doomed)( in queue \S+)?( failed|: dead)|attempts? more failed in the last second"
    ),
    "a job was cancelled, or its deadline passed": re.compile(r"job \S+ of task soak\.\w+ is stopped"),
    "a broker was restarted": re.compile(
        r"lost the broker at|heartbeats do not reach|; trying again|could not be told to the broker"
    ),
    "a worker process was killed": re.compile(r"worker process \d+ .*another one starts|was lost with its worker"),
    "a client did not read": re.compile(r"it read nothing for|nothing came for \d+ ms|it does not read"),
    "the machine was busy": re.compile(r"the event loop"),
}


def sort_lines(lines: Iterable[str]) -> tuple[Counter[str], list[str]]:
    """How often each expected warning was logged, and the lines that nobody expected."""
    expected: Counter[str] = Counter()
    others: list[str] = []
    for line in lines:
        if _LEVELS.search(line):
            reason = next((reason for reason, pattern in EXPECTED.items() if pattern.search(line)), None)
            if reason is None:
                others.append(line.rstrip())
            else:
                expected[reason] += 1
    return expected, others


def verdict(judged: Sequence[Judgement]) -> str:
    """The judgements as a list in Markdown, the bad ones marked."""
    return "".join(f"- {'' if each.good else '**BAD** '}{each.sentence}\n" for each in judged)
