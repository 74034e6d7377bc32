"""By when runs must be over, for the deadlines of their jobs.

A job's deadline is the broker's to keep, which says when to stop. The worker's own clock is for when it cannot be
heard, and a little later: what was given back before the broker's time came would only begin once more. Kept by
`Runners` for every run that it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from aioqueue.limits import DURATION_MS_MAX
from aioqueue.protocol.extras import Key, number_in
from aioqueue.protocol.messages import DeliverItem, Extra
from aioqueue.worker.deadlines import Deadline, Deadlines
from aioqueue.worker.endings import Stop

MARGIN_MS: Final = 250


class Bounds:
    """Calls `stop` for each run whose time has come and that was not dropped before."""

    def __init__(self, deadlines: Deadlines, stop: Callable[[DeliverItem, Stop], None]) -> None:
        self._deadlines = deadlines
        self._stop = stop
        # A fence alone names no run: another journal counts from 1 as well.
        self._bounds: dict[tuple[bytes, int], Deadline] = {}

    def __len__(self) -> int:
        """How many runs must be over by some time."""
        return len(self._bounds)

    def add(self, item: DeliverItem, extra: Extra) -> None:
        """Keep the deadline of this run, if it has one."""
        left_ms = number_in(extra, Key.DEADLINE, DURATION_MS_MAX)
        if left_ms:
            stop = partial(self._stop, item, Stop.DEADLINE)
            self._bounds[item.job, item.fence] = self._deadlines.add(left_ms + MARGIN_MS, stop)

    def drop(self, item: DeliverItem) -> None:
        """The run is over, or is held no longer."""
        bound = self._bounds.pop((item.job, item.fence), None)
        if bound is not None:
            bound.cancel()
