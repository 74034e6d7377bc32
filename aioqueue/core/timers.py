"""Points of time at which something is due by itself: a heap, of which some entries may have moved on.

An entry is `(time, place, name)`, the name of a job its id, and nothing is searched for in a heap: one that does not
hold any more (its job is over, or has another time) stays until it comes to the head, or until such entries are the
majority. Then all of them are looked at, a few with each that moves on: what is taken from the end of a heap leaves a
heap, so the old one serves until it is empty. So a timer costs a few list operations, and none ever waits for a million
others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import Any, Final, Generic, TypeVar

# Milliseconds UTC, the sequence that orders what is due at once, and the job.
Entry = tuple[int, int, bytes]
# What an entry names; names can be compared.
N = TypeVar("N", bound=Any)

# Below this many that moved on, sweeping costs more than it saves.
_SWEEP_MIN: Final = 1_000
# How many are looked at for each that moves on: enough to be through long before the next sweep is due.
_SWEPT_AT_ONCE: Final = 3


class Timers(Generic[N]):
    """Entries in the order of their times; `holds` says whether one still means something.

    `entries` and `older` are heaps; the second is being swept: what still means something there goes over to the first.
    """

    __slots__ = ("_holds", "_moved_on", "entries", "older")

    def __init__(self, holds: Callable[[tuple[int, int, N]], bool]) -> None:
        self._holds = holds
        self._moved_on = 0
        self.entries: list[tuple[int, int, N]] = []
        self.older: list[tuple[int, int, N]] = []

    def add(self, at_ms: int, place: int, name: N) -> None:
        heappush(self.entries, (at_ms, place, name))

    def head(self) -> tuple[int, int, N] | None:
        """The next one; it holds."""
        if self.older:
            return min(self.older[0], self.entries[0]) if self.entries else self.older[0]
        return self.entries[0] if self.entries else None

    def due(self, until_ms: int, count: int) -> list[tuple[int, int, N]]:
        """The first entries that hold and whose time is at most this, in their order; none is taken away."""
        found: list[tuple[int, int, N]] = []
        heaps = [heap for heap in (self.entries, self.older) if heap]
        heads = [(heap[0], which, 0) for which, heap in enumerate(heaps)]
        heapify(heads)
        while heads and heads[0][0][0] <= until_ms and len(found) < count:
            entry, which, index = heappop(heads)
            if self._holds(entry) and entry not in found[-1:]:
                found.append(entry)
            below = heaps[which]
            for child in range(2 * index + 1, min(2 * index + 3, len(below))):
                heappush(heads, (below[child], which, child))
        return found

    def moved_on(self) -> None:
        """An entry does not hold any more: keep a head that does, and most of the rest too."""
        entries, older, holds = self.entries, self.older, self._holds
        self._moved_on += 1
        for _ in range(min(_SWEPT_AT_ONCE, len(older))):
            entry = older.pop()
            if holds(entry):
                heappush(entries, entry)
            else:
                self._moved_on -= 1
        for heap in (entries, older):
            while heap and not holds(heap[0]):
                heappop(heap)
                self._moved_on -= 1
        self._moved_on = max(0, self._moved_on)
        if not older and self._moved_on > len(entries) // 2 + _SWEEP_MIN:
            self.entries, self.older = older, entries

    def __iter__(self) -> Iterator[tuple[int, int, N]]:
        """All of them, in no order; for whoever looks."""
        return chain(self.entries, self.older)

    def __len__(self) -> int:
        return len(self.entries) + len(self.older)
