"""A deep backlog: what a waiting job costs in memory, how fast it drains against a shallow one, how fast it is read.

The broker holds far fewer arguments than wait, so nearly all of a deep backlog is read back from its journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from aioqueue import Queue
from aioqueue.bench import app, processes
from aioqueue.bench.figures import BULK, CONCURRENCY, Figure, Progress, folder
from aioqueue.bench.processes import Child
from aioqueue.limits import MIB

CACHE_BYTES: Final = 32 * MIB
_CACHE: Final = ("--body-cache", "32MiB")
_DATA: Final = b"x" * 188
# Few enough for all their arguments to be in memory, and enough to be some seconds' work.
SHALLOW_JOBS: Final = 50_000


async def backlog(jobs: int, progress: Progress) -> list[Figure]:
    """Fill, stop, start, drain; a shallow backlog is drained before and after, for the ratio."""
    options = (*_CACHE, "--max-backlog-jobs", str(2 * jobs + 10 * SHALLOW_JOBS), "--max-backlog-bytes", "64GiB")
    with folder() as directory:
        async with processes.broker(directory, *options) as (broker, url), Queue(url) as queue:
            shallow = [await _fill_and_drain(broker, url, queue, SHALLOW_JOBS)]
            await _submit(queue, 20 * BULK, progress)
            before = broker.usage().resident_bytes
            progress(f"{jobs:,} jobs are submitted")
            await _submit(queue, jobs, progress)
            grown = broker.usage().resident_bytes - before
            on_disk = processes.files_bytes(directory)
        pauses = [processes.longest_pause_ms(directory)]
        progress(f"{jobs:,} jobs are read")
        started = time.perf_counter()
        async with processes.broker(directory, *options) as (broker, url), Queue(url) as queue:
            took, used = time.perf_counter() - started, broker.usage()
            progress(f"{jobs:,} jobs are drained")
            deep = await _drain(broker, url, queue, jobs + 20 * BULK)
            shallow.append(await _fill_and_drain(broker, url, queue, SHALLOW_JOBS))
        pauses.append(processes.longest_pause_ms(directory))
    speed = sum(rate for rate, _ in shallow) / len(shallow)
    cost = sum(cpu for _, cpu in shallow) / len(shallow)
    return [
        Figure(
            f"a waiting job of 200 bytes, beyond the cache ({jobs:,} jobs)", (grown - CACHE_BYTES) / jobs, "bytes", 400
        ),
        Figure("the files of the broker with that backlog", on_disk / MIB, "MiB"),
        Figure("the longest pause of the collector, deep backlog", max(pauses), "ms", 20),
        Figure(f"start with {jobs:,} waiting jobs, process included", took, "s", 10 * jobs / 1_000_000),
        Figure("of that, processor time", used.cpu_seconds, "s"),
        Figure("resident memory of the broker after that", used.resident_bytes / MIB, "MiB"),
        Figure("drain of a shallow backlog", speed, "1/s"),
        Figure("drain of a deep backlog", deep[0], "1/s"),
        Figure("deep against shallow", 100 * deep[0] / speed, "%", 70, at_least=True),
        Figure("CPU of the broker, shallow drain", cost, "us/job"),
        Figure("CPU of the broker, deep drain", deep[1], "us/job"),
    ]


async def _submit(queue: Queue, jobs: int, progress: Callable[[str], None]) -> None:
    calls = [app.swallow.call(_DATA) for _ in range(BULK)]
    for number in range(jobs // BULK):
        await queue.submit_many(calls)
        if number % 200 == 199:
            progress(f"{(number + 1) * BULK:,} of {jobs:,} jobs are submitted")


async def _fill_and_drain(broker: Child, url: str, queue: Queue, jobs: int) -> tuple[float, float]:
    await _submit(queue, jobs, lambda text: None)
    return await _drain(broker, url, queue, jobs)


async def _drain(broker: Child, url: str, queue: Queue, jobs: int) -> tuple[float, float]:
    """Jobs a second from the first end to the last of what waits, and the broker's CPU a job in microseconds.

    Two small jobs behind all of them tell: one of the highest priority runs first, one of the lowest last.
    """
    first = await queue.submit(app.noop.options(priority=9))
    last = await queue.submit(app.noop.options(priority=0))
    async with processes.worker(url, CONCURRENCY):
        await first
        began, used = time.perf_counter(), broker.usage().cpu_seconds
        await last
        seconds, cpu = time.perf_counter() - began, broker.usage().cpu_seconds - used
    return jobs / seconds, cpu / jobs * 1e6
