"""The live screen of `aioqueue top`: the terminal's alternate screen, drawn anew with every update, until q or Ctrl-C.

It outlives its broker: while no connection stands, the last picture stays and says so.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from aioqueue.client.queue import Queue
from aioqueue.model.views import Statistics
from aioqueue.monitor.rates import Window
from aioqueue.monitor.render import render
from aioqueue.monitor.terminal import Terminal

# A picture without news is drawn this often, for the connection may have been lost.
_REDRAW_SECONDS: Final = 1.0
_LEAVE_KEYS: Final = frozenset("qQ")
_HELP_KEY: Final = "?"
_FOOT: Final = "q leave  ? keys"
_HELP: Final = "q or Ctrl-C leave, Ctrl-Z suspend (fg goes on), ? this line"


class Picture:
    """The latest views of a broker, what is drawn of them, and a line for what the keys say."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._window = Window()
        self.foot = _FOOT

    def take(self, statistics: Statistics) -> None:
        self._window.take(statistics)

    def draw(self, *, connected: bool, height: int | None = None) -> RenderableType:
        if (latest := self._window.latest) is None:
            return Text(f"waiting for the broker at {self._url}")
        rows = None if height is None else height - 1
        picture = render(latest, self._window.before, url=self._url, connected=connected, height=rows)
        return Group(picture, Text(self.foot, style="dim", no_wrap=True, overflow="ellipsis"))


async def show_live(queue: Queue, console: Console) -> None:
    """Draw what the connected queue is told until the person leaves.

    Raises what ends the statistics for good, with the terminal as it was before.
    """
    picture = Picture(queue.url)
    leave, news = asyncio.Event(), asyncio.Event()
    follow = asyncio.create_task(_follow(queue, picture, news))
    # Whatever ends the statistics ends the wait for news.
    follow.add_done_callback(lambda _: news.set())

    def pressed(key: str) -> None:
        if key in _LEAVE_KEYS:
            leave.set()
        picture.foot = _HELP if key == _HELP_KEY else f"{_named(key)} does nothing here; ? shows the keys"
        news.set()

    live = Live(console=console, screen=True, auto_refresh=False)
    try:
        with Terminal(live, pressed, leave.set, news.set):
            while not leave.is_set() and not follow.done():
                # Not as the environment says: COLUMNS and LINES stay what they were when the window changes.
                console.size = os.get_terminal_size(console.file.fileno())
                connected = queue.session().link.connected
                live.update(picture.draw(connected=connected, height=console.size.height), refresh=True)
                await _first_of(leave, news)
                news.clear()
    finally:
        follow.cancel()
        ended = (await asyncio.gather(follow, return_exceptions=True))[0]
    if isinstance(ended, Exception):
        raise ended


def _named(key: str) -> str:
    """What a person calls the key, as far as what it sends tells."""
    return key if len(key) == 1 and key.isprintable() and key != " " else "that key"


async def _follow(queue: Queue, picture: Picture, news: asyncio.Event) -> None:
    async for statistics in queue.statistics():
        picture.take(statistics)
        news.set()


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set, at most until the next drawing."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=_REDRAW_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
