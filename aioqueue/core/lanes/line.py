"""A line: first in, first out, of jobs that are equal for leasing.

New jobs stand in a list with a start, so that a line of a few takes little memory and any place in it is found by its
sequence; the few that were given back stand apart, in a heap of their places. A job that was cancelled stays where it
is until it is met, or until such jobs are the majority (see `PriorityLane`); one that was taken from the middle leaves
a hole. Only lanes call this.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from heapq import heapify, heappop, heappush, merge, nsmallest
from itertools import islice
from typing import Any, Final

from msgspec import Struct

from aioqueue.core.nouns import Job
from aioqueue.model.states import JobState

_READY = JobState.READY
# A list is not cut for less than this: what stands before its start is as much as what stands behind it.
_CUT_FROM: Final = 1_024
# Places in the heap of what was given back that are nobody's any more, beside as many as there are jobs.
_STALE_MAX: Final = 64


class Hole(Struct, gc=False):
    """Where a job stood that was taken before its turn: its place, so that others are still found by theirs."""

    seq: int
    state: None = None


class Line:
    """`jobs` from `start` on are new ones, in order of their sequence, and holes; what stands before that is cut off
    when `start` comes to `cut_at`. `back` are those that were given back, by their sequence, and `returned` is a heap
    of those numbers; some of them are nobody's any more.
    """

    __slots__ = ("back", "cut_at", "jobs", "returned", "start")

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.start = 0
        self.cut_at = _CUT_FROM
        self.returned: list[int] = []
        self.back: dict[int, Job] = {}

    def head(self) -> Job | None:
        """The job whose turn it is."""
        jobs, place = self.jobs, self.start
        end = len(jobs)
        while place < end and jobs[place].state is not _READY:
            jobs[place] = None
            place += 1
        if place != self.start:
            self.start = place
            self.cut()
        first: Job | None = jobs[self.start] if self.start < len(jobs) else None
        if self.returned and (back := self._first_back()) is not None and (first is None or back.seq < first.seq):
            return back
        return first

    def _first_back(self) -> Job | None:
        returned, back = self.returned, self.back
        while returned:
            job = back.get(returned[0])
            if job is not None and job.state is _READY:
                return job
            back.pop(heappop(returned), None)
        return None

    def cut(self) -> None:
        """Cut off what stands before the start, if that is no less than what stands behind it."""
        jobs, start = self.jobs, self.start
        if start == len(jobs) or (start >= _CUT_FROM and start * 2 >= len(jobs)):
            del jobs[:start]
            self.start = 0
        self.cut_at = max(_CUT_FROM, len(jobs) // 2)

    def give_back(self, job: Job) -> None:
        """The job stands where its sequence says."""
        heappush(self.returned, job.seq)
        self.back[job.seq] = job
        if len(self.returned) > 2 * len(self.back) + _STALE_MAX:
            self.returned = sorted(self.back)

    def take(self, job: Job) -> None:
        """The job goes out, wherever it stands; raises `ValueError` if it is not here."""
        if self.back.get(job.seq) is job:
            del self.back[job.seq]
            if self.returned[0] == job.seq:
                heappop(self.returned)
            return
        jobs = self.jobs
        place = bisect_left(jobs, job.seq, self.start, key=_seq)
        if place == len(jobs) or jobs[place] is not job:
            raise ValueError("the job does not stand in this line")
        jobs[place] = Hole(job.seq)

    def upcoming(self, jobs_max: int) -> Iterator[Job]:
        """The first of them, at most so many."""
        new = islice(self._new(), jobs_max)
        if not self.back:
            return new
        # Few of them as a rule, and a hundred thousand when a large worker is gone.
        places = nsmallest(jobs_max, self.back)
        return islice(merge(new, self._returned(places), key=_seq), jobs_max)

    def in_order(self) -> Iterator[Job]:
        """All of them."""
        return merge(self._new(), self._returned(sorted(self.back)), key=_seq)

    def _new(self) -> Iterator[Job]:
        return (job for job in islice(self.jobs, self.start, None) if job.state is _READY)

    def _returned(self, places: list[int]) -> Iterator[Job]:
        back = self.back
        return (job for place in places if (job := back[place]).state is _READY)

    def tidy(self) -> None:
        """What was given back stands like all others."""
        if self.back:
            self.jobs, self.start, self.cut_at = list(self.in_order()), 0, _CUT_FROM
            self.returned, self.back = [], {}

    def sweep(self) -> None:
        """What is not ready any more goes."""
        self.jobs, self.start, self.cut_at = list(self._new()), 0, _CUT_FROM
        self.back = {seq: job for seq, job in self.back.items() if job.state is _READY}
        self.returned = list(self.back)
        heapify(self.returned)


def _seq(job: Job | Hole) -> int:
    return job.seq
