"""The command line as its users meet it: real processes, and a broker that `aioqueue serve` runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "aioqueue"]
PATIENCE_SECONDS = 90

SHOP = """
from aioqueue import Context, Queue

queue = Queue()


@queue.task
async def add(a: int, b: int = 1) -> int:
    return a + b


@queue.task(retry=1)
async def fail(text: str) -> None:
    raise ValueError(text)


@queue.task(queue="elsewhere")
async def wait_elsewhere() -> str:
    return "nobody runs this"


not_a_task = 1
"""


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would change a command's answers."""
    # A terminal's width, as some test runners set it, would cut what commands print.
    changing = ("AIOQUEUE_", "COV_", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(changing)}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **changes}


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self, code: int = 1) -> str:
        """The one sentence of a command that was refused; nothing else may stand anywhere."""
        assert self.code == code, self
        assert self.out == "", self
        lines = self.err.splitlines()
        assert len(lines) == 1, self
        assert lines[0].startswith("aioqueue: "), self
        return lines[0].removeprefix("aioqueue: ")


def run(*words: str, cwd: Path, **changes: str) -> Ended:
    """Run one command to its end."""
    ended = subprocess.run(
        [*COMMAND, *words],
        cwd=cwd,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert "Traceback (most recent call last)" not in ended.stderr or words[0] == "submit", ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)


class Served:
    """A broker in a process of its own; `ready` is the line it printed, as JSON."""

    def __init__(self, process: subprocess.Popen[str], ready: dict[str, Any], cwd: Path, errors: Path) -> None:
        self.process = process
        self.ready = ready
        self.url: str = ready["url"]
        self.cwd = cwd
        self._errors = errors

    @property
    def err(self) -> str:
        """All of its stderr until now."""
        return self._errors.read_text()

    def run(self, *words: str) -> Ended:
        """Run a command that talks to this broker."""
        return run(*words, cwd=self.cwd, AIOQUEUE_URL=self.url)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def serving(
    cwd: Path, *options: str, journal: str = "sqlite:jobs.db", port: int = 0, files: int = 0
) -> Iterator[Served]:
    """`aioqueue serve` from its ready line on, which may open so many `files`; killed at the end if it still runs."""
    errors = cwd / f"serve-{len(list(cwd.glob('serve-*.err')))}.err"
    words = ["serve", "--json", "--port", str(port), "--journal", journal, *options]
    limited = ["sh", "-c", 'ulimit -n "$0"; exec "$@"', str(files)] if files else []
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [*limited, *COMMAND, *words], cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    with process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, errors.read_text()
            yield Served(process, json.loads(line), cwd, errors)
        finally:
            if process.poll() is None:
                process.kill()


@contextmanager
def working(served: Served, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`aioqueue worker shop:queue` for a broker; stopped at the end. Wait for it by waiting for a job."""
    with (served.cwd / "worker.err").open("w") as stderr:
        words = ["worker", "shop:queue", "--url", served.url, "--queues", "default", "--grace", "1s", *options]
        process = subprocess.Popen([*COMMAND, *words], cwd=served.cwd, env=environment(), stderr=stderr)
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
