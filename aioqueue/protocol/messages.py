"""Every message of the protocol, as a typed record.

On the wire a message is a msgpack array `[kind, field, ...]`; `tag` below is its kind. Kinds are never reused; fields
are only appended, with a default that means what their absence meant. `docs/reference/protocol.md` says the same for
people who write a client in another language.

A request carries a number that its connection has not used before; the answer carries the same number. All times are
milliseconds; durations rather than instants, except where a field is called `..._at_ms` or says UTC.

Every list is bounded by `ITEMS_A_FRAME_MAX`, and every byte string by what its name allows, while it is decoded.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Annotated, Final

from msgspec import Meta, Struct

from aioqueue.limits import (
    BODY_BYTES_MAX,
    BULK_ID_BYTES,
    BULK_PART_JOBS_MAX,
    DEAF_NAMED_MAX,
    ERROR_BYTES_MAX,
    ERROR_CHARACTERS_MAX,
    FRAME_BYTES_MAX,
    HEADERS_BYTES_MAX,
    ITEMS_A_FRAME_MAX,
    JOB_ID_BYTES,
    NAME_CHARACTERS_MAX,
    NUMBER_MAX,
    OWN_ID_CHARACTERS_MAX,
    PAGE_JOBS_MAX,
    QUEUES_A_WORKER_MAX,
    SLOTS_MAX,
    SPEC_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
)
from aioqueue.model.states import Cause
from aioqueue.model.views import Block, JobInfo, Run, Statistics

PROTOCOL_VERSION: Final = 1
PROTOCOL_VERSION_MIN: Final = 1

_SHORT: Final = 16
# A body's first byte is its codec, so the frame allows one byte more than a body's own limit.
JobId = Annotated[bytes, Meta(min_length=JOB_ID_BYTES, max_length=JOB_ID_BYTES)]
Body = Annotated[bytes, Meta(max_length=BODY_BYTES_MAX + ERROR_BYTES_MAX)]
Headers = Annotated[bytes, Meta(max_length=HEADERS_BYTES_MAX)]
BulkId = Annotated[bytes, Meta(min_length=BULK_ID_BYTES, max_length=BULK_ID_BYTES)]
SpecBytes = Annotated[bytes, Meta(max_length=SPEC_BYTES_MAX)]
Name = Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
Text = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)]
# What few jobs have costs the others no field: its key is a small number, its value packed msgpack (`extras`).
Extra = Annotated[dict[int, Annotated[bytes, Meta(max_length=SPEC_BYTES_MAX)]], Meta(max_length=_SHORT)]
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Runs = Annotated[list[Run], Meta(max_length=ITEMS_A_FRAME_MAX)]
# An error's numbers and names; plain values only, so that a refusal cannot smuggle a tree of objects.
Fields = Annotated[dict[str, str | int | float | bool | None], Meta(max_length=_SHORT)]


class Role(IntEnum):
    """What a connection is for."""

    CLIENT = 1
    WORKER = 2
    HEARTBEAT = 3


class Capability(IntFlag):
    """What a broker may be able to do beyond the beginnings of version 1.

    `FILTERS`: pages by time, id and error, and pages that are short and not the last. `RUNS`: tells all runs of a job.
    `BACKUP`: gives a copy of journal and archive.
    """

    FILTERS = 1
    RUNS = 2
    BACKUP = 4


class SubmitFlag(IntFlag):
    """`RESEND`: this item may have been accepted before. `WANT_RESULT`: tell me its end. `OWN_ID`: the caller's id."""

    RESEND = 1
    WANT_RESULT = 2
    OWN_ID = 4


class Outcome(IntEnum):
    """What became of one submitted item."""

    ACCEPTED = 1
    EXISTS = 2
    REFUSED = 3


class RunEnd(IntEnum):
    """How a worker says that a run ended."""

    SUCCEEDED = 1
    FAILED = 2
    RELEASED = 3


class SettleAnswer(IntEnum):
    """`OK`: recorded now. `ALREADY`: was recorded before. `STALE`: the lease was not yours any more."""

    OK = 1
    ALREADY = 2
    STALE = 3


class Verdict(IntEnum):
    """What a resuming worker does with a run it holds."""

    KEEP = 1
    CANCEL = 2
    STALE = 3


class _Array(Struct, array_like=True, gc=False):
    """A record inside a message: an array without a kind."""


# --- what any side may say ----------------------------------------------------------------------------------------


