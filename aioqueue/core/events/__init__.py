"""What is so. Events are the journal's records: `[kind, field, ...]` in msgpack, `tag` is the kind.

An event holds outcomes (a due time, a fence, the next state), never the inputs of a rule, so a new rule never rewrites
history. Kinds are never reused; fields are only appended, with a default. The moment of an event is its batch's
`wall_ms`. Bodies lie beside the events in the batch: `(body_offset, body_bytes, body_crc)` leads to one.

`LinkChanged` and `SessionHeard` are never journaled: connections and monotonic time do not survive a restart.
"""

from __future__ import annotations

from typing import Final

from aioqueue.core.events.bulks import BulkCommitted, BulkFreed, BulkStaged
from aioqueue.core.events.jobs import (
    JobCancelled,
    JobCrashed,
    JobDue,
    JobExpired,
    JobFailed,
    JobLeased,
    JobReleased,
    JobStopping,
    JobSubmitted,
    JobSucceeded,
)
from aioqueue.core.events.journal import BaseMoved, BulkCarried, JobCarried, SessionCarried
from aioqueue.core.events.link import (
    AdmissionChanged,
    BulkHeard,
    LinkChanged,
    LinkThrottled,
    SessionForgotten,
    SessionHeard,
)
from aioqueue.core.events.reserved import RESERVED_KINDS
from aioqueue.core.events.sessions import SessionEnded, SessionOpened

__all__ = [
    "CARRIED_BY",
    "NOT_JOURNALED",
    "RESERVED_KINDS",
    "WITH_BODY",
    "AdmissionChanged",
    "BaseMoved",
    "BulkCarried",
    "BulkCommitted",
    "BulkFreed",
    "BulkHeard",
    "BulkStaged",
    "Event",
    "JobCancelled",
    "JobCarried",
    "JobCrashed",
    "JobDue",
    "JobEvent",
    "JobExpired",
    "JobFailed",
    "JobLeased",
    "JobReleased",
    "JobStopping",
    "JobSubmitted",
    "JobSucceeded",
    "JournaledEvent",
    "LinkChanged",
    "LinkThrottled",
    "SessionCarried",
    "SessionEnded",
    "SessionForgotten",
    "SessionHeard",
    "SessionOpened",
]

JournaledEvent = (
    JobSubmitted | JobDue | JobLeased | JobSucceeded | JobFailed | JobReleased | JobCrashed | JobCancelled
    | JobStopping | JobExpired | BulkStaged | BulkCommitted | BulkFreed | BulkCarried | SessionOpened | SessionEnded
    | SessionCarried | JobCarried | BaseMoved
)  # fmt: skip
Event = JournaledEvent | LinkChanged | LinkThrottled | SessionHeard | SessionForgotten | AdmissionChanged | BulkHeard
JobEvent = (
    JobSubmitted | JobDue | JobLeased | JobSucceeded | JobFailed | JobReleased | JobCrashed | JobCancelled
    | JobStopping | JobExpired
)  # fmt: skip

# Their records refer to a body.
WITH_BODY: Final = (JobSubmitted, JobSucceeded, JobFailed, JobCarried)
NOT_JOURNALED: Final = frozenset(
    {LinkChanged, LinkThrottled, SessionHeard, SessionForgotten, AdmissionChanged, BulkHeard}
)

# The record that tells a replay from a later base what each event made so. None where nothing is left to tell: what is
# over is no item any more, and a base has its own record. What no record tells is lost with the oldest part of the log.
CARRIED_BY: Final[dict[type[JournaledEvent], type[JobCarried | SessionCarried | BulkCarried] | None]] = {
    JobSubmitted: JobCarried,
    JobDue: JobCarried,
    JobLeased: JobCarried,
    JobSucceeded: None,
    JobFailed: JobCarried,
    JobReleased: JobCarried,
    JobCrashed: JobCarried,
    JobCancelled: None,
    JobStopping: JobCarried,
    JobExpired: None,
    BulkStaged: BulkCarried,
    BulkCommitted: BulkCarried,
    BulkFreed: BulkCarried,
    BulkCarried: BulkCarried,
    SessionOpened: SessionCarried,
    SessionEnded: None,
    SessionCarried: SessionCarried,
    JobCarried: JobCarried,
    BaseMoved: None,
}
