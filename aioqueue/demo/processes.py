"""The demo's broker and workers: `aioqueue serve` and `aioqueue worker`, as anybody would start them.

They stand in sessions of their own, so that a Ctrl-C reaches the demo alone, which then stops them in order: workers
first, the broker last. Whatever happens, no process is left.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from aioqueue.errors import BrokerUnavailable

_READY_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
# Jobs of the demo compute, so more of them than cores would only take turns.
_JOBS_A_PROCESS: Final = 2


class Child:
    """One command of aioqueue that runs, and where it writes its log."""

    def __init__(self, what: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.what = what
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def first_line(self) -> str:
        """What it prints when it is ready. Raises `BrokerUnavailable` if it ends before, or takes too long."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_READY_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise BrokerUnavailable(url=self.what, reason=f"not ready within {_READY_SECONDS:g} s") from None
        if not line:
            await self.ended()
        return line.decode()

    async def ended(self) -> None:
        """Wait for an end that nobody asked for, and raise it as `BrokerUnavailable`."""
        code = await self._process.wait()
        said = self.log.read_text(errors="replace").splitlines()
        reason = said[-1] if said else f"it ended with exit code {code}"
        raise BrokerUnavailable(f"{self.what} ended: {reason}", url=self.what, reason=reason)

    async def stop(self) -> None:
        """Ask it to end, and see to it that it does; being cancelled here ends it at once."""
        try:
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    self._process.send_signal(signal.SIGTERM)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_STOP_SECONDS):
                        await self._process.wait()
        finally:
            # What is left of its session, a worker's own processes included.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[tuple[Child, str]]:
    """A broker on a free port with its journal in `folder`; and its URL. Raises `BrokerUnavailable`."""
    words = ["serve", "--port", "0", "--journal", f"sqlite:{folder / 'demo.db'}", "--json"]
    async with _running("the demo's broker", words, folder / "broker.log") as child:
        yield child, json.loads(await child.first_line())["url"]


@asynccontextmanager
async def workers(folder: Path, url: str, processes: int) -> AsyncIterator[Child]:
    """The workers' supervisor, which starts so many processes."""
    words = [
        *("worker", "aioqueue.demo.jobs:queue", "--url", url, "--grace", "5s"),
        *("--processes", str(processes), "--concurrency", str(_JOBS_A_PROCESS)),
    ]
    async with _running("the demo's worker", words, folder / "worker.log") as child:
        yield child


@asynccontextmanager
async def _running(what: str, words: list[str], log: Path) -> AsyncIterator[Child]:
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aioqueue", *words),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=errors, start_new_session=True,
        )  # fmt: skip
    child = Child(what, process, log)
    try:
        yield child
    finally:
        await child.stop()
