"""Each figure, as a function that measures it and a record that says what came out.

Times are taken by the benchmark's own process, CPU from /proc, all after a warm-up.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from msgspec import Struct

from aioqueue import Queue
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.bench import app, processes
from aioqueue.bench.processes import Child
from aioqueue.clock import Clock, SystemClock
from aioqueue.journal.sqlite import SqliteJournal
from aioqueue.model.ids import generated_id
from aioqueue.model.records import FinishedJob
from aioqueue.model.spec import Spec, pack_spec
from aioqueue.model.states import JobState

WINDOW: Final = 5_000
BULK: Final = 500
CONCURRENCY: Final = 500
WARM_UP_JOBS: Final = 10_000
ARCHIVE_BULK: Final = 1_000


class Figure(Struct, frozen=True):
    """One measured number. `bound` is what docs/benchmarks.md promises, None where it promises nothing."""

    name: str
    value: float
    unit: str
    bound: float | None = None
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the figure keeps its bound."""
        if self.bound is None:
            return True
        return self.value >= self.bound if self.at_least else self.value <= self.bound


Progress = Callable[[str], None]


class Stage(Struct):
    """A running broker and worker, and a queue connected to them."""

    broker: Child
    worker: Child
    queue: Queue
    directory: str

    def cpu(self) -> tuple[float, float, float]:
        """CPU seconds until now: broker, worker, client."""
        return self.broker.usage().cpu_seconds, self.worker.usage().cpu_seconds, time.process_time()


@asynccontextmanager
async def stage(concurrency: int = CONCURRENCY) -> AsyncIterator[Stage]:
    """Real processes on a new journal in a temporary folder, warmed up."""
    with folder() as directory:
        async with (
            processes.broker(directory) as (broker, url),
            processes.worker(url, concurrency) as worker,
            Queue(url) as queue,
        ):
            await queue.run(app.noop)
            yield Stage(broker, worker, queue, directory)


@contextmanager
def folder() -> Iterator[str]:
    # A journal on a memory file system would measure no fsync at all; the current folder is on a disk.
    with tempfile.TemporaryDirectory(prefix="aioqueue-bench-", dir=os.getcwd()) as directory:
        yield directory


# --- throughput ---------------------------------------------------------------------------------------------------


async def throughput(jobs: int, progress: Progress) -> list[Figure]:
    """No-op jobs from submit to result, by `submit_many` and by single submits, a window of 5,000 under way."""
    figures: list[Figure] = []
    async with stage() as at:
        for name, submit in (("bulk", _bulk), ("single", _single)):
            await submit(at.queue, WARM_UP_JOBS)
            progress(f"{jobs:,} jobs, {name} submits")
            before, started = at.cpu(), time.perf_counter()
            await submit(at.queue, jobs)
            seconds = time.perf_counter() - started
            await asyncio.sleep(0.3)
            used = [(after - was) / jobs * 1e6 for after, was in zip(at.cpu(), before, strict=True)]
            figures += [
                Figure(f"{name} submits: jobs", jobs / seconds, "1/s", 20_000, at_least=True),
                Figure(f"{name} submits: CPU in all", sum(used), "us/job", 50),
                Figure(f"{name} submits: CPU of the broker, archive included", used[0], "us/job", 30),
                Figure(f"{name} submits: CPU of the worker", used[1], "us/job"),
                Figure(f"{name} submits: CPU of the client", used[2], "us/job"),
            ]
    return figures


