"""What is so. Events are the journal's records: `[kind, field, ...]` in msgpack, `tag` is the kind.

An event holds outcomes (a due time, a fence, the next state), never the inputs of a rule, so a new rule never rewrites
history. Kinds are never reused; fields are only appended, with a default. The moment of an event is its batch's
`wall_ms`. Bodies lie beside the events in the batch: `(body_offset, body_bytes, body_crc)` leads to one.

`LinkChanged` and `SessionHeard` are never journaled: connections and monotonic time do not survive a restart.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from aioqueue.errors import Refused
from aioqueue.model.records import Terms
from aioqueue.model.states import BulkPhase, Cause, JobState, SessionEnd


class JobSubmitted(Struct, array_like=True, tag=1, gc=False, forbid_unknown_fields=True):
    """A job lives from here. `generation` above 0 is a requeue.

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


class BulkStaged(Struct, array_like=True, tag=32, gc=False, forbid_unknown_fields=True):
    """The jobs `ids` (16 bytes each), submitted just before as BLOCKED, are this part of the bulk; the first is 0.

    `first` is how many jobs the parts before it have; -1 is for as many as are known.
    """

    bulk: bytes
    namespace: str
    part: int
    ids: bytes
    first: int = -1


class BulkCommitted(Struct, array_like=True, tag=33, gc=False, forbid_unknown_fields=True):
    """All parts of the bulk are there and it is promised: from here its jobs become free, in their order."""

    bulk: bytes


class BulkFreed(Struct, array_like=True, tag=36, gc=False, forbid_unknown_fields=True):
    """The next `taken` jobs of the bulk wait for it no more; the bulk is over with its last one.

    Of a committed bulk `ready` (which take places from `seq` on) and `scheduled`, by their ids, 16 bytes each; of one
    that will never be committed `cancelled`. Those that ended by themselves meanwhile are in none of the three.
    """

    bulk: bytes
    taken: int
    seq: int
    ready: bytes = b""
    scheduled: bytes = b""
    cancelled: bytes = b""


class BulkCarried(Struct, array_like=True, tag=37, gc=False, forbid_unknown_fields=True):
    """A part of a bulk, written again; its home is here now. With it goes what is so of the whole bulk.

    `staged` parts with `total` jobs came so far, and the first `freed` of those wait no more. `closed_at` is the batch
    that committed or dropped the bulk, 0 while it is open. `first` and `ids` are the part's.
    """

    bulk: bytes
    namespace: str
    phase: BulkPhase
    staged: int
    total: int
    freed: int
    closed_at: int
    first: int
    ids: bytes


class SessionOpened(Struct, array_like=True, tag=20, gc=False, forbid_unknown_fields=True):
    """A session is about to hold its first lease. The secret itself is never journaled."""

    number: int
    secret_hash: bytes
    namespace: str
    name: str


class SessionEnded(Struct, array_like=True, tag=21, gc=False, forbid_unknown_fields=True):
    """The session holds nothing any more; the ends of its leases stand before this."""

    number: int
    cause: SessionEnd


class SessionCarried(Struct, array_like=True, tag=22, gc=False, forbid_unknown_fields=True):
    """The whole record of a session, written again; its home is here now. Its leases are told by their jobs."""

    number: int
    secret_hash: bytes
    namespace: str
    name: str


class JobCarried(Struct, array_like=True, tag=30, gc=False, forbid_unknown_fields=True):
    """The whole record of a living job, written again, with its arguments as the body; its home is here now.

    Nothing changes by it. For a replay that begins behind the job's earlier home it is the first that is heard of it.
    """

    id: bytes
    spec: bytes
    seq: int
    state: JobState
    due_ms: int
    submitted_ms: int
    body_offset: int
    body_bytes: int
    body_crc: int
    extra: bytes | None
    generation: int
    failures: int
    crashes: int
    runs: int
    fence: int
    session: int
    started_ms: int
    terms: Terms | None = None
    cause: Cause | None = None
    note: str = ""


class BaseMoved(Struct, array_like=True, tag=31, gc=False, forbid_unknown_fields=True):
    """A replay may begin at `base`: whatever lived behind position `head` has its home there or later.

    Up to `head`, and nowhere else, such a replay meets events of items that it does not know: they are over by then, or
    are carried. The archive has all that ended up to `head`. The counters are those of this moment.
    """

    base: int
    head: int
    next_seq: int
    next_fence: int
    next_session: int


class LinkChanged(Struct, gc=False):
    """Not journaled: a session's connection and capacity. `opened` is there when the session is new.

    `since_fence` is the next fence where a connection begins, 0 where it only changes.
    """

    number: int
    connected: bool
    slots: int
    queues: tuple[str, ...]
    heard_ms: int
    opened: SessionOpened | None = None
    since_fence: int = 0
    link: int = 0


class LinkThrottled(Struct, gc=False):
    """Not journaled: the session's connection takes no more runs for now, or takes them again."""

    number: int
    throttled: bool


class SessionHeard(Struct, gc=False):
    """Not journaled: the session was heard of at this monotonic time."""

    number: int
    heard_ms: int


class BulkHeard(Struct, gc=False):
    """Not journaled: the client that stages the bulk was heard of it at this monotonic time."""

    bulk: bytes
    heard_ms: int


class SessionForgotten(Struct, gc=False):
    """Not journaled: a session that never held a lease is over."""

    number: int


class AdmissionChanged(Struct):
    """Not journaled: what is on the disk allows no new jobs, or does again."""

    shut: Refused | None


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

# Kinds of later versions: blocked 11 and freed 12, suspended 13 and woken 14,
# schedule 34, limit 35, administrative acts 40 to 59.
RESERVED_KINDS: Final = frozenset({11, 12, 13, 14, 34, 35, *range(40, 60)})