class Ping(Struct, array_like=True, tag=1, gc=False):
    """Answer `Pong` with the same number, at once."""

    number: int = 0


class Pong(Struct, array_like=True, tag=2, gc=False):
    number: int = 0


class Refusal(Struct, array_like=True, tag=3, gc=False):
    """The answer to a request that was refused; with request 0 it is about the connection, which then closes."""

    request: Number
    code: Name
    message: str
    fields: Fields = {}


# --- beginning and end --------------------------------------------------------------------------------------------


class Hello(Struct, array_like=True, tag=10, gc=False):
    """The first message of a client. `secret` is the session's 16 random bytes; the same secret resumes the session.

    `required` are capability bits without which the client cannot work; `capabilities` those it would use.
    """

    version_min: Number
    version_max: Number
    role: Role
    secret: Annotated[bytes, Meta(min_length=16, max_length=16)]
    namespace: Name = "default"
    name: Name = ""
    credentials: Annotated[bytes, Meta(max_length=1024)] = b""
    capabilities: Number = 0
    required: Number = 0
    journal_id: Annotated[bytes, Meta(max_length=16)] = b""
    position_seen: Number = 0


class Welcome(Struct, array_like=True, tag=11, gc=False):
    """The broker's answer to `Hello`. `fresh` says that no session was known by this secret before."""

    version: Number
    session: Number
    fresh: bool
    journal_id: bytes
    epoch: Number
    position: Number
    session_ttl_ms: Number
    partitions: Number = 1
    hash_version: Number = 1
    capabilities: Number = 0


class Goodbye(Struct, array_like=True, tag=12, gc=False):
    """The session ends in good order: its leases are given back in place, nothing of it is kept."""

    reason: Text = ""


class Closing(Struct, array_like=True, tag=13, gc=False):
    """The broker stops: finish reading, then connect again, to it or its successor."""

    reason: Text = ""


# --- submitting ---------------------------------------------------------------------------------------------------


class SubmitItem(_Array):
    """One job to be. `args` is a body; `at_ms` is UTC, 0 means none; `extra` is what few jobs have (`extras`)."""

    job: JobId
    spec: SpecBytes
    args: Body
    flags: Number = 0
    delay_ms: Number = 0
    at_ms: Number = 0
    headers: Headers = b""
    own_id: Annotated[str, Meta(max_length=OWN_ID_CHARACTERS_MAX)] = ""
    extra: Extra | None = None


class Submit(Struct, array_like=True, tag=20, gc=False):
    """Independent items, each with an outcome of its own."""

    request: Number
    items: Annotated[list[SubmitItem], Meta(max_length=ITEMS_A_FRAME_MAX)]


class SubmitAtomic(Struct, array_like=True, tag=21, gc=False):
    """All items or none."""

    request: Number
    items: Annotated[list[SubmitItem], Meta(max_length=ITEMS_A_FRAME_MAX)]


class ItemRefused(_Array):
    """Why the item at `index` was refused."""

    index: Number
    code: Name
    message: str
    fields: Fields = {}


class Submitted(Struct, array_like=True, tag=22, gc=False):
    """The answer to both. `outcomes` is empty when every item was accepted, which is nearly always."""

    request: Number
    position: Number
    outcomes: Annotated[list[Outcome], Meta(max_length=ITEMS_A_FRAME_MAX)] = []
    refused: Annotated[list[ItemRefused], Meta(max_length=ITEMS_A_FRAME_MAX)] = []


class BulkStage(Struct, array_like=True, tag=64, gc=False):
    """The part number `part`, from 0 on, of a bulk: jobs that wait until the whole bulk is committed.

    `bulk` is 16 random bytes. Parts are said in their order; one that came before is answered and adds nothing. The
    answer is `Submitted`, without outcomes.
    """

    request: Number
    bulk: BulkId
    part: Number
    items: Annotated[list[SubmitItem], Meta(max_length=BULK_PART_JOBS_MAX)]


class BulkCommit(Struct, array_like=True, tag=65, gc=False):
    """All `parts` of the bulk are there: accept its jobs. `first` is the first of them. Answered by `Submitted`."""

    request: Number
    bulk: BulkId
    parts: Number
    first: JobId


class BulkDrop(Struct, array_like=True, tag=66, gc=False):
    """The bulk will not be committed; there is no answer."""

    bulk: BulkId


# --- waiting, looking, asking -------------------------------------------------------------------------------------


