"""What one connection has the archive asked for: a few at a time, and the rest when it is their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from aioqueue.limits import LOOKUPS_A_CONNECTION_MAX

Work = Callable[..., Coroutine[Any, Any, None]]


class Lookups:
    """`spawn` runs something beside the engine."""

    __slots__ = ("_idle", "_running", "_spawn", "waiting")

    def __init__(self, spawn: Callable[..., None]) -> None:
        self._spawn = spawn
        self._running = 0
        self.waiting: deque[tuple[Work, tuple[Any, ...]]] = deque()
        self._idle: asyncio.Future[None] | None = None

    def start(self, work: Work, *arguments: Any) -> None:
        """Run it now, or when its turn has come."""
        self.waiting.append((work, arguments))
        if self._running < LOOKUPS_A_CONNECTION_MAX:
            self._running += 1
            self._spawn(self._work_off)

    async def room(self) -> None:
        """Wait until none waits for its turn: a connection is read no further before."""
        while self.waiting and self._running == LOOKUPS_A_CONNECTION_MAX:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    async def _work_off(self) -> None:
        try:
            while self.waiting:
                work, arguments = self.waiting.popleft()
                await work(*arguments)
        finally:
            self._running -= 1
            if self._idle is not None and not self._idle.done():
                self._idle.set_result(None)
