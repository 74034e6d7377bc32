"""Where the demo's progress is shown: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live

from aioqueue.demo.jobs import Made
from aioqueue.demo.progress import Progress, Wanted
from aioqueue.demo.view import render, told


class Screen(Protocol):
    """`made` is called at each result, `draw` a few times a second with the time in UTC milliseconds."""

    def made(self, wanted: Wanted, made: Made) -> None: ...
    def draw(self, now_ms: int) -> None: ...


@contextmanager
def screen_for(console: Console, progress: Progress) -> Iterator[Screen]:
    """The screen that suits the console; the picture goes when the report comes."""
    if not console.is_terminal:
        yield Lines(console, progress)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield Picture(live, progress)


class Picture:
    """The picture, drawn anew each time."""

    def __init__(self, live: Live, progress: Progress) -> None:
        self._live = live
        self._progress = progress

    def made(self, wanted: Wanted, made: Made) -> None:
        """The next drawing shows it."""

    def draw(self, now_ms: int) -> None:
        self._live.update(render(self._progress, now_ms), refresh=True)


class Lines:
    """A line for each thing that happens."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._failures_told: dict[str, int] = {}
        self._say(
            f"a broker listens on {progress.url}; {progress.processes} worker processes; {len(progress.wanted)} jobs"
        )

    def made(self, wanted: Wanted, made: Made) -> None:
        count = f"{len(self._progress.done)}/{len(self._progress.wanted)}"
        self._say(
            f"{count} {wanted.label}: {made.file}, {made.bytes:,} bytes in {made.ms} ms by process {made.process}"
        )

    def draw(self, now_ms: int) -> None:
        for info in self._progress.retried():
            if self._failures_told.get(info.id, 0) < info.failures and info.id not in self._progress.done:
                self._failures_told[info.id] = info.failures
                self._say(told(self._progress, info, now_ms))

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
