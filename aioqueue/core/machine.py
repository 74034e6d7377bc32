"""The life of one job, as a table.

Every change of `JobState` is a row of `NEXT_STATE`; there is no other way to change it. A missing row is the error.
No clock, no storage, no logging: it can be read, and tested, with nothing running.
"""

from __future__ import annotations

from typing import Final

from aioqueue.core import events
from aioqueue.model.states import JobState

_S = JobState

# (state before, event) -> the states that the event may name as the next one. None stands for "not living".
NEXT_STATE: Final[dict[tuple[JobState | None, type[events.JobEvent | events.BulkFreed]], frozenset[JobState]]] = {
    (None, events.JobSubmitted): frozenset({_S.READY, _S.SCHEDULED, _S.BLOCKED}),
    (_S.BLOCKED, events.BulkFreed): frozenset({_S.READY, _S.SCHEDULED, _S.CANCELLED}),
    (_S.BLOCKED, events.JobCancelled): frozenset({_S.CANCELLED}),
    (_S.BLOCKED, events.JobExpired): frozenset({_S.EXPIRED}),
    (_S.SCHEDULED, events.JobDue): frozenset({_S.READY}),
    (_S.SCHEDULED, events.JobCancelled): frozenset({_S.CANCELLED}),
    (_S.SCHEDULED, events.JobExpired): frozenset({_S.EXPIRED}),
    (_S.READY, events.JobLeased): frozenset({_S.RUNNING}),
    (_S.READY, events.JobCancelled): frozenset({_S.CANCELLED}),
    (_S.READY, events.JobExpired): frozenset({_S.EXPIRED}),
    (_S.RUNNING, events.JobSucceeded): frozenset({_S.SUCCEEDED}),
    (_S.RUNNING, events.JobFailed): frozenset({_S.SCHEDULED, _S.DEAD}),
    (_S.RUNNING, events.JobReleased): frozenset({_S.READY}),
    (_S.RUNNING, events.JobMisfit): frozenset({_S.READY}),
    (_S.RUNNING, events.JobCrashed): frozenset({_S.READY, _S.DEAD}),
    (_S.RUNNING, events.JobStopping): frozenset({_S.STOPPING}),
    (_S.STOPPING, events.JobSucceeded): frozenset({_S.SUCCEEDED}),
    (_S.STOPPING, events.JobFailed): frozenset({_S.CANCELLED, _S.EXPIRED}),
    (_S.STOPPING, events.JobReleased): frozenset({_S.CANCELLED, _S.EXPIRED}),
    (_S.STOPPING, events.JobCrashed): frozenset({_S.CANCELLED, _S.EXPIRED}),
}


class IllegalChange(AssertionError):
    """An event that the table does not allow: a defect of this program, or a journal that it did not write."""


# The rows one by one: one look-up says whether a change is legal.
LEGAL: Final = frozenset((before, event, after) for (before, event), nexts in NEXT_STATE.items() for after in nexts)


def illegal_change(before: JobState | None, event: events.JobEvent, after: JobState) -> IllegalChange:
    """The error for a change that the table does not have."""
    was = "no job" if before is None else before.label
    return IllegalChange(f"{type(event).__name__} cannot turn {was} into {after.label}: job {event.id.hex()}")
