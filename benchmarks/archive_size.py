"""What an archive of millions of jobs costs: commits, pages, look-ups, retention, room.

    nice -n 19 python benchmarks/archive_size.py --jobs 10000000 --folder .

Fills an archive by the broker's own writer, in bulks of 1,000 jobs of which one in fifty is dead with an error and its
runs. Commits are measured in turns with those of a small archive, so ratios count: the machine's own speed drifts. The
folder needs 600 bytes a job; the file is removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import cycle
from pathlib import Path
from statistics import median

from aioqueue.archive.base import JobFilter, KeepRule
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.broker.overlay import RETAIN_ROWS
from aioqueue.model.bodies import pack_body, pack_failure
from aioqueue.model.ids import generated_id
from aioqueue.model.records import EndedRun, FinishedJob
from aioqueue.model.spec import Spec, pack_spec
from aioqueue.model.states import JobState
from aioqueue.model.views import Failure

BULK = 1_000
START_MS = 1_700_000_000_000
JOBS_A_MS = 2
QUEUES = ("default", "mail", "images", "reports")
TASKS = tuple(
    f"shop.tasks.{name}" for name in ("send", "resize", "charge", "index", "report", "notify", "sync", "purge")
)
SPECS = {(queue, task): pack_spec(Spec("default", queue, task)) for queue in QUEUES for task in TASKS}
RESULT = pack_body({"ok": True, "items": list(range(5))})
ARGS = pack_body([[42, "anna@example.com"], {"subject": "hello"}])


def error(number: int) -> bytes:
    text = "a needle" if number % 1_000_000 == 0 else f"no stock for item {number}"
    return pack_failure(Failure("ValueError", text, "Traceback (most recent call last):\n" + "  File app.py\n" * 20))


def bulk(first: int) -> tuple[list[FinishedJob], list[EndedRun]]:
    """Jobs `first` to `first + BULK`, as they would have ended one after the other."""
    jobs: list[FinishedJob] = []
    runs: list[EndedRun] = []
    for number in range(first, first + BULK):
        queue, task = QUEUES[number % 4], TASKS[number // 4 % 8]
        ended_ms = START_MS + number // JOBS_A_MS
        job_id = generated_id("default", queue, ended_ms - 20, number.to_bytes(8, "big"))
        dead = number % 50 == 0
        body = error(number) if dead else RESULT
        jobs.append(
            FinishedJob(
                job_id, "default", "rare" if number % 1_000_000 == 7 else queue, task,
                JobState.DEAD if dead else JobState.SUCCEEDED, 0, 5 if dead else 0, 0, 5 if dead else 1, number + 1, 5,
                ended_ms - 20, ended_ms - 10, ended_ms, -1, "worker-1.example", first // BULK + 1, SPECS[queue, task],
                body, ARGS if dead else b"", b"",
            )
        )  # fmt: skip
        if dead:
            runs += [
                EndedRun(job_id, 0, run, "failed", ended_ms - 9, ended_ms, "worker-1.example", body)
                for run in range(1, 6)
            ]
    return jobs, runs


def size_of(path: Path) -> int:
    return path.stat().st_size


async def timed(times: int, call: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Wall milliseconds of a call: median and worst of several."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - begun) * 1_000)
    return {"median_ms": round(median(taken), 2), "max_ms": round(max(taken), 2)}


async def commits(archives: dict[str, tuple[SqliteArchive, int]], count: int) -> dict[str, dict[str, float]]:
    """CPU of a job and latency of a bulk: `count` bulks into each archive from a job on, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in archives}
    processor = dict.fromkeys(archives, 0.0)
    for number in range(count):
        for name, (archive, first) in archives.items():
            jobs, runs = bulk(first + number * BULK)
            begun, cpu = time.perf_counter(), time.process_time()
            await archive.write(jobs, runs, [], first // BULK + number + 1)
            processor[name] += time.process_time() - cpu
            taken[name].append((time.perf_counter() - begun) * 1_000)
    return {
        name: {
            "cpu_us_a_job": round(processor[name] / count / BULK * 1e6, 2),
            "bulk_median_ms": round(median(taken[name]), 2),
            "bulk_p99_ms": round(sorted(taken[name])[int(count * 0.99)], 2),
        }
        for name in archives
    }


async def walk(archive: SqliteArchive, where: JobFilter) -> dict[str, float]:
    """Everything that a filter finds, as `find` reads it: pages, the longest one, and the whole time."""
    after, pages, found, longest = b"", 0, 0, 0.0
    begun = time.perf_counter()
    while pages == 0 or after:
        at = time.perf_counter()
        jobs, after = await archive.page(where, 50, after)
        longest = max(longest, (time.perf_counter() - at) * 1_000)
        pages, found = pages + 1, found + len(jobs)
    return {
        "found": found,
        "pages": pages, "longest_page_ms": round(longest, 2),
        "in_all_s": round(time.perf_counter() - begun, 2),
    }  # fmt: skip


async def questions(archive: SqliteArchive, jobs: int) -> dict[str, object]:
    """Latency of first pages by each filter, and of look-ups."""
    middle = START_MS + jobs // JOBS_A_MS // 2
    low = generated_id("default", "mail", middle, b"\x00" * 8)[:6]
    filters = {
        "all": JobFilter("default"),
        "dead": JobFilter("default", (JobState.DEAD,)),
        "queue and task": JobFilter("default", queue="mail", task=TASKS[0]),
        "since and until": JobFilter("default", since_ms=middle, until_ms=middle + 1_000),
        "id prefix": JobFilter("default", ids=(low + bytes(10), low + b"\xff" * 10)),
        "a frequent error": JobFilter("default", error="no stock"),
    }
    known = range(0, jobs, jobs // 50)
    ids = cycle([bulk(number // BULK * BULK)[0][number % BULK].id for number in known])
    return {
        "first page of 50, by " + name: await timed(20, lambda where=where: archive.page(where, 50, b""))  # type: ignore[misc]
        for name, where in filters.items()
    } | {"look-up of one job": await timed(200, lambda: archive.get([next(ids)]))}


async def measure(jobs: int, path: Path) -> dict[str, object]:
    figures: dict[str, object] = {"jobs": jobs}
    keep = KeepRule(succeeded_ms=0, dead_ms=10**12)
    archive = await SqliteArchive.open(path, journal_id=bytes(16), keep=keep)
    small = await SqliteArchive.open(path.with_name("small"), journal_id=bytes(16), keep=keep)
    await commits({"small": (small, 0)}, 50)
    begun = time.perf_counter()
    for first in range(0, jobs - 100 * BULK, BULK):
        ended, runs = bulk(first)
        await archive.write(ended, runs, [], first // BULK + 1)
        if first % (500 * BULK) == 0:
            print(f"{first:,} jobs, {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    figures["commits of 1,000 jobs"] = await commits(
        {"50,000 jobs": (small, 50 * BULK), f"{jobs:,} jobs": (archive, jobs - 100 * BULK)}, 100
    )
    figures["questions of 50,000 jobs"] = await questions(small, 50 * BULK)
    figures[f"questions of {jobs:,} jobs"] = await questions(archive, jobs)
    await small.aclose()
    figures["a rare queue, all of it"] = await walk(archive, JobFilter("default", queue="rare"))
    figures["a rare error, all of it"] = await walk(archive, JobFilter("default", error="a needle"))
    size = size_of(path)
    figures["bytes a job"] = round(size / jobs)
    # A step of retention now and then, between commits, as the broker makes them.
    half_ms = START_MS + jobs // JOBS_A_MS // 2
    steps = []
    removed = 0
    while True:
        at = time.perf_counter()
        step = await archive.retain(half_ms, RETAIN_ROWS, 1 << 60)
        steps.append((time.perf_counter() - at) * 1_000)
        removed += step
        if step < RETAIN_ROWS or removed >= jobs // 2:
            break
    steps.sort()
    figures["retention"] = {
        "removed": removed, "a_step_of": RETAIN_ROWS, "median_ms": round(median(steps), 2),
        "p99_ms": round(steps[int(len(steps) * 0.99)], 2), "max_ms": round(steps[-1], 2),
    }  # fmt: skip
    steps = []
    more = True
    while more:
        at = time.perf_counter()
        more = await archive.shrink()
        steps.append((time.perf_counter() - at) * 1_000)
    steps.sort()
    await archive.aclose()
    figures["room given back"] = {
        "before": size, "after": size_of(path), "steps": len(steps), "median_ms": round(median(steps), 2),
        "p99_ms": round(steps[int(len(steps) * 0.99)], 2),
    }  # fmt: skip
    return figures


def main() -> None:
    options = argparse.ArgumentParser(description="What an archive of millions of jobs costs.")
    options.add_argument("--jobs", type=int, default=10_000_000, help="a multiple of 1,000, at least 200,000")
    options.add_argument("--folder", default=".", help="where the archive is made, and removed again")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        figures = asyncio.run(measure(given.jobs, Path(folder) / "archive"))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
