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
    JobMisfit,
    JobReleased,
    JobStopping,
    JobSubmitted,
    JobSucceeded,
)
from aioqueue.core.events.journal import BaseMoved, BulkCarried, JobCarried, SessionCarried
from aioqueue.core.events.lanes import JobParted, LaneJoined
from aioqueue.core.events.link import (
    AdmissionChanged,
    BulkHeard,
    LinkChanged,
    LinkDeclared,
    LinkThrottled,
    SessionForgotten,
    SessionHeard,
    TaskReopened,
)
from aioqueue.core.events.registry import ItemsLapsed, TaskSet, TasksSeen
from aioqueue.core.events.reserved import SPOKEN_FOR
from aioqueue.core.events.rules import Behind, Rules, Unknown
from aioqueue.core.events.sessions import SessionEnded, SessionOpened

__all__ = [
    "NOT_JOURNALED",
    "RESERVED_KINDS",
    "RULES",
    "SPOKEN_FOR",
    "WITH_BODY",
    "AdmissionChanged",
    "BaseMoved",
    "Behind",
    "BulkCarried",
    "BulkCommitted",
    "BulkFreed",
    "BulkHeard",
    "BulkStaged",
    "Event",
    "ItemsLapsed",
    "JobCancelled",
    "JobCarried",
    "JobCrashed",
    "JobDue",
    "JobEvent",
    "JobExpired",
    "JobFailed",
    "JobLeased",
    "JobMisfit",
    "JobParted",
    "JobReleased",
    "JobStopping",
    "JobSubmitted",
    "JobSucceeded",
    "JournaledEvent",
    "LaneJoined",
    "LinkChanged",
    "LinkDeclared",
    "LinkThrottled",
    "Rules",
    "SessionCarried",
    "SessionEnded",
    "SessionForgotten",
    "SessionHeard",
    "SessionOpened",
    "TaskReopened",
    "TaskSet",
    "TasksSeen",
    "Unknown",
]

JournaledEvent = (
    JobSubmitted | JobDue | JobLeased | JobSucceeded | JobFailed | JobReleased | JobCrashed | JobCancelled
    | JobStopping | JobExpired | JobMisfit | BulkStaged | BulkCommitted | BulkFreed | BulkCarried | SessionOpened
    | SessionEnded | SessionCarried | JobCarried | BaseMoved | TaskSet | ItemsLapsed
)  # fmt: skip
Event = (
    JournaledEvent | LinkChanged | LinkDeclared | LinkThrottled | TaskReopened | SessionHeard | SessionForgotten
    | AdmissionChanged | BulkHeard | TasksSeen | JobParted | LaneJoined
)  # fmt: skip
JobEvent = (
    JobSubmitted | JobDue | JobLeased | JobSucceeded | JobFailed | JobReleased | JobCrashed | JobCancelled
    | JobStopping | JobExpired | JobMisfit
)  # fmt: skip

# Their records refer to a body.
WITH_BODY: Final = (JobSubmitted, JobSucceeded, JobFailed, JobCarried)
NOT_JOURNALED: Final = frozenset(
    {
        LinkChanged,
        LinkDeclared,
        LinkThrottled,
        TaskReopened,
        SessionHeard,
        SessionForgotten,
        AdmissionChanged,
        BulkHeard,
        TasksSeen,
        JobParted,
        LaneJoined,
    }
)

# A row for each: whoever adds an event says here what others make of it that did not write it.
RULES: Final[dict[type[JournaledEvent], Rules]] = {
    JobSubmitted: Rules(Unknown.BEGINS, Behind.SUBMIT, JobCarried),
    JobDue: Rules(Unknown.JOB, Behind.SIGN, JobCarried),
    JobLeased: Rules(Unknown.LEASE, Behind.SIGN, JobCarried),
    JobSucceeded: Rules(Unknown.JOB, Behind.END, None),
    JobFailed: Rules(Unknown.JOB, Behind.END, JobCarried),
    JobReleased: Rules(Unknown.JOB, Behind.SIGN, JobCarried),
    JobMisfit: Rules(Unknown.JOB, Behind.SIGN, JobCarried),
    JobCrashed: Rules(Unknown.JOB, Behind.END, JobCarried),
    JobCancelled: Rules(Unknown.JOB, Behind.END, None),
    JobStopping: Rules(Unknown.JOB, Behind.SIGN, JobCarried),
    JobExpired: Rules(Unknown.JOB, Behind.END, None),
    BulkStaged: Rules(Unknown.PART, Behind.PART, BulkCarried, moves=False),
    BulkCommitted: Rules(Unknown.COMMIT, Behind.COMMIT, BulkCarried, moves=False),
    BulkFreed: Rules(Unknown.FREED, Behind.FREED, BulkCarried),
    BulkCarried: Rules(Unknown.BEGINS, Behind.PART, BulkCarried, moves=False),
    SessionOpened: Rules(Unknown.BEGINS, Behind.NOTHING, SessionCarried, moves=False),
    SessionEnded: Rules(Unknown.SESSION, Behind.NOTHING, None, moves=False),
    SessionCarried: Rules(Unknown.BEGINS, Behind.NOTHING, SessionCarried, moves=False),
    JobCarried: Rules(Unknown.BEGINS, Behind.RECORD, JobCarried, moves=False),
    BaseMoved: Rules(Unknown.BASE, Behind.NOTHING, None, moves=False),
    TaskSet: Rules(Unknown.BEGINS, Behind.SETTING, TaskSet, moves=False),
    ItemsLapsed: Rules(Unknown.LAPSED, Behind.LAPSED, None, moves=False),
}

# Those of the numbers that are spoken for which no event has yet: a reader that meets one meets a newer journal.
RESERVED_KINDS: Final = {
    kind: name
    for kind, name in SPOKEN_FOR.items()
    if kind not in {event.__struct_config__.tag for event in JournaledEvent.__args__}
}
