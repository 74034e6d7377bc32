"""How long the event loop stood still: stopped, suspended, or held up by something that does not await.

Whatever is awaited for long, such as a slow disk, leaves the loop running: what peers say meanwhile is read and counts.
While it stands still nothing is read, and no silence proves anything. A sign a few times a heartbeat tells which it is.
"""

from __future__ import annotations

import asyncio

from aioqueue.ground import Ground, looking_after


class Standstill:
    """Watches the running event loop from `start` to `stop`; a sign every `step_ms`."""

    def __init__(self, ground: Ground, step_ms: int) -> None:
        self._ground = ground
        self._step_ms = step_ms
        self._last_ms = 0
        # What was found, and not taken yet.
        self._still_ms = 0
        self._signs: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._last_ms = self._ground.now().mono_ms
        self._signs = looking_after(self._sign(), "the watch for a standstill")

    def stop(self) -> None:
        if self._signs is not None:
            self._signs.cancel()

    def taken(self, now_ms: int) -> int:
        """How long it stood still by now, each time told once."""
        self._notice(now_ms)
        still_ms, self._still_ms = self._still_ms, 0
        return still_ms

    def _notice(self, now_ms: int) -> None:
        passed_ms = now_ms - self._last_ms
        self._last_ms = now_ms
        # One sign may be late: machines are busy.
        if passed_ms > 2 * self._step_ms:
            self._still_ms += passed_ms

    async def _sign(self) -> None:
        async for _ in self._ground.every(self._step_ms / 1000):
            self._notice(self._ground.now().mono_ms)
