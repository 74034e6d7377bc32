"""The load of the soak: stories of single jobs, each of which knows how it must end, at a steady rate.

A story submits, writes into the ledger what was acknowledged, waits for the end it expects, and leaves the job to be
read again when it is older.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from aioqueue import Call, Job, JobCancelled, JobExpired, JobFailed, NotRetryable, Queue, ResultExpired, Task
from tests.soak import app
from tests.soak.ledger import Ledger

TICK_SECONDS: Final = 0.05
# Stories under way; while the broker is away no more begin.
STORIES_MAX: Final = 3_000
FAR_JOBS: Final = 1_500
FAR_BYTES: Final = 3_000
LARGE_BYTES: Final = 100_000
BULK_JOBS: Final = 2_000
BULK_EVERY_SECONDS: Final = 40.0
READS_A_SECOND: Final = 10
REMEMBERED: Final = 20_000
# Far longer than anything takes, restarts of the broker included.
PATIENCE_SECONDS: Final = 120.0
# A result must be there so long, however full the archive is.
KEPT_AT_LEAST_SECONDS: Final = 30.0
SHORT_KEEP_SECONDS: Final = 15.0


class Ended(NamedTuple):
    """A success that is read again later; from `forgotten_from` on it may be gone."""

    job: str
    value: Any
    at: float
    forgotten_from: float


class Load:
    """Plays stories at `rate` a second until it is told to stop; the sampler takes what it measured."""

    def __init__(self, queue: Queue, ledger: Ledger, rate: int, seed: int) -> None:
        self._queue = queue
        self._ledger = ledger
        self._rate = rate
        self._chance = random.Random(seed)
        self._number = 0
        self._under_way = 0
        self.far: deque[Job[Any]] = deque()
        self._ended: deque[Ended] = deque(maxlen=REMEMBERED)
        self.submit_ms: list[float] = []
        self.round_trip_ms: list[float] = []
        self.held_back = 0
        self.read_again = 0
        self.read_expired = 0
        stories: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (44, self._noop), (18, self._small), (3, self._large), (9, self._delayed), (6, self._flaky),
            (4, self._doomed), (5, self._far), (4, self._cancelled), (2, self._stopped), (2, self._family),
            (1, self._late), (2, self._twice),
        ]  # fmt: skip
        self._stories = [story for _, story in stories]
        self._weights = [weight for weight, _ in stories]

    async def run(self, stopping: asyncio.Event) -> None:
        """The load, until `stopping`; then what is under way comes to its end."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(1 / READS_A_SECOND, self._read_again, stopping))
            tasks.create_task(self._every(BULK_EVERY_SECONDS, self._bulk, stopping))
            begun, owed = time.monotonic(), 0
            while not stopping.is_set():
                await asyncio.sleep(TICK_SECONDS)
                due = int((time.monotonic() - begun) * self._rate)
                for _ in range(due - owed):
                    if self._under_way >= STORIES_MAX:
                        self.held_back += 1
                        continue
                    story = self._chance.choices(self._stories, self._weights)[0]
                    tasks.create_task(self._guarded(story))
                owed = due

    async def _every(self, seconds: float, story: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await stopping.wait()
            await self._guarded(story)

    async def _guarded(self, story: Callable[[], Awaitable[None]]) -> None:
        self._under_way += 1
        try:
            await story()
        except Exception as error:  # whatever it is, it is a line of the verdict
            self._ledger.violate(story.__name__.strip("_"), f"{type(error).__name__}: {error}")
        finally:
            self._under_way -= 1

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _submit(self, story: str, states: str, task: Task[Any, Any] | Any, *args: Any) -> Job[Any]:
        begun = time.perf_counter()
        job: Job[Any] = await self._queue.submit(task, *args)
        self.submit_ms.append((time.perf_counter() - begun) * 1_000)
        self._ledger.acknowledge(job.id, story, *states.split())
        return job

    async def _succeed(self, job: Job[Any], value: Any, keep: float = KEPT_AT_LEAST_SECONDS) -> None:
        result = await job.result(timeout=PATIENCE_SECONDS)
        if result != value:
            self._ledger.violate("result", f"{job.id} gave {str(result)[:50]} and not {str(value)[:50]}")
        now = time.monotonic()
        self._ended.append(Ended(job.id, value, now, now + keep))

    # --- stories ---------------------------------------------------------------------------------------------------

    async def _noop(self) -> None:
        number = self._next()
        begun = time.perf_counter()
        job = await self._submit("noop", "succeeded", app.noop, number)
        await self._succeed(job, number)
        self.round_trip_ms.append((time.perf_counter() - begun) * 1_000)

    async def _small(self) -> None:
        data = self._chance.randbytes(self._chance.randrange(20, 400))
        task = app.echo.options(priority=self._chance.randrange(10), keep=SHORT_KEEP_SECONDS)
        # The worker's and the broker's clocks are one, and a commit takes far less than a second.
        await self._succeed(await self._submit("small", "succeeded", task, data), data, SHORT_KEEP_SECONDS - 1)

    async def _large(self) -> None:
        data = self._chance.randbytes(LARGE_BYTES)
        job = await self._submit("large", "succeeded", app.echo, data)
        result = await job.result(timeout=PATIENCE_SECONDS)
        if result != data:
            self._ledger.violate("large", f"{job.id} gave other bytes")

    async def _delayed(self) -> None:
        number = self._next()
        task = app.noop.options(delay=self._chance.uniform(0.1, 20))
        await self._succeed(await self._submit("delayed", "succeeded", task, number), number)

    async def _flaky(self) -> None:
        number = self._next()
        job = await self._submit("flaky", "succeeded", app.flaky, number, self._chance.randrange(1, 4))
        await self._succeed(job, number)

    async def _doomed(self) -> None:
        job = await self._submit("doomed", "dead", app.doomed, self._next())
        await self._ends(job, JobFailed)
        if self._chance.random() < 0.3:
            # Asked again after a restart, for the first answer may be lost: then it is ready, or runs.
            with suppress(NotRetryable):
                await job.retry()
            await self._ends(job, JobFailed)

    async def _ends(self, job: Job[Any], how: type[Exception]) -> None:
        try:
            await job.result(timeout=PATIENCE_SECONDS)
        except how:
            return
        self._ledger.violate("end", f"{job.id} of {job.task} succeeded")

    async def _far(self) -> None:
        task = app.echo.options(delay=self._chance.uniform(3_600, 2_000_000))
        self.far.append(await self._submit("far", "scheduled", task, self._chance.randbytes(FAR_BYTES)))
        if len(self.far) > FAR_JOBS:
            job = self.far.popleft()
            self._ledger.acknowledge(job.id, "far", "cancelled")
            await job.cancel("there are enough")

    async def _cancelled(self) -> None:
        job = await self._submit("cancelled", "cancelled", app.noop.options(delay="10m"), 0)
        await job.cancel("a mistake")
        await self._ends(job, JobCancelled)

    async def _stopped(self) -> None:
        job = await self._submit("stopped", "cancelled succeeded", app.nap, 3.0)
        await asyncio.sleep(self._chance.random())
        await job.cancel("not needed", wait=PATIENCE_SECONDS)

    async def _family(self) -> None:
        numbers = [self._next() for _ in range(3)]
        await self._succeed(await self._submit("family", "succeeded", app.family, numbers), sum(numbers))

    async def _late(self) -> None:
        job = await self._submit("late", "expired", app.late_family.options(deadline="1500ms"))
        await self._ends(job, JobExpired)

    async def _twice(self) -> None:
        number = self._next()
        task = app.noop.options(id=f"twice-{number}")
        first = await self._submit("twice", "succeeded", task, number)
        again: Job[Any] = await self._queue.submit(task, -1)
        if first != again:
            self._ledger.violate("twice", f"twice-{number} is {first.id} and {again.id}")
        await self._succeed(again, number)

    async def _bulk(self) -> None:
        numbers = [self._next() for _ in range(BULK_JOBS)]

        async def calls() -> AsyncIterator[Call[int]]:
            for number in numbers:
                yield app.noop.call(number)

        jobs = await self._queue.submit_many(calls())
        for job in jobs:
            self._ledger.acknowledge(job.id, "bulk", "succeeded")
        for job, number in zip(jobs, numbers, strict=True):
            await self._succeed(job, number)

    async def _read_again(self) -> None:
        """Read any of the results that are remembered, of whatever age."""
        if not self._ended:
            return
        ended = self._chance.choice(self._ended)
        self.read_again += 1
        asked = time.monotonic()
        try:
            value = await (await self._queue.get(ended.job)).result(timeout=PATIENCE_SECONDS)
        except ResultExpired:
            self.read_expired += 1
            if time.monotonic() < ended.forgotten_from:
                self._ledger.violate("read again", f"{ended.job} is gone {asked - ended.at:.0f} s after its end")
            return
        if value != ended.value:
            self._ledger.violate("read again", f"{ended.job} gave {str(value)[:50]}")
