"""The plain lane: by priority, and first in first out within each."""

from __future__ import annotations

from collections.abc import Iterator

from aioqueue.core.lanes.heads import Heads, rank_of
from aioqueue.core.lanes.line import Line
from aioqueue.core.nouns import Job
from aioqueue.limits import PRIORITY_MAX
from aioqueue.model.states import JobState

_READY = JobState.READY


class PriorityLane:
    """The plain lane: ten priorities, first in first out within each.

    `watchers` are told when a job may have come to stand before the head. Most lanes have none; a push pays for those
    of others nothing, not even a look: where there are any, `_open` is empty, and it goes the way of a line's first
    job.
    """

    __slots__ = ("_forgotten", "_lines", "_open", "_ordered", "depth", "watchers")

    def __init__(self) -> None:
        self.depth = 0
        self.watchers: list[Heads] = []
        self._forgotten = 0
        self._lines: dict[int, Line] = {}
        # Those that take a new job without a word to anybody.
        self._open = self._lines
        # Those that were ever used, highest priority first: most queues have one.
        self._ordered: list[Line] = []

    def push(self, job: Job) -> None:
        line = self._open.get(job.spec.priority) or self._line(job.spec.priority)
        line.jobs.append(job)
        self.depth += 1

    def give_back(self, job: Job) -> None:
        self._line(job.spec.priority).give_back(job)
        self.depth += 1
        for heads in self.watchers:
            heads.fell(self, rank_of(job))

    def head(self) -> Job | None:
        if self.depth:
            for line in self._ordered:
                # `Line.head` of one that lost nothing and got nothing back, as nearly every one is.
                jobs, start = line.jobs, line.start
                if start < len(jobs) and not line.returned and jobs[start].state is _READY:
                    return jobs[start]  # type: ignore[no-any-return]
                job = line.head()
                if job is not None:
                    return job
        return None

    def lease(self, job: Job) -> None:
        """The job goes out; mostly it is the head. Raises `ValueError` if it is not here."""
        line = self._lines.get(job.spec.priority)
        if line is None:
            raise ValueError("the job does not stand in this lane")
        jobs, start = line.jobs, line.start
        if start == len(jobs) or jobs[start] is not job:
            self.take(job)
            return
        # `Line.take` of the first, as nearly every lease is.
        jobs[start] = None
        line.start = start = start + 1
        if start >= line.cut_at:
            line.cut()
        self.depth -= 1

    def pop(self) -> Job:
        """Take the head out; for whoever looks, not for the hot path."""
        job = self.head()
        if job is None:
            raise IndexError("the lane is empty")
        self.lease(job)
        return job

    def take(self, job: Job) -> None:
        self._line(job.spec.priority).take(job)
        self.depth -= 1

    def forget(self, job: Job) -> None:
        self.depth -= 1
        self._forgotten += 1
        # Cancelled jobs that nobody comes to lease must not pile up: sweep when they are the majority.
        if self._forgotten > self.depth + 1_000:
            self._forgotten = 0
            for line in self._ordered:
                line.sweep()

    def upcoming(self, jobs_max: int) -> Iterator[Job]:
        for line in self._ordered:
            for job in line.upcoming(jobs_max):
                yield job
                jobs_max -= 1

    def in_order(self) -> Iterator[Job]:
        for line in self._ordered:
            yield from line.in_order()

    def tidy(self) -> None:
        for line in self._ordered:
            line.tidy()

    def watch(self, heads: Heads) -> None:
        """From here on these are told."""
        self.watchers.append(heads)
        self._open = {}

    def unwatch(self, heads: Heads) -> None:
        self.watchers.remove(heads)
        if not self.watchers:
            self._open = self._lines

    def _line(self, priority: int) -> Line:
        line = self._lines.get(priority)
        if line is None:
            line = self._lines[priority] = Line()
            self._ordered = [self._lines[priority] for priority in sorted(self._lines, reverse=True)]
        if self.watchers and line.head() is None:
            # Whatever comes to stand there, no lower than this.
            for heads in self.watchers:
                heads.fell(self, (PRIORITY_MAX - priority) << 64)
        return line