class Wait(Struct, array_like=True, tag=30, gc=False):
    """Tell me the end of these jobs, each by one `Ended`; an unknown one is answered so too."""

    jobs: Annotated[list[JobId], Meta(max_length=ITEMS_A_FRAME_MAX)]


class EndedItem(_Array):
    """How a job ended: `state` is a `JobState`, or 0 where no such job is known or its result has expired (`code`).

    `note` says why one was cancelled or expired, for people.
    """

    job: JobId
    state: Number
    body: Body = b""
    code: Name = ""
    note: Text = ""


class Ended(Struct, array_like=True, tag=31, gc=False):
    """Ends of jobs that this connection waited for."""

    items: Annotated[list[EndedItem], Meta(max_length=ITEMS_A_FRAME_MAX)]
    position: Number = 0


class GetJob(Struct, array_like=True, tag=32, gc=False):
    """With `runs` the answer holds every run of the job."""

    request: Number
    job: JobId
    runs: bool = False


class JobRecord(Struct, array_like=True, tag=33, gc=False):
    """The answer to `GetJob`; `runs` oldest first, of all generations, where they were asked for."""

    request: Number
    info: JobInfo
    runs: Runs = []


class FindJobs(Struct, array_like=True, tag=34, gc=False):
    """One page of jobs, newest first; an empty field means any. `after` is the page's cursor.

    `since_ms` and `until_ms` (not itself included) are UTC: of the submit of a living job, the end of a finished one.
    `id_prefix` is how the id begins, in hexadecimal digits; `error` stands in the failure, written as `Type: text`.
    """

    request: Number
    states: Annotated[list[int], Meta(max_length=_SHORT)] = []
    queue: Name = ""
    task: Name = ""
    limit: Number = 50
    after: Annotated[bytes, Meta(max_length=64)] = b""
    since_ms: Number = 0
    until_ms: Number = 0
    id_prefix: Annotated[str, Meta(max_length=2 * JOB_ID_BYTES)] = ""
    error: Annotated[str, Meta(max_length=ERROR_CHARACTERS_MAX)] = ""
    runs: bool = False


class JobPage(Struct, array_like=True, tag=35, gc=False):
    """The answer to `FindJobs`; an empty `next` says that this was the last page. `runs` has a list for each job."""

    request: Number
    jobs: Annotated[list[JobInfo], Meta(max_length=PAGE_JOBS_MAX)]
    next: bytes = b""
    runs: Annotated[list[Runs], Meta(max_length=PAGE_JOBS_MAX)] = []


class CancelJob(Struct, array_like=True, tag=36, gc=False):
    request: Number
    job: JobId
    reason: Text = ""


class Cancelled(Struct, array_like=True, tag=37, gc=False):
    """The answer to `CancelJob`: `cancelled`, `finished`, or `stopping` for a job that runs."""

    request: Number
    outcome: Name
    position: Number = 0


class RetryJob(Struct, array_like=True, tag=38, gc=False):
    """Once more, as this generation, so that a request which is said again does nothing again; 0 is the next one."""

    request: Number
    job: JobId
    generation: Number = 0


class Requeued(Struct, array_like=True, tag=39, gc=False):
    """The answer to `RetryJob`."""

    request: Number
    generation: Number
    position: Number = 0


class Watch(Struct, array_like=True, tag=40, gc=False):
    """Send me statistics, `every_ms` or slower, until `stop`."""

    stop: bool = False


class StatisticsUpdate(Struct, array_like=True, tag=41, gc=False):
    statistics: Statistics


# --- working ------------------------------------------------------------------------------------------------------


class HeldRun(_Array):
    """A run that a resuming worker still holds."""

    job: JobId
    fence: Number


class SettleItem(_Array):
    """The end of one run. `body` is its result or its `Failure`; `retry_after_ms` is reserved for later."""

    job: JobId
    fence: Number
    end: RunEnd
    body: Body = b""
    retry: bool = True


class Resume(Struct, array_like=True, tag=50, gc=False):
    """After `Welcome` with `fresh` false: every run held, and every settle not yet answered.

    Leases of the session that are not named here are given back in place.
    """

    request: Number
    held: Annotated[list[HeldRun], Meta(max_length=SLOTS_MAX)] = []
    settles: Annotated[list[SettleItem], Meta(max_length=ITEMS_A_FRAME_MAX)] = []


