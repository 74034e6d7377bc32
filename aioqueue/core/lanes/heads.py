"""Which of many lanes has the job whose turn it is: a heap of their heads.

The heap is lazy. It holds each lane that may have a job under a rank that its head does not fall below: heads only
rise by themselves, and where one falls (a job comes to an empty line, or back into its place) the lane says so. What
comes up under another rank than it has by now is put where it belongs. So ten thousand lanes cost the logarithm of
their number a lease, and an empty one nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace, nsmallest
from itertools import count
from typing import Final, Protocol

from aioqueue.core.nouns import Job
from aioqueue.limits import PRIORITY_MAX

# Higher than any rank.
_NEVER: Final = 1 << 128
# Entries that are not valid any more, beside as many as there are lanes.
_STALE_MAX: Final = 64


def rank_of(job: Job) -> int:
    """Where a ready job stands among others, as one number: by priority, then by sequence; the lowest goes first."""
    return (PRIORITY_MAX - job.spec.priority) << 64 | job.seq


class Source(Protocol):
    """Whatever has a head, and tells its watchers when that falls."""

    @property
    def depth(self) -> int: ...

    def head(self) -> Job | None: ...

    def watch(self, heads: Heads) -> None: ...

    def unwatch(self, heads: Heads) -> None: ...

    def upcoming(self, jobs_max: int) -> Iterator[Job]: ...


class Heads:
    """The heads of many sources."""

    __slots__ = ("_heap", "_listed", "_number", "sources")

    def __init__(self, sources: list[Source]) -> None:
        self._number = count()
        # Under which rank each is to be found; an entry of the heap with another rank is not valid.
        self._listed: dict[Source, int] = {}
        self._heap: list[tuple[int, int, Source]] = []
        self.sources = dict.fromkeys(sources)
        for source in sources:
            source.watch(self)
            if (job := source.head()) is not None:
                self._listed[source] = rank_of(job)
        self._rebuild()

    def first(self) -> Job | None:
        """The job whose turn it is."""
        heap, listed = self._heap, self._listed
        while heap:
            rank, _, source = heap[0]
            if listed.get(source) != rank:
                heappop(heap)
                continue
            job = source.head()
            if job is None:
                heappop(heap)
                del listed[source]
                continue
            now = rank_of(job)
            if now == rank:
                return job
            listed[source] = now
            heapreplace(heap, (now, next(self._number), source))
        return None

    def fell(self, source: Source, rank: int) -> None:
        """The head of the source may have this rank now, or any above it."""
        if rank < self._listed.get(source, _NEVER):
            self._listed[source] = rank
            heappush(self._heap, (rank, next(self._number), source))
            if len(self._heap) > 2 * len(self._listed) + _STALE_MAX:
                self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [(rank, next(self._number), source) for source, rank in self._listed.items()]
        heapify(self._heap)

    def add(self, source: Source) -> None:
        """One more."""
        self.sources[source] = None
        source.watch(self)
        if (job := source.head()) is not None:
            self.fell(source, rank_of(job))

    def drop(self, source: Source) -> None:
        """One less."""
        del self.sources[source]
        self._listed.pop(source, None)
        source.unwatch(self)

    def close(self) -> None:
        """Nobody asks any more."""
        for source in self.sources:
            source.unwatch(self)

    def depth(self, enough: int) -> int:
        """How many jobs there are in all, or more than enough."""
        found = 0
        for source in self._listed:
            found += source.depth
            if found >= enough:
                break
        return found

    def listed(self, sources_max: int) -> list[Source]:
        """Those that may have a job, the first of them."""
        some = nsmallest(sources_max, self._heap)
        return list(dict.fromkeys(source for rank, _, source in some if self._listed.get(source) == rank))
