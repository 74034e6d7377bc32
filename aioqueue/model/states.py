"""The states of a job. The legal changes between them are `core.machine.NEXT_STATE`."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


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


class Cause(IntEnum):
    """Why a job is over that nobody let run to its end. The numbers are on the wire and on disk."""

    CANCEL = 1
    DEADLINE = 2
    EXPIRES = 3


TERMINAL: Final = frozenset({JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED})
