"""What is kept of a job after its end, and of each of its runs: the archive's nouns.

Core says them as effects, the archive stores them, and the journal can always say them again (replay), so writing one
twice must change nothing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from aioqueue.model.growth import Shapes, shortened
from aioqueue.model.states import JobState


class Terms(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """What few jobs are bound by. Times are milliseconds UTC, 0 for none.

    A job that has not begun by `expires_ms`, or is not over by `deadline_ms`, is expired. `parent` is the job that
    submitted it; one that `inherits` ends with its parent, where that is cancelled or expires. `first_generation` is
    the one with which this use of its id began: above 0 where a job of a caller's own id was forgotten, and the id used
    again.
    """

    expires_ms: int = 0
    deadline_ms: int = 0
    parent: bytes = b""
    inherits: bool = False
    first_generation: int = 0


NO_TERMS: Final = Terms()


class FinishedJob(msgspec.Struct, array_like=True, gc=False):
    """A job that reached a terminal state. Times are milliseconds UTC.

    `spec` is the packed `Spec`. `fence` is that of the run whose settle ended the job, 0 where no settle did.
    `body` is the result of a success or the last `Failure`. `args` is kept for what did not succeed, so that it can
    be submitted again, and is empty for a success. `position` is the journal's batch that ended it; `generation`
    rises with each requeue, and with each new use of the id. `extra` is the packed remainder of the submit (headers,
    own id, options). `note` says why it was cancelled or expired, for people.
    """

    id: bytes
    namespace: str
    queue: str
    task: str
    state: JobState
    generation: int
    failures: int
    crashes: int
    runs: int
    fence: int
    priority: int
    submitted_ms: int
    started_ms: int
    finished_ms: int
    keep_ms: int
    worker: str
    position: int
    spec: bytes
    body: bytes
    args: bytes
    extra: bytes
    terms: Terms | None = None
    note: str = ""


class EndedRun(msgspec.Struct, array_like=True, gc=False):
    """A run that ended and was not its job's success.

    `outcome` is `failed`, `crashed`, `released`, `cancelled` or `expired`.
    """

    id: bytes
    generation: int
    run: int
    outcome: str
    started_ms: int
    ended_ms: int
    worker: str
    body: bytes


class Act(msgspec.Struct, array_like=True, gc=False):
    """What somebody did to a queue, a job or the broker, for whoever asks later.

    `position` is the journal's batch that tells of it, `place` which of its acts it is, `at_ms` when, in milliseconds
    UTC. `act` is the word for it, `subject` what it was done to; `before` and `after` are for people. `number` and
    `name` say who it was, `origin` from where.
    """

    position: int
    place: int
    at_ms: int
    act: str
    namespace: str
    subject: str
    number: int = 0
    name: str = ""
    origin: str = ""
    reason: str = ""
    before: str = ""
    after: str = ""


class LogPart(msgspec.Struct, array_like=True, gc=False):
    """Some lines that a job's runs logged. `number` counts the job's parts; `dropped` lines before it were given up."""

    id: bytes
    generation: int
    number: int
    at_ms: int
    lines: list[str]
    dropped: int = 0


class JobExtra(msgspec.Struct, array_like=True, gc=False):
    """What few jobs have: headers (packed), the caller's own id, and options by number. Core never looks inside."""

    headers: bytes = b""
    own_id: str = ""
    options: dict[int, bytes] = {}


# How many fields were there at first: those are always written.
EXTRA_FIELDS: Final[dict[type, int]] = {JobExtra: 3}

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(JobExtra)
_shapes = Shapes(JobExtra)
NO_EXTRA = JobExtra()
# How nearly all of them begin: an array of the fields that are known.
_USUAL: Final = _encoder.encode(NO_EXTRA)[:1]


def pack_extra(extra: JobExtra) -> bytes:
    return _encoder.encode(shortened(extra, EXTRA_FIELDS))


def newer_extra(data: bytes) -> str:
    """What of a packed remainder is of a newer version; empty where nothing is, be it sound or not."""
    return "" if data[:1] == _USUAL else _shapes.newer_in(data)


def unpack_extra(data: bytes | None) -> JobExtra:
    """The remainder of a submit; none for most jobs."""
    return _decoder.decode(data) if data else NO_EXTRA
