"""The order in which ready jobs are handed out: a `Lane` for each queue, and its suspects apart from it."""

from __future__ import annotations

from aioqueue.core.lanes.base import Lane
from aioqueue.core.lanes.heads import Heads, Source, rank_of
from aioqueue.core.lanes.plain import PriorityLane
from aioqueue.core.lanes.split import FitLane, SplitLane
from aioqueue.core.lanes.suspects import Suspects, turn

__all__ = [
    "FitLane",
    "Heads",
    "Lane",
    "PriorityLane",
    "Source",
    "SplitLane",
    "Suspects",
    "rank_of",
    "turn",
]
