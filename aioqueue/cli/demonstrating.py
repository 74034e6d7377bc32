"""The demo on a command line: how it is shown, and how signals end it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Final

from rich.console import Console

from aioqueue.cli.outcome import DONE, out
from aioqueue.client.documents import json_text
from aioqueue.demo.photographs import photographs

# SIGINT is answered by `asyncio.run`, in the same way.
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
# For a table where there is no terminal that has a width.
_PIPE_COLUMNS: Final = 160


async def demonstrate(folder: str, processes: int, *, json: bool) -> int:
    """Run the demo and print its report; the exit code. Raises `ExtraMissing`, and what `run_demo` raises."""
    photos = photographs()
    # Only now: it needs Pillow.
    from aioqueue.demo.run import run_demo

    console = Console(quiet=json)
    if not console.is_terminal:
        console = Console(quiet=json, width=_PIPE_COLUMNS)
    signals = _Signals()
    try:
        report = await run_demo(photos, Path(folder) if folder else None, processes, console)
    except asyncio.CancelledError:
        if signals.number:
            return 128 + signals.number
        raise
    if json:
        out(json_text(report.document(), indent=2))
    else:
        console.print(report.table(), soft_wrap=False)
    return DONE


class _Signals:
    """Signals that end programs cancel the task that made this; `number` is the first that came."""

    def __init__(self) -> None:
        self.number = 0
        self._task = asyncio.current_task()
        for number in _STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: int) -> None:
        # A second one cancels the stopping too, which then ends what runs at once.
        self.number = self.number or number
        if self._task is not None:
            self._task.cancel()
