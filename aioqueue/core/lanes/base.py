"""What the rest of core knows of the order of ready jobs.

A `Lane` is all ready jobs of one queue: highest priority first, then lowest sequence. `head`, `lease`, `push` and
`give_back` are all that the rest of core knows of it, so that groups, limits and pauses can become other lanes. Whose
turn it was is of this process only: a replay takes out what was leased then, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from aioqueue.core.nouns import Job


class Lane(Protocol):
    """Ready jobs of one queue, in the order they are due to be leased."""

    @property
    def depth(self) -> int:
        """How many ready jobs it has."""

    def push(self, job: Job) -> None:
        """Add a job behind all of its priority; its sequence is the highest so far."""

    def give_back(self, job: Job) -> None:
        """Put a job back into the place that its sequence says."""

    def head(self) -> Job | None:
        """The job whose turn it is."""

    def lease(self, job: Job) -> None:
        """Take out a ready job, which mostly is the head; raises `ValueError` if it is not here."""

    def take(self, job: Job) -> None:
        """The same for one that may stand anywhere."""

    def forget(self, job: Job) -> None:
        """The job is not ready any more (cancelled): its state says so already, `rare` is still there."""

    def upcoming(self, jobs_max: int) -> Iterator[Job]:
        """The first ready jobs in the order in which they would be leased, the head first and at most so many."""
        ...

    def in_order(self) -> Iterator[Job]:
        """All ready jobs, in the order in which they would be leased; for whoever looks, not for the hot path."""

    def tidy(self) -> None:
        """Let what was given back stand like all others; worth its time where that may be most of them."""
