"""Queues, and the pools of sessions that take from them. Changed by `apply` and `State` only."""

from __future__ import annotations

from aioqueue.core.lanes import Lane, PriorityLane, Suspects
from aioqueue.core.nouns import Session
from aioqueue.model.states import JobState


class QueueState:
    """One queue: its ready jobs (the lane, and suspects apart), how many jobs are in each state, and totals since this
    process started (statistics). `pools` is how many take from it.
    """

    __slots__ = ("counts", "dead", "failed", "lane", "pools", "submitted", "succeeded", "suspects")

    def __init__(self) -> None:
        self.lane: Lane = PriorityLane()
        self.suspects = Suspects()
        self.pools = 0
        self.counts = [0] * (max(JobState) + 1)
        self.submitted = 0
        self.succeeded = 0
        self.failed = 0
        self.dead = 0


class Pool:
    """Sessions that offer the same; those with free capacity are `hungry`, in the order of their turn."""

    __slots__ = ("hungry", "members", "queues")

    def __init__(self, queues: list[QueueState]) -> None:
        self.queues = queues
        self.hungry: dict[int, Session] = {}
        self.members: set[int] = set()
