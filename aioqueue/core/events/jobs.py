"""What happens to one job. All of it is journaled."""

from __future__ import annotations

from msgspec import Struct

from aioqueue.model.records import Terms
from aioqueue.model.states import Cause, JobState


class JobSubmitted(Struct, array_like=True, tag=1, gc=False, forbid_unknown_fields=True):
    """A job lives from here. `generation` above 0 is a requeue, or a new use of a caller's own id whose job was
    forgotten: that is one where it is the `first_generation` of `terms`.

    `state` is READY, SCHEDULED until `due_ms`, or BLOCKED where it waits for the rest of its bulk.
    `terms` are there where the job has any of them.
    """

    id: bytes
    spec: bytes
    seq: int
    state: JobState
    due_ms: int
    body_offset: int
    body_bytes: int
    body_crc: int
    generation: int = 0
    extra: bytes | None = None
    terms: Terms | None = None


class JobDue(Struct, array_like=True, tag=2, gc=False, forbid_unknown_fields=True):
    """A scheduled job became ready and took the place `seq`."""

    id: bytes
    seq: int


class JobLeased(Struct, array_like=True, tag=3, gc=False, forbid_unknown_fields=True):
    """The job runs at the session, under the fence; `run` counts the leases of this generation."""

    id: bytes
    session: int
    fence: int
    run: int


class JobSucceeded(Struct, array_like=True, tag=4, gc=False, forbid_unknown_fields=True):
    """The job is over; its result is the body."""

    id: bytes
    fence: int
    body_offset: int
    body_bytes: int
    body_crc: int


class JobFailed(Struct, array_like=True, tag=5, gc=False, forbid_unknown_fields=True):
    """An attempt failed; the failure is the body.

    `state` is SCHEDULED (again at `due_ms`), DEAD, or where the job was stopping CANCELLED or EXPIRED.
    """

    id: bytes
    fence: int
    state: JobState
    due_ms: int
    body_offset: int
    body_bytes: int
    body_crc: int


class JobReleased(Struct, array_like=True, tag=6, gc=False, forbid_unknown_fields=True):
    """The run was given back: the job is ready in its old place, no attempt was spent. A stopping one is over."""

    id: bytes
    fence: int


class JobMisfit(Struct, array_like=True, tag=11, gc=False, forbid_unknown_fields=True):
    """The worker knows the task and could not call it with these arguments, for its code is of another release.

    The job is ready in its old place, no attempt was spent and no run is kept. For as long as its connection lasts,
    nothing of that task goes to the session any more.
    """

    id: bytes
    fence: int


class JobCrashed(Struct, array_like=True, tag=7, gc=False, forbid_unknown_fields=True):
    """The process that ran the job ended unannounced; `crashes` is the new count.

    `state` is READY, DEAD, or where the job was stopping CANCELLED or EXPIRED.
    """

    id: bytes
    fence: int
    state: JobState
    crashes: int


class JobCancelled(Struct, array_like=True, tag=8, gc=False, forbid_unknown_fields=True):
    """A waiting job will never run; `reason` is for people."""

    id: bytes
    reason: str = ""


class JobStopping(Struct, array_like=True, tag=9, gc=False, forbid_unknown_fields=True):
    """A run is told to stop, and whatever comes of it, there is no other.

    `cause` is CANCEL, for the `reason` that somebody gave, or DEADLINE.
    """

    id: bytes
    fence: int
    cause: Cause = Cause.CANCEL
    reason: str = ""


class JobExpired(Struct, array_like=True, tag=10, gc=False, forbid_unknown_fields=True):
    """A waiting job will never run, for its time is over; `cause` is EXPIRES or DEADLINE."""

    id: bytes
    cause: Cause
