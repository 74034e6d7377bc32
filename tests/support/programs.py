"""A broker and workers as the processes that users run, started and killed without blocking the test's event loop."""

from __future__ import annotations

import asyncio
import json
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import NamedTuple

from tests.support.commands import COMMAND, environment
from tests.support.nursery import Forked, Nursery

APP = "tests.support.logged_app:queue"
JOURNAL = "jobs.db"


async def start(
    words: list[str], folder: Path, errors: Path, env: dict[str, str], nursery: Nursery | None
) -> Process | Forked:
    """Run the `aioqueue` program with these words, by a new interpreter or by a nursery; its stdout is a pipe."""
    if nursery is not None:
        return await nursery.begin("aioqueue.cli:main", words, cwd=folder, env=env, errors=errors)
    with errors.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            *COMMAND, *words, cwd=folder, env=env, stdin=DEVNULL, stdout=PIPE, stderr=file
        )


class BrokerProgram:
    """`aioqueue serve` on a port that stays the same from its first start on."""

    def __init__(self, folder: Path, *, session_ttl: str, nursery: Nursery | None = None) -> None:
        self._folder = folder
        self._session_ttl = session_ttl
        self._nursery = nursery
        self._process: Process | Forked
        self.port = 0

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def journal(self) -> Path:
        return self._folder / JOURNAL

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        await self.spawn()
        await self.ready()

    async def spawn(self) -> None:
        """Start it, and wait for nothing."""
        words = ["serve", "--json", "--port", str(self.port), "--journal", f"sqlite:{JOURNAL}"]
        words += ["--session-ttl", self._session_ttl]
        self._process = await start(words, self._folder, self._folder / "broker.err", environment(), self._nursery)

    async def ready(self) -> None:
        """Wait for the line that says where it listens."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, (self._folder / "broker.err").read_text()
        self.port = json.loads(line)["port"]

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        # Whoever closes the pipe first is told by no warning.
        await self._process.communicate()
        return await self._process.wait()

    async def end(self) -> None:
        """Kill it, if it runs."""
        if self._process.returncode is None:
            self._process.kill()
        await self.ended()


class WorkerProgram:
    """`aioqueue worker` on the app of `tests.support.logged_app`."""

    def __init__(
        self, folder: Path, url: str, *, grace: str, concurrency: int, processes: int = 1, bell: Path | None = None,
        nursery: Nursery | None = None,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._url = url
        self._nursery = nursery
        self._options = ["--grace", grace, "--concurrency", str(concurrency), "--processes", str(processes)]
        self._marks = {"MARKS_LOG": str(marks_of(folder)), "MARKS_BELL": str(bell or "")}
        self._process: Process | Forked

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.returncode is None

    async def start(self) -> None:
        words = ["worker", APP, "--url", self._url, *self._options]
        env = environment(**self._marks)
        self._process = await start(words, self._folder, self._folder / "worker.err", env, self._nursery)

    def kill(self) -> None:
        self._process.kill()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        return await self._process.wait()

    async def stop(self) -> int:
        """Stop it in good order; the exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()

    async def end(self) -> int:
        """Kill it, if it runs; its process ends by itself then. The exit code."""
        if self._process.returncode is None:
            self._process.kill()
        return await self._process.wait()


def marks_of(folder: Path) -> Path:
    """The log of all processes that run the app in this folder."""
    return folder / "marks.log"


class Rung(NamedTuple):
    """A run of `hold` that waits to be told to go on."""

    job: str
    attempt: int
    crashes: int
    pid: int
    writer: asyncio.StreamWriter

    def go(self) -> None:
        self.writer.write(b"go\n")


class Bell:
    """Where runs of `hold` ring."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rung: asyncio.Queue[Rung] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._take, str(self.path))

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        told = json.loads(await reader.readline())
        self._rung.put_nowait(Rung(told["job"], told["attempt"], told["crashes"], told["pid"], writer))

    async def next(self) -> Rung:
        """The next run that rings."""
        return await self._rung.get()

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()
