"""Queues: their ready jobs, and what is counted of them. Changed by `apply`, `State` and `pools` only."""

from __future__ import annotations

from typing import Any

from aioqueue.core.lanes import FitLane, Lane, PriorityLane, SplitLane, Suspects
from aioqueue.core.nouns import Fit, Job
from aioqueue.model.states import JobState


class QueueState:
    """One queue: its ready jobs (the lane, and suspects apart), how many jobs are in each state, and totals since this
    process started (statistics).

    `pools` is how many name it, and `takers` are all that take from it, also those that take from every queue. `fits`
    are those that its jobs may have; where they are too many to be kept, `vague` says that it may be any.
    """

    __slots__ = (
        "counts", "dead", "failed", "fits", "lane", "pools", "submitted", "succeeded", "suspects", "takers", "vague",
    )  # fmt: skip

    def __init__(self) -> None:
        self.lane: Lane = PriorityLane()
        self.suspects = Suspects()
        self.pools = 0
        # Of `pools.Taker`.
        self.takers: list[Any] = []
        self.fits: dict[Fit, None] = {}
        self.vague = False
        self.counts = [0] * (max(JobState) + 1)
        self.submitted = 0
        self.succeeded = 0
        self.failed = 0
        self.dead = 0

    def part(self, job: Job) -> FitLane | None:
        """The job, at the front of the line, goes into a line of its fit; that line, where it is new."""
        lane = self.lane
        if not isinstance(lane, SplitLane):
            assert isinstance(lane, PriorityLane)
            lane = self.lane = SplitLane(lane)
        return lane.part(job)

    @property
    def is_split(self) -> bool:
        """Whether a fit may have a line of its own."""
        return isinstance(self.lane, SplitLane)

    @property
    def may_join(self) -> bool:
        """Whether it is split, and nobody needs that any more."""
        lane = self.lane
        return isinstance(lane, SplitLane) and not lane.own and not any(taker.is_picky(self) for taker in self.takers)

    def join(self) -> None:
        """It is one line again; whoever takes from it alone looks there."""
        assert isinstance(self.lane, SplitLane)
        self.lane = self.lane.main
        for taker in self.takers:
            taker.aim_again()
