"""Points of time at which something is due by itself: a heap, of which some entries may have moved on.

An entry is `(time, place, id)`, and nothing is searched for in a heap: one that does not hold any more (its job is
over, or has another time) stays until it comes to the head, or until such entries are the majority. So a timer costs
a few list operations, with a million of them too.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

# Milliseconds UTC, the sequence that orders what is due at once, and the job.
Entry = tuple[int, int, bytes]

# Below this many that moved on, sweeping costs more than it saves.
_SWEEP_MIN = 1_000


class Timers:
    """Entries in the order of their times; `holds` says whether one still means something."""

    __slots__ = ("_holds", "_moved_on", "entries")

    def __init__(self, holds: Callable[[Entry], bool]) -> None:
        self._holds = holds
        self._moved_on = 0
        self.entries: list[Entry] = []

    def add(self, at_ms: int, place: int, job_id: bytes) -> None:
        heappush(self.entries, (at_ms, place, job_id))

    def head(self) -> Entry | None:
        """The next one; it holds."""
        return self.entries[0] if self.entries else None

    def moved_on(self) -> None:
        """An entry does not hold any more: keep a head that does, and most of the rest too."""
        entries, holds = self.entries, self._holds
        self._moved_on += 1
        while entries and not holds(entries[0]):
            heappop(entries)
            self._moved_on -= 1
        self._moved_on = max(0, self._moved_on)
        if self._moved_on > len(entries) // 2 + _SWEEP_MIN:
            self._moved_on = 0
            entries[:] = filter(holds, entries)
            heapify(entries)

    def __len__(self) -> int:
        return len(self.entries)
