"""The live screen of `aioqueue top`: the terminal's alternate screen, drawn anew with every update, until q or Ctrl-C.

It outlives its broker: while no connection stands, the last picture stays and says so.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from aioqueue.client.queue import Queue
from aioqueue.model.views import Statistics
from aioqueue.monitor.render import render

# A picture without news is drawn this often, for the connection may have been lost.
_REDRAW_SECONDS: Final = 1.0
_KEY_BYTES: Final = 64
_LEAVE_KEYS: Final = frozenset(b"qQ")
_LEAVE_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Picture:
    """The last two views of a broker, and what is drawn of them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._previous: Statistics | None = None
        self._latest: Statistics | None = None

    def take(self, statistics: Statistics) -> None:
        self._previous, self._latest = self._latest, statistics

    def draw(self, *, connected: bool, height: int | None = None) -> RenderableType:
        if self._latest is None:
            return Text(f"waiting for the broker at {self._url}")
        return render(self._latest, self._previous, url=self._url, connected=connected, height=height)


async def show_live(queue: Queue, console: Console) -> None:
    """Draw what the connected queue is told until the person leaves.

    Raises what ends the statistics for good, with the terminal as it was before.
    """
    picture = Picture(queue.url)
    leave, news = asyncio.Event(), asyncio.Event()
    follow = asyncio.create_task(_follow(queue, picture, news))
    # Whatever ends the statistics ends the wait for news.
    follow.add_done_callback(lambda _: news.set())
    try:
        with _leaving(leave.set), Live(console=console, screen=True, auto_refresh=False) as live:
            while not leave.is_set() and not follow.done():
                connected = queue.session().link.connected
                live.update(picture.draw(connected=connected, height=console.size.height), refresh=True)
                await _first_of(leave, news)
                news.clear()
    finally:
        follow.cancel()
        ended = (await asyncio.gather(follow, return_exceptions=True))[0]
    if isinstance(ended, Exception):
        raise ended


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


@contextmanager
def _leaving(leave: Callable[[], None]) -> Iterator[None]:
    """Call `leave` at the q key and at signals that end programs; afterwards the terminal reads as before."""
    loop = asyncio.get_running_loop()
    for number in _LEAVE_SIGNALS:
        loop.add_signal_handler(number, leave)
    try:
        with _keys(leave):
            yield
    finally:
        for number in _LEAVE_SIGNALS:
            loop.remove_signal_handler(number)


@contextmanager
def _keys(leave: Callable[[], None]) -> Iterator[None]:
    if not sys.stdin.isatty():
        # Then only a signal ends it.
        yield
        return
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()

    def read() -> None:
        pressed = os.read(descriptor, _KEY_BYTES)
        if not pressed:
            loop.remove_reader(descriptor)
        if _LEAVE_KEYS & set(pressed):
            leave()

    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
