"""Notices a worker that is connected and idle for a reason of its own: it must never be so, and so it is watched for.

The broker sees sessions that could have work and have none. It cannot see a worker that never told it of its slots, nor
a run that was delivered and that no free slot takes: those are seen here, by two looks `IDLE_MS` apart. What was found
is told, and set right where it can be. Looks that come late prove nothing, for then a task blocks the event loop, and
the watchdog tells of that. Started by the worker beside its watchdog.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from aioqueue.ground import Every, looking_after
from aioqueue.limits import IDLE_MS

_log = logging.getLogger(__name__)


class Watched(Protocol):
    """What may stand idle. `stuck` says in words why it does, or nothing; `nudge` sets it going."""

    def stuck(self) -> str: ...
    def nudge(self) -> None: ...


class IdleWatch:
    """Looks at each part again and again until `stop`. `found` is how often one was told."""

    def __init__(self, *parts: Watched, every: Every, idle_ms: int = IDLE_MS) -> None:
        self._parts = parts
        self._every = every
        self._idle_ms = idle_ms
        self._before: dict[Watched, str] = {}
        self._task: asyncio.Task[None] | None = None
        self.found = 0

    def start(self) -> None:
        """Begin to look, from the running event loop."""
        self._task = looking_after(self._run(), "the watch for an idle worker")

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async for _ in self._every(self._idle_ms / 1000):
            self._look(late=loop.time() - began > self._idle_ms / 1000 * 5 / 4)
            began = loop.time()

    def _look(self, late: bool) -> None:
        stuck = {} if late else {part: why for part in self._parts if (why := part.stuck())}
        for part, why in stuck.items():
            if self._before.get(part) == why:
                self.found += 1
                _log.error(
                    "this worker is idle for more than %d ms: %s; this is a defect of aioqueue, please report it",
                    self._idle_ms, why,
                )  # fmt: skip
                part.nudge()
        self._before = stuck
