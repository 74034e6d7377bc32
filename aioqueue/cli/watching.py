"""The three ways to watch a broker: live on a terminal, as one picture, and as JSON."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import Any, cast

from rich.console import Console

from aioqueue.cli.outcome import out
from aioqueue.client.documents import document, json_text
from aioqueue.client.queue import Queue
from aioqueue.monitor.rates import Window
from aioqueue.monitor.render import render
from aioqueue.monitor.screen import show_live

# Wide enough for a job's error, where there is no terminal that has a width.
_PIPE_COLUMNS = 160


async def watch(queue: Queue, *, once: bool, json: bool) -> None:
    """Watch until told to stop, or `once`. Raises what connecting raises, and what ends a session for good."""
    async with queue:
        if json:
            await _print_documents(queue, once)
        elif once or not sys.stdout.isatty():
            await _print_picture(queue)
        else:
            await show_live(queue, Console())


async def _print_documents(queue: Queue, once: bool) -> None:
    async for statistics in queue.statistics():
        out(json_text(document(statistics)))
        if once:
            return


async def _print_picture(queue: Queue) -> None:
    """One picture, when enough time has passed to know a rate; the picture says how much."""
    window = Window()
    async with aclosing(cast(Any, queue.statistics())) as updates:
        async for statistics in updates:
            window.take(statistics)
            if window.before is not None:
                break
    assert window.latest is not None
    console = Console() if sys.stdout.isatty() else Console(width=_PIPE_COLUMNS)
    console.print(render(window.latest, window.before, url=queue.url))
