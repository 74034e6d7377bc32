"""The plain lane: by priority, and first in first out within each."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush, merge, nsmallest
from itertools import islice

from aioqueue.core.nouns import Job
from aioqueue.model.states import JobState

_READY = JobState.READY


class _Fifo:
    """The jobs of one priority: a line of new ones, and a heap of the few that were given back.

    A job that was cancelled stays in the line until it is met or until such jobs are the majority.
    """

    __slots__ = ("line", "returned")

    def __init__(self) -> None:
        self.line: deque[Job] = deque()
        self.returned: list[tuple[int, bytes, Job]] = []

    def head(self) -> Job | None:
        line, returned = self.line, self.returned
        while line and line[0].state is not _READY:
            line.popleft()
        if not returned:
            return line[0] if line else None
        while returned and returned[0][2].state is not _READY:
            heappop(returned)
        if returned and (not line or returned[0][0] < line[0].seq):
            return returned[0][2]
        return line[0] if line else None

    def pop(self) -> Job | None:
        """The head, taken out."""
        head = self.head()
        if self.returned and self.returned[0][2] is head:
            heappop(self.returned)
        elif head is not None:
            self.line.popleft()
        return head

    def take(self, job: Job) -> None:
        if self.head() is job:
            self.pop()
            return
        entry = (job.seq, job.id, job)
        if entry in self.returned:
            self.returned.remove(entry)
            heapify(self.returned)
            return
        place = bisect_left(self.line, job.seq, key=_seq)
        if place == len(self.line) or self.line[place] is not job:
            raise ValueError("the job does not stand in this line")
        del self.line[place]


class PriorityLane:
    """The plain lane: ten priorities, first in first out within each."""

    __slots__ = ("_fifos", "_forgotten", "_ordered", "depth")

    def __init__(self) -> None:
        self.depth = 0
        self._forgotten = 0
        self._fifos: dict[int, _Fifo] = {}
        # Those that were ever used, highest priority first: most queues have one.
        self._ordered: list[_Fifo] = []

    def push(self, job: Job) -> None:
        fifo = self._fifos.get(job.spec.priority) or self._fifo(job.spec.priority)
        fifo.line.append(job)
        self.depth += 1

    def give_back(self, job: Job) -> None:
        heappush(self._fifo(job.spec.priority).returned, (job.seq, job.id, job))
        self.depth += 1

    def head(self) -> Job | None:
        if self.depth:
            for fifo in self._ordered:
                # `_Fifo.head` of a line that lost nothing and got nothing back, as nearly every one is.
                line = fifo.line
                job = line[0] if line and not fifo.returned and line[0].state is _READY else fifo.head()
                if job is not None:
                    return job
        return None

    def pop(self) -> Job:
        for fifo in self._ordered:
            line = fifo.line
            job = line.popleft() if line and not fifo.returned and line[0].state is _READY else fifo.pop()
            if job is not None:
                self.depth -= 1
                return job
        raise IndexError("the lane is empty")

    def take(self, job: Job) -> None:
        self._fifo(job.spec.priority).take(job)
        self.depth -= 1

    def forget(self, job: Job) -> None:
        self.depth -= 1
        self._forgotten += 1
        # Cancelled jobs that nobody comes to lease must not pile up: sweep when they are the majority.
        if self._forgotten > self.depth + 1_000:
            self._sweep()

    def upcoming(self, jobs_max: int) -> Iterator[Job]:
        for fifo in self._ordered:
            head = fifo.head()
            if head is None:
                continue
            line: Iterator[Job] = islice(_ready(fifo.line), jobs_max)
            if fifo.returned:
                # Few of them as a rule, and a hundred thousand when a large worker is gone.
                returned = nsmallest(jobs_max, fifo.returned)
                line = merge(line, _ready(job for _, _, job in returned), key=_seq)
            for job in islice(line, jobs_max):
                yield job
                jobs_max -= 1

    def in_order(self) -> Iterator[Job]:
        for fifo in self._ordered:
            returned = (job for _, _, job in sorted(fifo.returned))
            yield from merge(_ready(fifo.line), _ready(returned), key=_seq)

    def tidy(self) -> None:
        for fifo in self._ordered:
            if fifo.returned:
                returned = (job for _, _, job in sorted(fifo.returned))
                fifo.line = deque(merge(_ready(fifo.line), _ready(returned), key=_seq))
                fifo.returned = []

    def _sweep(self) -> None:
        self._forgotten = 0
        for fifo in self._ordered:
            fifo.line = deque(job for job in fifo.line if job.state is _READY)
            fifo.returned = sorted(entry for entry in fifo.returned if entry[2].state is _READY)

    def _fifo(self, priority: int) -> _Fifo:
        fifo = self._fifos.get(priority)
        if fifo is None:
            fifo = self._fifos[priority] = _Fifo()
            self._ordered = [self._fifos[priority] for priority in sorted(self._fifos, reverse=True)]
        return fifo


def _ready(jobs: Iterable[Job]) -> Iterator[Job]:
    return (job for job in jobs if job.state is _READY)


def _seq(job: Job) -> int:
    return job.seq
