"""`on_partition="stop"`: a worker that can no longer know that its jobs are its own stops them by its own clock.

The broker gives the jobs of a session to others when it has heard nothing of it for a `session_ttl`. This watch begins
to count at the last moment at which the broker certainly heard this worker: when the latest ping that was answered was
sent. So what runs here is cancelled no later than it may begin elsewhere. Heartbeats of a supervisor or a thread do not
count: what the event loop itself can reach is what matters.

A look that comes late proves nothing yet, for what the broker said meanwhile has not been read: after a stop of this
process, or a task that blocked the event loop, one more heartbeat is waited for. Started by the worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aioqueue.client.link import Link
from aioqueue.ground import Ground, looking_after
from aioqueue.limits import HEARTBEATS_A_TTL, SESSION_TTL_MS

_log = logging.getLogger(__name__)
_NS_A_MS: Final = 1_000_000
_LOOKS_A_TTL: Final = 10


class PartitionWatch:
    """Calls `stop_jobs`, which gives how many it stopped, once for each time that the broker falls silent."""

    def __init__(self, link: Link, stop_jobs: Callable[[], int], ground: Ground) -> None:
        self._link = link
        self._stop_jobs = stop_jobs
        self._ground = ground
        self._task: asyncio.Task[None] | None = None
        # Before this moment silence proves nothing.
        self._doubted_until_ns = 0

    def start(self) -> None:
        """Begin to look, from the running event loop."""
        self._task = looking_after(self._run(), "the watch for a broker that does not answer")

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            step_ms = (self._link.session_ttl_ms or SESSION_TTL_MS) // _LOOKS_A_TTL
            due_ns = self._ground.mono_ns() + step_ms * _NS_A_MS
            await anext(self._ground.every(step_ms / 1000))
            try:
                self._look(due_ns)
            except Exception:
                # It must go on: whoever asked for it relies on being stopped.
                _log.exception("jobs could not be stopped, and will be tried again")

    def _look(self, due_ns: int) -> None:
        now_ns = self._ground.mono_ns()
        ttl_ns = self._link.session_ttl_ms * _NS_A_MS
        if now_ns - due_ns > ttl_ns // HEARTBEATS_A_TTL:
            self._doubted_until_ns = now_ns + ttl_ns // HEARTBEATS_A_TTL
        silent_ns = now_ns - self._link.heard_ns
        if self._link.heard_ns and silent_ns >= ttl_ns and now_ns >= self._doubted_until_ns:
            stopped = self._stop_jobs()
            if stopped:
                _log.error(
                    "the broker at %s has not answered for %.1f s: others may be given the jobs of this worker, so %d "
                    "of them are stopped", self._link.url, silent_ns / 1e9, stopped,
                )  # fmt: skip
