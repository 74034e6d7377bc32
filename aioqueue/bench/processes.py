"""A broker and a worker as processes of their own, and what the system says of their CPU time and memory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from aioqueue.errors import BrokerUnavailable

# A start that recovers millions of jobs on a machine that does much else.
READY_SECONDS: Final = 900.0
STOP_SECONDS: Final = 30.0
_PAUSES: Final = "pauses"
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Usage(Struct, frozen=True):
    """What a process has used: CPU seconds (its children included) and resident bytes."""

    cpu_seconds: float
    resident_bytes: int


class Child:
    """A process of the benchmark's own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def usage(self) -> Usage:
        """CPU and memory now, of the process and its living children, as /proc says."""
        pids = [self.pid, *_children(self.pid)]
        usages = [_usage(pid) for pid in pids]
        return Usage(sum(u.cpu_seconds for u in usages), sum(u.resident_bytes for u in usages))

    async def stop(self) -> None:
        """Ask it to end, and wait."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    found = [int(word) for word in text.split()]
    return [*found, *(inner for child in found for inner in _children(child))]


def _usage(pid: int) -> Usage:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return Usage(0.0, 0)
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND, resident)


@asynccontextmanager
async def broker(directory: str, *options: str) -> AsyncIterator[tuple[Child, str]]:
    """`aioqueue serve` on a free port with the journal of the folder; the process and its URL. What its collector did
    stands in the folder when it has ended (`longest_pause_ms`).
    """
    journal = os.path.join(directory, "bench.db")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aioqueue.bench.observed", os.path.join(directory, _PAUSES),
        "serve", "--port", "0", "--journal", f"sqlite:{journal}", "--json", "--log-level", "error", *options,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    child = Child(process)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(READY_SECONDS):
            line = await process.stdout.readline()
        if not line:
            raise BrokerUnavailable(url="the benchmark's broker", reason="it ended at its start")
        yield child, json.loads(line)["url"]
    finally:
        await child.stop()


def files_bytes(directory: str) -> int:
    """What the folder's journal and archive take on the disk now, their write-ahead logs included."""
    return sum(each.stat().st_size for each in Path(directory).iterdir() if each.is_file())


def longest_pause_ms(directory: str) -> float:
    """The longest pause that the collector made in the folder's broker; it must have ended."""
    return float(Path(directory, _PAUSES).read_text())


@asynccontextmanager
async def worker(url: str, concurrency: int) -> AsyncIterator[Child]:
    """`aioqueue worker` with one process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aioqueue", "worker", "aioqueue.bench.app:queue", "--url", url,
        "--concurrency", str(concurrency), "--log-level", "error",
    )  # fmt: skip
    child = Child(process)
    try:
        yield child
    finally:
        await child.stop()
