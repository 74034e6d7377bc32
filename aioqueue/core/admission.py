"""What may still come in: the only door that is ever shut.

New jobs pass through it, and dead ones that are to live again; settles, cancels, leases and all else never do, so what
waits can always become less. The limits and the state of the disk belong to the process and are not journaled; `size`
is what replay gives, for it is counted from events.
"""

from __future__ import annotations

from copy import copy
from typing import Final, NamedTuple

from aioqueue.errors import QueueFull, Refused
from aioqueue.limits import BACKLOG_BYTES_MAX, BACKLOG_JOBS_MAX


class BacklogLimits(NamedTuple):
    """How many jobs may live, and how many bytes of arguments and headers they may have."""

    jobs_max: int = BACKLOG_JOBS_MAX
    bytes_max: int = BACKLOG_BYTES_MAX


USUAL_LIMITS: Final = BacklogLimits()


class Admission:
    """The limits, and what is used of them: `size` bytes by all living jobs. `shut` is why the door is."""

    __slots__ = ("limits", "shut", "size")

    def __init__(self, limits: BacklogLimits) -> None:
        self.limits = limits
        self.size = 0
        self.shut: Refused | None = None

    def room(self, living: int) -> tuple[int, int]:
        """How many jobs and bytes more may come in beside so many living jobs; below 0 where there are too many."""
        if self.shut is not None:
            return 0, 0
        limits = self.limits
        return limits.jobs_max - living, limits.bytes_max - self.size

    def fullness(self, living: int) -> float:
        """How much of the limits is used: 1 is full."""
        return max(living / self.limits.jobs_max, self.size / self.limits.bytes_max)

    def refusal(self, living: int, more_bytes: int = 0) -> Refused:
        """Why nothing more comes in; `more_bytes` were just let in and are not counted yet."""
        if self.shut is not None:
            # Each asker gets its own, for a traceback grows where an exception is raised.
            return copy(self.shut)
        jobs_max, size_max = self.limits
        return QueueFull(jobs=living, size=self.size + more_bytes, jobs_max=jobs_max, size_max=size_max)
