"""Cutting a log in which very much lives: `python benchmarks/deep_retention.py [LIVING] [BYTES]`.

A broker on a file, without a network, with its usual bounds: so many jobs of 200 B are submitted that live on (a
million), and then others of BYTES come and go, until everything that lives has been carried twice. Shown for each part
of that are the engine's steps, what was written against what had to be, and the log against what lives; in the end a
process of its own recovers from that base. Takes some minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from retention import AT_ONCE, Load, Measured, quantile

from aioqueue.broker.broker import Broker
from aioqueue.broker.opening import open_broker
from aioqueue.broker.storage import JournalBounds
from aioqueue.core.state import living_bytes
from aioqueue.ground import Ground
from aioqueue.transport.address import SqliteAddress

# What came and went before the base is not looked at here.
BOUNDS = JournalBounds(history_bytes=0)


class Watch:
    """One part of the run: what was measured in it."""

    def __init__(self, broker: Broker, measured: Measured) -> None:
        self._broker = broker
        self._measured = measured
        self._began = time.perf_counter()
        self._used = time.process_time()
        self._written, self._carried = self._bytes()
        self.log_bytes_max = 0
        measured.steps.clear()
        measured.batches.clear()

    def _bytes(self) -> tuple[int, int]:
        assert self._broker.compactor is not None
        return self._broker.engine.span.written_bytes, self._broker.compactor._carried_bytes

    def look(self) -> None:
        self.log_bytes_max = max(self.log_bytes_max, self._broker.engine.span.log_bytes)

    def tell(self, what: str) -> None:
        steps, batches = self._measured.steps, self._measured.batches
        written, carried = self._bytes()
        written, carried = written - self._written, carried - self._carried
        lives = living_bytes(self._broker.engine.partition.state)
        print(
            f"{what}: {time.perf_counter() - self._began:.0f} s ({time.process_time() - self._used:.0f} s of the "
            f"processor), {len(steps):,} steps of p50 {quantile(steps, 0.5):.2f} p99 {quantile(steps, 0.99):.2f} max "
            f"{max(steps):.2f} ms, batches p99 {quantile(batches, 0.99):.1f} ms, {written >> 20:,} MiB written, "
            f"{written / (written - carried):.2f} times what had to be, log at most {self.log_bytes_max >> 20:,} MiB "
            f"for {lives >> 20:,} MiB that live ({self.log_bytes_max / lives:.2f} times)",
            flush=True,
        )


async def cut(path: str, living: int, size: int) -> None:
    # Nobody beats for the session that works.
    opening = open_broker(SqliteAddress(path), ground=Ground(), bounds=BOUNDS, session_ttl_ms=3_600_000)
    async with opening as broker:
        load, measured = Load(broker), Measured(broker)
        state = broker.engine.partition.state
        watch = Watch(broker, measured)
        await load.fill(living)
        watch.look()
        watch.tell("filled")
        # All that lives stands before this, and is carried when the base has passed it.
        end = broker.engine.position
        watch = Watch(broker, measured)
        while state.base == 1:
            await load.run(8 * AT_ONCE, size)
            watch.look()
        watch.tell("until the log was long enough to be cut")
        watch = Watch(broker, measured)
        while state.base <= end:
            await load.run(8 * AT_ONCE, size)
            watch.look()
        watch.tell("while everything was carried")
        end = broker.engine.position
        watch = Watch(broker, measured)
        while state.base <= end:
            await load.run(8 * AT_ONCE, size)
            watch.look()
        watch.tell("and once more")


def _memory(which: str) -> int:
    """In MiB, as the system says of this process."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[which].split()[0]) >> 10


async def recover(path: str) -> None:
    began, used = time.perf_counter(), time.process_time()
    async with open_broker(SqliteAddress(path), ground=Ground(), bounds=BOUNDS) as broker:
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        state = broker.engine.partition.state
        print(
            f"recovered from base {state.base:,}: {len(state.jobs):,} jobs from {broker.recovered.events:,} events "
            f"in {broker.engine.span.log_bytes >> 20:,} MiB, {seconds:.1f} s ({cpu:.1f} s of the processor), "
            f"resident {_memory('VmRSS'):,} MiB, at most {_memory('VmHWM'):,}",
            flush=True,
        )


async def main(living: int, size: int) -> None:
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as folder:
        path = str(Path(folder) / "deep.db")
        await cut(path, living, size)
        process = await asyncio.create_subprocess_exec(sys.executable, __file__, "--ready", path)
        if await process.wait():
            raise SystemExit("it does not recover")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("living", type=int, nargs="?", default=1_000_000)
    parser.add_argument("size", type=int, nargs="?", default=2_000)
    parser.add_argument("--ready", help=argparse.SUPPRESS)
    options = parser.parse_args()
    asyncio.run(recover(options.ready) if options.ready else main(options.living, options.size))