class Resumed(Struct, array_like=True, tag=51, gc=False):
    """A verdict for each held run and an answer for each settle, in their order."""

    request: Number
    verdicts: Annotated[list[Verdict], Meta(max_length=SLOTS_MAX)] = []
    answers: Annotated[list[SettleAnswer], Meta(max_length=ITEMS_A_FRAME_MAX)] = []
    position: Number = 0


class Capacity(Struct, array_like=True, tag=52, gc=False):
    """How many runs this worker will hold at once, and of which queues. Zero slots: no new ones."""

    slots: Annotated[int, Meta(ge=0, le=SLOTS_MAX)]
    queues: Annotated[list[Name], Meta(max_length=QUEUES_A_WORKER_MAX)] = []


class DeliverItem(_Array):
    """One run to do. `inputs` are bodies for places in the arguments, empty until there are dependencies.

    `extra` has the job's deadline: what is left until then, and the instant.
    """

    job: JobId
    fence: Number
    run: Number
    task: Name
    args: Body
    headers: Headers = b""
    inputs: Annotated[list[bytes], Meta(max_length=ITEMS_A_FRAME_MAX)] = []
    extra: Extra | None = None
    attempt: Number = 1
    crashes: Number = 0
    timeout_ms: Number = 0
    queue: Name = ""


class Deliver(Struct, array_like=True, tag=53, gc=False):
    items: Annotated[list[DeliverItem], Meta(max_length=ITEMS_A_FRAME_MAX)]


class Settle(Struct, array_like=True, tag=54, gc=False):
    request: Number
    items: Annotated[list[SettleItem], Meta(max_length=ITEMS_A_FRAME_MAX)]


class Settled(Struct, array_like=True, tag=55, gc=False):
    """The answer to `Settle`; `answers` is empty when all were `OK`."""

    request: Number
    position: Number
    answers: Annotated[list[SettleAnswer], Meta(max_length=ITEMS_A_FRAME_MAX)] = []


class Beat(Struct, array_like=True, tag=56, gc=False):
    """On a heartbeat connection: the worker lives.

    `lag_ms` is how late its event loop ran at worst since the last beat, `blocked` what it stands still in, and `deaf`
    how many runs heeded no cancellation and go on; `deaf_jobs` are some of their jobs.
    """

    lag_ms: Number = 0
    blocked: Block | None = None
    deaf: Number = 0
    deaf_jobs: Annotated[list[JobId], Meta(max_length=DEAF_NAMED_MAX)] = []


class WorkerDied(Struct, array_like=True, tag=57, gc=False):
    """On a heartbeat connection: the worker's process, or all that it still ran, has ended without a goodbye.

    `Pong` with the same `number` is said when that is recorded; 0 asks for none. `leaving`: it was told to stop, so
    what it holds is given back in place and is no crash.
    """

    reason: Text = ""
    number: Number = 0
    leaving: bool = False


class CancelRun(Struct, array_like=True, tag=58, gc=False):
    """Cancel was asked of a job, or its deadline passed: the worker stops this run, and tells its end like any."""

    job: JobId
    fence: Number
    cause: Cause = Cause.CANCEL


class ReadBackup(Struct, array_like=True, tag=67, gc=False):
    """The next part of a backup: part 0 begins one, and ends another that this connection may have begun."""

    request: Number
    part: Number


class BackupPart(Struct, array_like=True, tag=68, gc=False):
    """The answer to `ReadBackup`: bytes as `protocol.backup` makes them. `last` says that nothing follows."""

    request: Number
    data: Annotated[bytes, Meta(max_length=FRAME_BYTES_MAX)]
    last: bool = False


# Kinds that later versions will use: NOT_LEADER 60, RETRY_AFTER 61, ITEM 62, EVENT 63.
RESERVED_KINDS: Final = frozenset(range(60, 64))

ClientMessage = (
    Ping | Pong | Hello | Goodbye | Submit | SubmitAtomic | BulkStage | BulkCommit | BulkDrop
    | Wait | GetJob | FindJobs | CancelJob | RetryJob | Watch
    | Resume | Capacity | Settle | Beat | WorkerDied | ReadBackup
)  # fmt: skip
BrokerMessage = (
    Ping | Pong | Refusal | Welcome | Closing | Submitted | Ended | JobRecord | JobPage | Cancelled | Requeued
    | StatisticsUpdate | Resumed | Deliver | Settled | CancelRun | BackupPart
)  # fmt: skip
Message = ClientMessage | BrokerMessage
