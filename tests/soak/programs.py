"""The processes of a soak: a broker with tiny bounds, supervised workers, a client that stops reading."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from tests.support.commands import COMMAND, environment

# The least that each bound may be, or little more: what happens in months at its usual value happens in minutes here.
BOUNDS: Final = (
    "--session-ttl", "3s", "--journal-bound", "4MiB", "--journal-history", "8MiB", "--body-cache", "4MiB",
    "--archive-bound", "64MiB", "--max-backlog-jobs", "50000", "--disk-reserve", "16MiB",
    "--keep-succeeded", "3m", "--keep-dead", "4m", "--keep-cancelled", "2m", "--keep-expired", "2m",
)  # fmt: skip
JOURNAL: Final = "soak.db"
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 90.0


class Files(NamedTuple):
    """Bytes of each file, and of all."""

    journal: int
    wal: int
    archive: int
    mark: int
    disk: int


class Program:
    """A process that may be started again; what it says on stderr is appended to a file."""

    def __init__(self, folder: Path, name: str, words: list[str]) -> None:
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.name = name
        self._words = words
        self.process: Process

    async def start(self) -> None:
        with self.log.open("ab") as file:
            self.process = await asyncio.create_subprocess_exec(
                *self._words, cwd=self.folder, env=environment(), stdin=DEVNULL, stdout=PIPE, stderr=file
            )

    async def line(self) -> str:
        """The next line on its standard output; it must come in time."""
        assert self.process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: {self.log.read_text()[-2_000:]}")
        return line.decode()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end; the exit code. One that does not end is killed."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.communicate()
        except TimeoutError:
            self.process.kill()
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode

    def look(self) -> psutil.Process | None:
        """The process itself, or a supervisor's worker process; None while there is none."""
        try:
            process = psutil.Process(self.process.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            children = process.children()
        except psutil.Error:
            return None
        return children[0] if children else process if self.name == "broker" else None


def broker(folder: Path) -> Program:
    """`aioqueue serve` on a port of its own that stays the same."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [*COMMAND, "serve", "--json", "--port", str(port), "--journal", f"sqlite:{JOURNAL}", *BOUNDS]
    return Program(folder, "broker", words)


async def start_broker(program: Program) -> tuple[str, float]:
    """Start it; its URL, and how many seconds it took until it listened, imports included."""
    begun = time.monotonic()
    await program.start()
    url: str = json.loads(await program.line())["url"]
    return url, time.monotonic() - begun


def worker(folder: Path, name: str, url: str) -> Program:
    """`aioqueue worker` with one process."""
    options = ["--url", url, "--concurrency", "60", "--grace", "5s"]
    return Program(folder, name, [*COMMAND, "worker", "tests.soak.app:queue", *options])


def reader(folder: Path, url: str) -> Program:
    return Program(folder, "reader", [sys.executable, "-m", "tests.soak.reader", url])


def measure(folder: Path) -> Files:
    """The sizes of the broker's files now."""
    sizes = {}
    for path in folder.glob(f"{JOURNAL}*"):
        with suppress(FileNotFoundError):
            sizes[path.name.removeprefix(JOURNAL)] = os.stat(path).st_size
    # The reserve is a room that is kept free, and no use of it.
    disk = sum(size for name, size in sizes.items() if not name.endswith("reserve"))
    archive = sizes.get("-archive", 0) + sizes.get("-archive-wal", 0)
    return Files(sizes.get("", 0), sizes.get("-wal", 0), archive, sizes.get(".mark", 0), disk)
