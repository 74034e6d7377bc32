"""What is asked of jobs: submit, settle, cancel, requeue, look."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from aioqueue.model.records import FinishedJob
from aioqueue.model.spec import Spec
from aioqueue.model.states import RunEnd


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

    `FRESH`: generated just now, nobody needs to look. `UNKNOWN`: it may have been there before (sent again). `OWN`: so
    may a caller's own id, which may be used again when its job is forgotten. The others were looked up: `FORGOTTEN` is
    an own id of which only a tombstone is left.
    """

    FRESH = 0
    UNKNOWN = 1
    ABSENT = 2
    FINISHED = 3
    OWN = 4
    FORGOTTEN = 5


class Before(Struct, frozen=True, gc=False):
    """The job that had an id before: its task and namespace where they are known, and when it was forgotten, in
    milliseconds UTC, where it was.
    """

    generation: int
    task: str = ""
    namespace: str = ""
    forgotten_ms: int = 0


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
    """One job to be. `due_ms` is UTC, 0 where `delay_ms` (or neither) says when. `before` was found of `FINISHED` and
    `FORGOTTEN` ones."""

    id: bytes
    spec: Spec
    packed_spec: bytes
    body: bytes
    delay_ms: int = 0
    due_ms: int = 0
    extra: bytes | None = None
    known: Known = Known.FRESH
    terms: AskedTerms | None = None
    before: Before | None = None


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


class EndRun(Struct, gc=False):
    """One settle. `found_fence` is that of a finished job's last settle, 0 for none, -1 where nobody looked.

    The `body` of a misfit is the failure that it would have been: what the worker has to say of these arguments.
    """

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
