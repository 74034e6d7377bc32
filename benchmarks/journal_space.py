"""How a journal gives its space back: one SQLite file with incremental vacuum against segment files that are removed.

    python benchmarks/journal_space.py [MIB]

Both keep a log of the last 64 MiB while batches of 16 kB are appended, each durable before the next: SQLite as
`SqliteJournal` does it (one file, rows deleted a step at a time, free pages kept for what comes), segment files as a
journal of one's own would (a header with a CRC, append, fdatasync, remove the oldest). docs/adr quotes a run.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections import deque
from pathlib import Path

from aioqueue.clock import SystemClock
from aioqueue.journal.sqlite import SqliteJournal

BATCH = bytes(16_000)
LOG_BYTES = 64 << 20
SEGMENT_BYTES = 4 << 20


def told(name: str, appends: list[float], seconds: float, used: float, peak: int) -> None:
    millis = sorted(1000 * each for each in appends)
    print(
        f"{name:24} {len(millis) / seconds:6,.0f} appends/s, {used / len(millis) * 1e6:5.0f} us CPU each, "
        f"p50 {statistics.median(millis):5.2f} p99 {millis[int(len(millis) * 0.99)]:6.2f} max {millis[-1]:7.2f} ms, "
        f"file(s) at most {peak >> 20} MiB"
    )


async def sqlite(folder: Path, count: int, *, trim: bool) -> None:
    path = folder / f"journal-{trim}"
    journal = await SqliteJournal.open(path, SystemClock())
    leadership = await journal.lead("bench", 1)
    position, first, peak = leadership.position, 1, 0
    trimming: asyncio.Task[None] | None = None
    appends: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    kept = LOG_BYTES // len(BATCH)
    for _ in range(count):
        start = time.perf_counter()
        position = await journal.append(leadership.chain.encode(1, b"", [BATCH]), position)
        appends.append(time.perf_counter() - start)
        if trim and position - first > kept + SEGMENT_BYTES // len(BATCH) and (trimming is None or trimming.done()):
            first = position - kept
            peak = max(peak, path.stat().st_size)
            trimming = asyncio.create_task(journal.trim(first))
    if trimming is not None:
        await trimming
    told(f"SQLite, {'cut' if trim else 'uncut'}", appends, time.perf_counter() - began, time.process_time() - cpu, peak)
    if trim:
        await journal.trim(position - 100)
        await journal.aclose()
        print(f"{'':24} and {path.stat().st_size >> 20} MiB when nearly all of it was trimmed")
    else:
        await journal.aclose()
    remove(folder, path.name)


def remove(folder: Path, name: str) -> None:
    for each in folder.glob(f"{name}*"):
        each.unlink()


async def segments(folder: Path, count: int) -> None:
    files: deque[Path] = deque()
    appends: list[float] = []
    size = number = peak = 0
    handle = -1
    began, cpu = time.perf_counter(), time.process_time()

    def write(data: bytes) -> None:
        os.write(handle, zlib.crc32(data).to_bytes(4, "big") + data)
        os.fdatasync(handle)

    for _ in range(count):
        if handle < 0 or size >= SEGMENT_BYTES:
            number, size = number + 1, 0
            files.append(folder / f"segment-{number}")
            if handle >= 0:
                os.close(handle)
            handle = os.open(files[-1], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            while len(files) > LOG_BYTES // SEGMENT_BYTES + 1:
                files.popleft().unlink()
            peak = max(peak, len(files) * SEGMENT_BYTES)
        start = time.perf_counter()
        await asyncio.to_thread(write, BATCH)
        appends.append(time.perf_counter() - start)
        size += len(BATCH)
    os.close(handle)
    told("segment files", appends, time.perf_counter() - began, time.process_time() - cpu, peak)
    remove(folder, "segment-")


async def main(mib: int) -> None:
    count = (mib << 20) // len(BATCH)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            await sqlite(Path(folder), count, trim=False)
            await sqlite(Path(folder), count, trim=True)
            await segments(Path(folder), count)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 256))
