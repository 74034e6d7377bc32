"""One heap of deadlines for a whole worker, with one timer of the event loop for the earliest.

A timer of the loop for each job would cost 1-2 us to set and to cancel; here both are a few list operations. What was
cancelled stays in the heap until half of it is such, and is then swept out, so an hour's timeout of a job that took a
millisecond is not remembered for an hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

_NS_A_MS: Final = 1_000_000
_NS_A_SECOND: Final = 1_000_000_000
# Below this many cancelled entries sweeping costs more than it saves.
_SWEEP_MIN: Final = 64


class Deadline:
    """One action at one instant. `cancel` may be called at any time, also after it fired."""

    __slots__ = ("_deadlines", "action", "due_ns")

    def __init__(self, deadlines: Deadlines, due_ns: int, action: Callable[[], None]) -> None:
        self._deadlines = deadlines
        self.due_ns = due_ns
        self.action: Callable[[], None] | None = action

    def __lt__(self, other: Deadline) -> bool:
        return self.due_ns < other.due_ns

    def cancel(self) -> None:
        """The action will not be called."""
        if self.action is not None:
            self.action = None
            self._deadlines.cancelled()


class Deadlines:
    """Calls each action once its time has come, in the order of their times; `now_ns` is the monotonic clock."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._heap: list[Deadline] = []
        self._cancelled = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    def __len__(self) -> int:
        """How many deadlines are kept, cancelled ones included."""
        return len(self._heap)

    def add(self, after_ms: int, action: Callable[[], None]) -> Deadline:
        """Call `action`, from the running event loop, when `after_ms` have passed."""
        deadline = Deadline(self, self._now_ns() + after_ms * _NS_A_MS, action)
        heappush(self._heap, deadline)
        if self._heap[0] is deadline:
            self._arm()
        return deadline

    def cancelled(self) -> None:
        """A deadline tells that it was cancelled."""
        self._cancelled += 1
        if self._cancelled > _SWEEP_MIN and self._cancelled * 2 > len(self._heap):
            self._heap = [deadline for deadline in self._heap if deadline.action is not None]
            heapify(self._heap)
            self._cancelled = 0

    def fire(self) -> None:
        """Call what is due; called by the timer."""
        self._timer = None
        now = self._now_ns()
        while self._heap and self._heap[0].due_ns <= now:
            deadline = heappop(self._heap)
            action, deadline.action = deadline.action, None
            if action is None:
                self._cancelled -= 1
            else:
                action()
        self._arm()

    def close(self) -> None:
        """Nothing will be called any more."""
        self._heap.clear()
        self._arm()

    def _arm(self) -> None:
        due_ns = self._heap[0].due_ns if self._heap else None
        if self._timer is not None:
            # A timer that is early costs one look at the heap; setting it anew at each change costs more.
            if due_ns is not None and self._timer_ns <= due_ns:
                return
            self._timer.cancel()
            self._timer = None
        if due_ns is not None:
            wait = max(0, due_ns - self._now_ns()) / _NS_A_SECOND
            self._timer = asyncio.get_running_loop().call_later(wait, self.fire)
            self._timer_ns = due_ns
