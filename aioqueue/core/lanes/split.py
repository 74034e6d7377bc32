"""The lane of a queue of which some worker may not take everything: some fits have lines of their own.

It begins as a plain lane and stays one for all that comes: a job that stands at the front of it, and that somebody who
has room may not take, is moved into a line of its fit (`part`), one at a time. So nothing is looked at that nobody is
kept from, each job is moved once at most, and those behind it keep their order. What everybody takes by now is leased
from its line until that is empty, and goes on in the plain lane.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import islice

from aioqueue.core.lanes.heads import rank_of
from aioqueue.core.lanes.plain import PriorityLane
from aioqueue.core.nouns import Fit, Job


class FitLane(PriorityLane):
    """Jobs of one fit. `last` is the highest sequence that came here, by priority: what is behind that stands in the
    plain lane still.
    """

    __slots__ = ("last",)

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[int, int] = {}


class SplitLane:
    """The plain lane `main`, and beside it a line for each fit that somebody could not take; none of them is empty."""

    __slots__ = ("main", "own")

    def __init__(self, main: PriorityLane) -> None:
        self.main = main
        self.own: dict[Fit, FitLane] = {}

    @property
    def depth(self) -> int:
        return self.main.depth + sum(lane.depth for lane in self.own.values())

    def part(self, job: Job) -> FitLane | None:
        """Move a job from the front of the plain lane into the line of its fit; that line, where it is new."""
        spec = job.spec
        self.main.lease(job)
        own = self.own.get(spec.fit)
        new = None
        if own is None:
            own = new = self.own[spec.fit] = FitLane()
        own.last[spec.priority] = job.seq
        own.push(job)
        return new

    def push(self, job: Job) -> None:
        self.main.push(job)

    def give_back(self, job: Job) -> None:
        self._lane_of(job).give_back(job)

    def head(self) -> Job | None:
        heads = [head for lane in (self.main, *self.own.values()) if (head := lane.head()) is not None]
        return min(heads, key=rank_of, default=None)

    def pop(self) -> Job:
        job = self.head()
        if job is None:
            raise IndexError("the lane is empty")
        self.lease(job)
        return job

    def lease(self, job: Job) -> None:
        lane = self._lane_of(job)
        lane.lease(job)
        self._left(lane, job)

    def take(self, job: Job) -> None:
        lane = self._lane_of(job)
        lane.take(job)
        self._left(lane, job)

    def forget(self, job: Job) -> None:
        lane = self._lane_of(job)
        lane.forget(job)
        self._left(lane, job)

    def upcoming(self, jobs_max: int) -> Iterator[Job]:
        lanes = (self.main, *self.own.values())
        return islice(merge(*(lane.upcoming(jobs_max) for lane in lanes), key=rank_of), jobs_max)

    def in_order(self) -> Iterator[Job]:
        return merge(self.main.in_order(), *(lane.in_order() for lane in self.own.values()), key=rank_of)

    def tidy(self) -> None:
        for lane in (self.main, *self.own.values()):
            lane.tidy()

    def _lane_of(self, job: Job) -> PriorityLane:
        own = self.own.get(job.spec.fit)
        return own if own is not None and job.seq <= own.last.get(job.spec.priority, 0) else self.main

    def _left(self, lane: PriorityLane, job: Job) -> None:
        if lane is not self.main and not lane.depth:
            del self.own[job.spec.fit]
            for heads in list(lane.watchers):
                heads.drop(lane)