async def _bulk(queue: Queue, jobs: int) -> None:
    calls = [app.noop.call() for _ in range(BULK)]

    async def one() -> None:
        for job in await queue.submit_many(calls):
            await job

    await _windowed(one, jobs // BULK, WINDOW // BULK)


async def _single(queue: Queue, jobs: int) -> None:
    async def one() -> None:
        await queue.run(app.noop)

    await _windowed(one, jobs, WINDOW)


async def _windowed(work: Callable[[], Awaitable[Any]], times: int, at_once: int) -> None:
    left = iter(range(times))

    async def lane() -> None:
        for _ in left:
            await work()

    async with asyncio.TaskGroup() as lanes:
        for _ in range(at_once):
            lanes.create_task(lane())


async def steady(rate: int, seconds: float, progress: Progress) -> list[Figure]:
    """A steady stream of jobs: what it costs, and how long each takes from submit to result."""
    async with stage() as at:
        await _single(at.queue, WARM_UP_JOBS)
        progress(f"{rate:,} jobs a second for {seconds:g} s")
        latencies: list[float] = []

        async def one() -> None:
            started = time.perf_counter()
            await at.queue.run(app.noop)
            latencies.append(time.perf_counter() - started)

        before = at.cpu()
        loop = asyncio.get_running_loop()
        jobs, begun = int(rate * seconds), loop.time()
        async with asyncio.TaskGroup() as group:
            for index in range(jobs):
                pause = begun + index / rate - loop.time()
                if pause > 0:
                    await asyncio.sleep(pause)
                group.create_task(one())
        used = [(after - was) / jobs * 1e6 for after, was in zip(at.cpu(), before, strict=True)]
    latencies.sort()
    return [
        Figure(f"steady {rate:,}/s: p50 submit to result", statistics.median(latencies) * 1e3, "ms"),
        Figure(f"steady {rate:,}/s: p99 submit to result", latencies[int(len(latencies) * 0.99)] * 1e3, "ms"),
        Figure(f"steady {rate:,}/s: CPU in all", sum(used), "us/job"),
        Figure(f"steady {rate:,}/s: CPU of the broker", used[0], "us/job"),
    ]


# --- latency ------------------------------------------------------------------------------------------------------


async def round_trip(times: int, progress: Progress) -> list[Figure]:
    """One job at a time on an idle broker, against this journal's own commits in turn with them."""
    async with stage() as at:
        progress(f"{times:,} idle round trips, in turn with bare commits")
        trips: list[float] = []
        commits: list[float] = []
        async with _bare_journal(at.directory, SystemClock()) as commit:
            for _ in range(times):
                started = time.perf_counter()
                await at.queue.run(app.noop)
                trips.append(time.perf_counter() - started)
                started = time.perf_counter()
                await commit()
                commits.append(time.perf_counter() - started)
    trip, bare = statistics.median(trips) * 1e3, statistics.median(commits) * 1e3
    return [
        Figure("idle round trip: p50", trip, "ms", 2 * bare + 0.7),
        Figure("idle round trip: p50 of one bare commit", bare, "ms"),
    ]


@asynccontextmanager
async def _bare_journal(directory: str, clock: Clock) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    journal = await SqliteJournal.open(os.path.join(directory, "bare.db"), clock)
    try:
        leadership = await journal.lead("bench", clock.now().wall_ms)
        position, body = leadership.position, b"x" * 300

        async def commit() -> None:
            nonlocal position
            position = await journal.append(leadership.chain.encode(clock.now().wall_ms, body, []), position)

        yield commit
    finally:
        await journal.aclose()


async def sleeping(jobs: int, seconds: float, concurrency: int, progress: Progress) -> list[Figure]:
    """Many coroutines that wait, in one worker at once."""
    async with stage(concurrency) as at:
        await _bulk(at.queue, WARM_UP_JOBS)
        progress(f"{jobs:,} jobs of sleep({seconds:g}) at concurrency {concurrency:,}")
        calls = [app.sleep.call(seconds) for _ in range(jobs)]
        started = time.perf_counter()
        for job in await at.queue.submit_many(calls):
            await job
        taken = time.perf_counter() - started
    return [Figure(f"{jobs:,} jobs of sleep({seconds:g}), concurrency {concurrency:,}", taken, "s", 0.6)]


async def archive(jobs: int, progress: Progress) -> list[Figure]:
    """What the archive alone costs, in this process: succeeded jobs in bulks as a loaded broker writes them."""
    with folder() as directory:
        store = await SqliteArchive.open(os.path.join(directory, "archive"), journal_id=bytes(16))
        try:
            progress(f"{jobs:,} finished jobs into an archive")
            bulks = [_finished(number) for number in range(jobs // ARCHIVE_BULK)]
            await store.write(_finished(len(bulks)), [], [], 1)
            before = time.process_time()
            for position, bulk in enumerate(bulks, start=2):
                await store.write(bulk, [], [], position)
            used = time.process_time() - before
        finally:
            await store.aclose()
    return [Figure("CPU of the archive", used / jobs * 1e6, "us/job", 8)]


def _finished(bulk: int) -> list[FinishedJob]:
    spec = pack_spec(Spec("default", "default", "bench.noop"))
    return [
        FinishedJob(
            generated_id("default", "default", 1_700_000_000_000 + bulk, os.urandom(8)), "default", "default",
            "bench.noop", JobState.SUCCEEDED, 0, 0, 0, 1, number + 1, 5, 1_700_000_000_000, 1_700_000_000_001,
            1_700_000_000_002, -1, "worker", bulk + 1, spec, b"\x01\xc0", b"", b"",
        )
        for number in range(ARCHIVE_BULK)
    ]  # fmt: skip


# --- rest ---------------------------------------------------------------------------------------------------------


async def idle(seconds: float, progress: Progress) -> list[Figure]:
    """What a broker and a worker cost while nothing happens."""
    async with stage() as at:
        await asyncio.sleep(1.0)
        progress(f"{seconds:g} s of nothing")
        before = at.cpu()
        await asyncio.sleep(seconds)
        after = at.cpu()
    return [
        Figure("idle broker", (after[0] - before[0]) / seconds * 100, "% CPU", 0.5),
        Figure("idle worker", (after[1] - before[1]) / seconds * 100, "% CPU", 0.5),
    ]
