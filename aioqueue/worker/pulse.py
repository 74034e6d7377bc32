"""How an event loop fares, on its way from the watchdog of a worker to the beats of its session.

A worker process sends each `Pulse` to its supervisor; a worker in an app hands it to its own heartbeat. `Vitals` makes
beats of them, and where none comes any more it says that as well: C code that holds the GIL stops the watchdog too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from aioqueue.limits import DEAF_NAMED_MAX, LOOP_BLOCKED_MS
from aioqueue.model.views import Block
from aioqueue.protocol.messages import Beat

_NS_A_MS: Final = 1_000_000
# Two looks may be missed: machines are busy.
SILENT_MS: Final = LOOP_BLOCKED_MS + LOOP_BLOCKED_MS // 2
SILENT_PLACE: Final = "no sign of the event loop, as under C code that holds the GIL"


class Pulse(Struct, tag="pulse", frozen=True):
    """What a watchdog saw: how late the loop was at worst since the last pulse, and what it stands still in.

    `deaf` runs heeded no cancellation and go on; `deaf_jobs` are some of their jobs.
    """

    lag_ms: int
    blocked: Block | None = None
    deaf: int = 0
    deaf_jobs: Sequence[bytes] = ()


class Vitals:
    """The latest pulse of one worker. Two threads use it, one that feels and one that beats."""

    def __init__(self, mono_ns: Callable[[], int]) -> None:
        self._mono_ns = mono_ns
        self._pulse: Pulse | None = None
        self._felt_ns = 0
        # The worst since the last beat.
        self._lag_ms = 0
        # Once nobody looks at the loop any more: what its worker left behind.
        self._left: Sequence[bytes] | None = None

    def rest(self, left: Sequence[bytes]) -> None:
        """The worker has stopped, and left runs of these jobs behind; that no pulse comes any more is no sign."""
        self._left = left

    def feel(self, pulse: Pulse) -> bool:
        """Take a pulse; whether it is news that must not wait for the next beat: a block began, or is over."""
        before = self._pulse
        self._felt_ns = self._mono_ns()
        self._pulse = pulse
        self._lag_ms = max(self._lag_ms, pulse.lag_ms)
        return (before is not None and before.blocked is not None) != (pulse.blocked is not None)

    def beat(self, now_ns: int) -> Beat:
        """What to tell the broker at this moment of the monotonic clock. Before the first pulse: that it lives."""
        pulse = self._pulse
        if self._left is not None:
            return Beat(deaf=len(self._left), deaf_jobs=list(self._left[:DEAF_NAMED_MAX]))
        if pulse is None:
            return Beat()
        lag_ms, self._lag_ms = max(self._lag_ms, pulse.lag_ms), 0
        block = pulse.blocked
        silent_ms = max(0, now_ns - self._felt_ns) // _NS_A_MS
        if silent_ms > SILENT_MS:
            lag_ms = max(lag_ms, silent_ms)
            if block is None:
                block = Block(b"", "", SILENT_PLACE, silent_ms)
            else:
                block = Block(block.job, block.task, block.place, block.for_ms + silent_ms)
        return Beat(lag_ms, block, pulse.deaf, list(pulse.deaf_jobs))
