"""Ready jobs under which a process has ended: who was it?

When a worker's process dies, each job it ran is a suspect, and nothing says which one did it. So suspects are kept
out of the lane, and let back among others with care (the cohort rule):

- a session holds at most one suspect at a time, so a second crash accuses one suspect, and no other;
- a suspect that the next crash would make dead runs alone: in a session that holds nothing else and gets nothing else
  until it is settled. What dies of a crash had nobody beside it.

Its children are the one exception to both: it may be waiting for them (see `families`).

Suspects are few, so these are sorted lists, and the plain lane is not slowed down by them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from aioqueue.core.nouns import Job
from aioqueue.limits import CRASHES_ALONE


def turn(job: Job) -> tuple[int, int]:
    """Where a ready job stands: highest priority first, then lowest sequence."""
    return -job.spec.priority, job.seq


class Suspects:
    """The ready suspects of one queue, each kind in the order of its turn."""

    __slots__ = ("among_others", "solitary")

    def __init__(self) -> None:
        self.among_others: list[Job] = []
        self.solitary: list[Job] = []

    def __len__(self) -> int:
        return len(self.among_others) + len(self.solitary)

    def add(self, job: Job) -> None:
        """The job became ready, at the place that its sequence says."""
        insort(self._line(job), job, key=turn)

    def remove(self, job: Job) -> None:
        """The job is ready no more; raises `ValueError` if it is not here."""
        line = self._line(job)
        place = bisect_left(line, turn(job), key=turn)
        if place == len(line) or line[place] is not job:
            raise ValueError("the job is no ready suspect")
        del line[place]

    def in_order(self) -> Iterator[Job]:
        """All of them, for whoever looks."""
        yield from sorted([*self.among_others, *self.solitary], key=turn)

    def _line(self, job: Job) -> list[Job]:
        return self.solitary if job.crashes >= CRASHES_ALONE else self.among_others
