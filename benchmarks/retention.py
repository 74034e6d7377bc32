"""What it costs to cut the journal's log while jobs go through: `python benchmarks/retention.py [JOBS] [LIVING]`.

A broker on a file, without a network: jobs of 200 B are submitted, leased and settled, 250 at a time and two of those
in flight, beside a number that live on and must be carried. Rounds without and with a tight bound take turns, so the
machine's own moods fall on both. Shown are jobs a second and processor time a job, the engine's steps (processor time
of core's part, and the whole batch with its append), bytes written against those that had to be, and the file's size.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

from aioqueue.broker.broker import Broker
from aioqueue.broker.opening import open_broker
from aioqueue.broker.storage import JournalBounds
from aioqueue.core import commands as c
from aioqueue.core.state import living_bytes
from aioqueue.ground import Ground
from aioqueue.model.ids import generated_id
from aioqueue.model.spec import Spec, pack_spec
from aioqueue.transport.address import SqliteAddress

BOUND = JournalBounds(8 << 20, history_bytes=32 << 20)
NO_BOUND = JournalBounds(1 << 50)
AT_ONCE = 250
ROUNDS = 3


class Measured:
    """Steps of an engine, in milliseconds: the processor time of core's part, and how long the whole batch took."""

    def __init__(self, broker: Broker) -> None:
        self.steps: list[float] = []
        self.batches: list[float] = []
        partition, engine = broker.engine.partition, broker.engine
        step, batch = partition.step, engine._batch

        def timed_step(*arguments: Any) -> Any:
            began = time.thread_time()
            try:
                return step(*arguments)
            finally:
                self.steps.append((time.thread_time() - began) * 1000)

        async def timed_batch(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return await batch(*arguments)
            finally:
                self.batches.append((time.perf_counter() - began) * 1000)

        partition.step = timed_step  # type: ignore[method-assign]
        engine._batch = timed_batch  # type: ignore[method-assign]


class Load:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._numbers = count()
        self._spec = Spec("default", "default", "noop")
        self._packed = pack_spec(self._spec)
        self._session = 0

    async def ask(self, command: c.Command) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._broker.engine.post(command, lambda asker, question, reply: answer.set_result(reply))
        reply = await answer
        if isinstance(reply, Exception):
            raise reply
        return reply

    def jobs(self, number: int, delay_ms: int = 0, size: int = 200) -> list[c.NewJob]:
        now_ms = self._broker.services.ground.now().wall_ms
        return [
            c.NewJob(
                generated_id("default", "default", now_ms, next(self._numbers).to_bytes(10, "big")),
                self._spec, self._packed, bytes(size), delay_ms,
            )
            for _ in range(number)
        ]  # fmt: skip

    async def fill(self, living: int) -> None:
        for _ in range(0, living, AT_ONCE):
            await self.ask(c.SubmitJobs(self.jobs(AT_ONCE, 3_600_000)))

    async def run(self, jobs: int, size: int = 200) -> None:
        if not self._session:
            self._session, _ = await self.ask(c.OpenSession(b"bench", "default", "bench"))
            await self.ask(c.OfferCapacity(self._session, 4 * AT_ONCE, ("default",)))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(self._go(jobs // 2, size))

    async def _go(self, jobs: int, size: int) -> None:
        state = self._broker.engine.partition.state
        for _ in range(0, jobs, AT_ONCE):
            mine = self.jobs(AT_ONCE, size=size)
            await self.ask(c.SubmitJobs(mine))
            while any(job.id in state.jobs and not state.jobs[job.id].fence for job in mine):  # noqa: ASYNC110
                await asyncio.sleep(0)
            ends = [c.EndRun(job.id, state.jobs[job.id].fence, c.RunEnd.SUCCEEDED, b"\x01\xc0") for job in mine]
            await self.ask(c.SettleRuns(self._session, ends))


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


async def measure(folder: str, name: str, bounds: JournalBounds, jobs: int, living: int) -> tuple[float, float]:
    path = Path(folder) / name
    async with open_broker(SqliteAddress(str(path)), ground=Ground(), bounds=bounds) as broker:
        load = Load(broker)
        await load.fill(living)
        await load.run(jobs // 10)
        measured = Measured(broker)
        span, compactor = broker.engine.span, broker.compactor
        assert compactor is not None
        written, carried = span.written_bytes, compactor._carried_bytes
        began, cpu = time.perf_counter(), time.process_time()
        await load.run(jobs)
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
        written, carried = span.written_bytes - written, compactor._carried_bytes - carried
        print(
            f"{name:12} {jobs / seconds:7,.0f} jobs/s {used / jobs * 1e6:6.1f} us/job   "
            f"step p50 {quantile(measured.steps, 0.5):5.2f} p99 {quantile(measured.steps, 0.99):5.2f} "
            f"max {max(measured.steps):5.2f} ms   batch p50 {quantile(measured.batches, 0.5):5.2f} "
            f"p99 {quantile(measured.batches, 0.99):5.2f} max {max(measured.batches):6.2f} ms   "
            f"written {written / (written - carried):.2f} times, log {span.log_bytes >> 20} MiB "
            f"for {living_bytes(broker.engine.partition.state) >> 20} MiB that live"
        )
    size = path.stat().st_size
    began = time.perf_counter()
    async with open_broker(SqliteAddress(str(path)), ground=Ground(), bounds=bounds) as broker:
        ready = time.perf_counter() - began
        print(f"{'':12} file {size >> 20} MiB, ready again in {ready:.2f} s, {broker.recovered.events:,} events read")
    for each in path.parent.glob(f"{name}*"):
        os.remove(each)
    return jobs / seconds, used / jobs


async def main(jobs: int, living: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ratios: list[tuple[float, float]] = []
        for number in range(ROUNDS):
            without = await measure(folder, f"uncut-{number}", NO_BOUND, jobs, living)
            with_it = await measure(folder, f"cut-{number}", BOUND, jobs, living)
            ratios.append((with_it[0] / without[0], with_it[1] / without[1]))
        speed, used = (statistics.median(each) for each in zip(*ratios, strict=True))
        print(f"cutting against not: {speed:.2f} of the jobs/s, {used:.2f} times the processor time a job (medians)")


if __name__ == "__main__":
    asyncio.run(main(*(int(argument) for argument in [*sys.argv[1:], "50000", "20000"][:2])))
