"""What is written so that the journal may lose its oldest part: records once more, and where a replay may begin."""

from __future__ import annotations

from msgspec import Struct

from aioqueue.model.records import Terms
from aioqueue.model.states import BulkPhase, Cause, JobState


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


class SessionCarried(Struct, array_like=True, tag=22, gc=False, forbid_unknown_fields=True):
    """The whole record of a session, written again; its home is here now. Its leases are told by their jobs."""

    number: int
    secret_hash: bytes
    namespace: str
    name: str


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
