"""The states of a job, of a bulk, and how runs and sessions end: numbers that journal and wire share.

The legal changes between the states of a job are `core.machine.NEXT_STATE`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal


class JobState(IntEnum):
    """Where a job is in its life. The numbers are on the wire and on disk and are never reused."""

    SCHEDULED = 1
    BLOCKED = 2
    READY = 3
    RUNNING = 4
    STOPPING = 5
    SUSPENDED = 6
    SUCCEEDED = 7
    DEAD = 8
    CANCELLED = 9
    EXPIRED = 10

    @property
    def label(self) -> str:
        """The word a person reads."""
        return self.name.lower()


# The same words for type checkers. "unknown" is what a newer broker calls otherwise, and no job is found by it.
State = Literal[
    "scheduled", "blocked", "ready", "running", "stopping", "succeeded", "dead", "cancelled", "expired", "unknown"
]


class Cause(IntEnum):
    """Why a job is over that nobody let run to its end. The numbers are on the wire and on disk."""

    CANCEL = 1
    DEADLINE = 2
    EXPIRES = 3


class RunEnd(IntEnum):
    """How a run ended, as its worker tells. `MISFIT`: the worker knows the task, and cannot call it with these
    arguments, for its code is of another release. 4 is spoken for.
    """

    SUCCEEDED = 1
    FAILED = 2
    RELEASED = 3
    MISFIT = 5


class SessionEnd(IntEnum):
    """`GOODBYE`: in good order. `DIED`: its supervisor saw the process end. `EXPIRED`: nothing was heard of it. The
    numbers are on disk.
    """

    GOODBYE = 1
    DIED = 2
    EXPIRED = 3


class BulkPhase(IntEnum):
    """Where a bulk is. `OPEN`: parts still come. `COMMITTED`, `DROPPED`: its jobs are being freed, or cancelled. The
    numbers are on disk.
    """

    OPEN = 1
    COMMITTED = 2
    DROPPED = 3


TERMINAL: Final = frozenset({JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED})
