"""What a shell stands on: clocks, chance and the timers of its housekeeping, as one argument.

Nothing above asks the machine for any of these. A program has the machine's own; a test or a simulator hands over
others, and then a seed is the whole of what happens. Core takes times as arguments and needs no ground.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, Protocol

from aioqueue.clock import Clock, SystemClock

_log = logging.getLogger(__name__)


class Every(Protocol):
    """Makes what housekeeping waits for."""

    def __call__(self, seconds: float, /) -> AsyncIterator[None]: ...


class Ground:
    """The machine's own, unless others are handed over.

    `now()` reads both clocks and `mono_ns()` the monotonic one alone; `random(n)` are so many bytes of chance.
    `every(seconds)` is for what only looks after things: `async for _ in ground.every(5.0)` goes round each so many
    seconds, for ever. Who makes time pass faster need not stop for it: one round for all that were missed will do. As
    long as time passes by itself rounds are punctual, for a late one is taken for a program that stood still.
    """

    __slots__ = ("every", "mono_ns", "now", "random")

    def __init__(
        self, clock: Clock | None = None, random: Callable[[int], bytes] | None = None, every: Every | None = None
    ) -> None:
        clock = clock or SystemClock()
        self.now: Final = clock.now
        self.mono_ns: Final = clock.mono_ns
        # Looked up now, not when this module was loaded: a process that forked has chance of its own either way.
        self.random: Final = random or os.urandom
        self.every: Final[Every] = every or Rounds


class Rounds:
    """An iterator that lets the same time pass before each round, by the event loop's own timer."""

    __slots__ = ("_seconds",)

    def __init__(self, seconds: float, /) -> None:
        self._seconds = seconds

    def __aiter__(self) -> Rounds:
        return self

    async def __anext__(self) -> None:
        await asyncio.sleep(self._seconds)


def looking_after(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """A task that only looks after something: one that fails says so in the log at once, under this name.

    Whoever began it cancels it.
    """
    task = asyncio.create_task(work, name=f"aioqueue: {name}")
    task.add_done_callback(_tell)
    return task


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s has failed, and looks no more", task.get_name(), exc_info=error)
