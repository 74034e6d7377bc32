"""The broker's statistics, as they come.

Each watcher sees the latest; one that is slow misses some and never piles up.
"""

from __future__ import annotations

import asyncio
import copy

from aioqueue.client.link import Link
from aioqueue.errors import AioqueueError
from aioqueue.model.views import Statistics
from aioqueue.protocol.messages import StatisticsUpdate, Watch


class Watcher:
    """One who looks on."""

    __slots__ = ("_error", "_latest", "_waiter")

    def __init__(self) -> None:
        self._latest: Statistics | None = None
        self._error: AioqueueError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def told(self, statistics: Statistics) -> None:
        self._latest = statistics
        self._wake()

    def fail(self, error: AioqueueError) -> None:
        self._error = error
        self._wake()

    async def next(self) -> Statistics:
        """The latest statistics that this watcher has not seen; raises why none will come."""
        while self._latest is None:
            if self._error is not None:
                raise copy.copy(self._error)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        latest, self._latest = self._latest, None
        return latest

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Watchers:
    """All who look on over one link; the broker sends while there is at least one."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._watchers: set[Watcher] = set()

    def __len__(self) -> int:
        return len(self._watchers)

    def add(self) -> Watcher:
        watcher = Watcher()
        if not self._watchers:
            self._link.send_nowait(Watch())
        self._watchers.add(watcher)
        return watcher

    def remove(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        if not self._watchers:
            self._link.send_nowait(Watch(stop=True))

    # --- what the session calls ---

    def connected(self) -> None:
        if self._watchers:
            self._link.send_nowait(Watch())

    def told(self, message: StatisticsUpdate) -> None:
        for watcher in self._watchers:
            watcher.told(message.statistics)

    def fail(self, error: AioqueueError) -> None:
        for watcher in self._watchers:
            watcher.fail(error)
