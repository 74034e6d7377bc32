"""What may be asked of a partition. A command may be refused; asking changes nothing by itself."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from aioqueue.errors import Refused
from aioqueue.model.records import FinishedJob
from aioqueue.model.spec import Spec
from aioqueue.model.states import RunEnd, SessionEnd


class NeedsLookup(Exception):
    """Nothing is decided: the id is not a living job, and whether it ever was one is known only beside core.

    The shell looks into overlay and archive, and asks again with what it found. Until then, and until that command is
    decided, it keeps what finishes meanwhile in sight.
    """

    def __init__(self, *ids: bytes) -> None:
        self.ids = ids
        super().__init__(*ids)


class Known(IntEnum):
    """What is known of an id beside the living jobs.

    `FRESH`: generated just now, nobody needs to look. `UNKNOWN`: it may have been there before (sent again, or a
    caller's own id). `ABSENT` and `FINISHED`: somebody looked.
    """

    FRESH = 0
    UNKNOWN = 1
    ABSENT = 2
    FINISHED = 3


class AskedTerms(Struct, frozen=True, gc=False):
    """What few submits ask for: durations from now, or instants UTC, 0 for none; and whose child the job is.

    One that `inherits` has no later deadline than its parent, and ends with it where that is cancelled or expires.
    """

    expires_in_ms: int = 0
    expires_ms: int = 0
    deadline_in_ms: int = 0
    deadline_ms: int = 0
    parent: bytes = b""
    inherits: bool = False


class NewJob(Struct, gc=False):
    """One job to be. `due_ms` is UTC, 0 where `delay_ms` (or neither) says when."""

    id: bytes
    spec: Spec
    packed_spec: bytes
    body: bytes
    delay_ms: int = 0
    due_ms: int = 0
    extra: bytes | None = None
    known: Known = Known.FRESH
    terms: AskedTerms | None = None


class SubmitJobs(Struct, gc=False):
    """Independent jobs; with `atomic` all or none. Answered by a `SubmitOutcome` an item, or the `Refused` for which
    that item was not taken.
    """

    items: list[NewJob]
    atomic: bool = False


class SubmitOutcome(IntEnum):
    """`EXISTS`: one id, one job, and it was there before."""

    ACCEPTED = 1
    EXISTS = 2


class StageBulk(Struct, gc=False):
    """The next part of a bulk: jobs that wait until all of it is there. Answered by how many parts there are.

    Parts come in their order; one that came before is answered and changes nothing. Refused with `BulkUnknown` where
    the parts before it are not there (any more). The jobs' ids are generated ones. A first part that was `resent` may
    be that of a bulk that is over: it is if its first job is known.
    """

    bulk: bytes
    namespace: str
    part: int
    items: list[NewJob]
    resent: bool = False
    known: bool = False
    looked: bool = False


class CommitBulk(Struct, gc=False):
    """All `parts` of the bulk are there: its jobs are accepted, all of them. Answered by None.

    `first` is the id of its first job: a bulk that is known no more was committed before if that job is known.
    """

    bulk: bytes
    namespace: str
    parts: int
    first: bytes
    known: bool = False
    looked: bool = False


class DropBulk(Struct, gc=False):
    """The bulk will not be committed. One that is not known, or was committed, stays as it is."""

    bulk: bytes
    namespace: str


class EndRun(Struct, gc=False):
    """One settle. `found_fence` is that of a finished job's last settle, 0 for none, -1 where nobody looked."""

    id: bytes
    fence: int
    end: RunEnd
    body: bytes
    retry: bool = True
    found_fence: int = -1


class SettleRuns(Struct, gc=False):
    """Settles of one session. Answered by a `SettleOutcome` an item."""

    session: int
    items: list[EndRun]


class SettleOutcome(IntEnum):
    OK = 1
    ALREADY = 2
    STALE = 3


class CancelJob(Struct, gc=False):
    """Answered by `cancelled`, `finished`, or `stopping` for a job that runs; refused with `JobNotFound`."""

    id: bytes
    namespace: str
    found: FinishedJob | None = None
    looked: bool = False
    reason: str = ""


class RequeueJob(Struct, gc=False):
    """Submit an archived job again, as the next generation. Answered by that generation's number.

    A job that has reached `generation` already is answered with the number it has: the request came twice.
    """

    id: bytes
    namespace: str
    found: FinishedJob | None = None
    looked: bool = False
    generation: int = 0


class InspectJob(Struct, gc=False):
    """Answered by a copy of the living job, or None."""

    id: bytes
    namespace: str


class OpenSession(Struct, gc=False):
    """A connection says who it is. Answered by `(session number, fresh)`.

    `attach` is a heartbeat connection: it opens the session if need be and leaves its capacity alone. `link` is the
    connection's number; the latest speaks for the session, and what an older one said is passed over when it comes.
    """

    secret_hash: bytes
    namespace: str
    name: str
    attach: bool = False
    link: int = 0


class HeldRun(Struct, gc=False):
    id: bytes
    fence: int


class ResumeSession(Struct, gc=False):
    """What a returning worker still holds. Answered by `(list of RunVerdict, list of SettleOutcome)`."""

    session: int
    held: list[HeldRun]
    settles: list[EndRun]


class RunVerdict(IntEnum):
    KEEP = 1
    CANCEL = 2
    STALE = 3


class OfferCapacity(Struct, gc=False):
    """A worker says how many runs it will hold, and of which queues."""

    session: int
    slots: int
    queues: tuple[str, ...]
    link: int = 0


class LoseLink(Struct, gc=False):
    """The session's connection is gone. Its leases live on until its time is up."""

    session: int
    link: int = 0


class ThrottleLink(Struct, gc=False):
    """The session's connection has as many runs waiting to be sent as it may have, or has room again."""

    session: int
    throttled: bool
    link: int = 0


class HearSession(Struct, gc=False):
    """Something was heard of the session."""

    session: int


class EndSession(Struct, gc=False):
    session: int
    cause: SessionEnd


class CarriedJob(Struct, gc=False):
    """A job that lived with its home at `home`, and its arguments as they stand there."""

    id: bytes
    home: int
    body: bytes


class CarriedSession(Struct, gc=False):
    number: int
    home: int


class CarriedPart(Struct, gc=False):
    """A part of a bulk, by the place of its first job."""

    bulk: bytes
    first: int
    home: int


class CarryItems(Struct, gc=False):
    """Write the records of these again, so that nobody needs the old ones. Answered by how many bytes that took.

    What is over, or has another home by now, is passed over: what was seen of it is not so any more.
    """

    jobs: list[CarriedJob]
    sessions: list[CarriedSession]
    parts: list[CarriedPart]


class MoveBase(Struct, gc=False):
    """Let recovery begin at `base`. Answered by whether it may: nothing has its home below.

    `head` is a position at which that was so already; the archive has all that ended up to there.
    """

    base: int
    head: int


class SkipTime(Struct, gc=False):
    """The partition itself was late by `gap_ms` (stopped, suspended, stalled): no session and no bulk is to blame."""

    gap_ms: int


class LimitAdmission(Struct):
    """The shell looked at its disk: no new jobs from now on, and why; None opens again."""

    shut: Refused | None


Command = (
    SubmitJobs | SettleRuns | CancelJob | RequeueJob | InspectJob | OpenSession | ResumeSession | OfferCapacity
    | LoseLink | ThrottleLink | HearSession | EndSession | CarryItems | MoveBase | SkipTime | LimitAdmission | StageBulk
    | CommitBulk | DropBulk
)  # fmt: skip
