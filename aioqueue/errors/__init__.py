"""Every error aioqueue raises: what went wrong, the numbers, and the way out.

Four families, by what the person who meets them has to do:

* `Refused` (`callers`): the caller's mistake, or a limit that was reached. Change the call.
* `PeerMisbehaved` (`peers`): the other side of a connection broke the protocol. The connection is closed.
* `BrokerUnavailable` (`broker`): nobody answered. Trying again later is right.
* `JournalError` (`journal`): the truth on disk cannot be read or written. Stop.

and `JobError` (`jobs`), which is how a job's own end is told to whoever waits for its result.

Each class has a `code` that never changes: it travels on the wire, is printed by the command line, and is what a
program should compare. The words of a message may change. The numbers are in `fields`, and are attributes too.

Everybody imports from here; the files behind it are one for each family.
"""

from __future__ import annotations

from typing import Any, Final

from aioqueue.errors.base import (
    AioqueueError,
)
from aioqueue.errors.broker import (
    BrokerUnavailable,
    ConnectionLost,
    DeadlineExceeded,
    OutcomeUnknown,
    QueueClosed,
)
from aioqueue.errors.callers import (
    AlreadyThere,
    AmbiguousId,
    AppNotFound,
    BackupFailed,
    BadAnnotation,
    BadArguments,
    BadName,
    BadOption,
    BadResult,
    BadUrl,
    BulkTooLarge,
    BulkUnknown,
    CrashLoop,
    DiskLow,
    Duplicate,
    ExtraMissing,
    Forked,
    JobNotFound,
    JournalGone,
    NotEntered,
    NotRetryable,
    NotSerializable,
    OtherLoop,
    PayloadTooLarge,
    PortTaken,
    QueueFull,
    Refused,
    ResultExpired,
    SessionOver,
    TaskExists,
    TooManyBulks,
    TooManyConnections,
    TooManyNames,
    TooManySessions,
    UnknownTask,
    Unstoppable,
    Unsupported,
    WrongNamespace,
)
from aioqueue.errors.jobs import (
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    ProcessDied,
    tells_an_end,
)
from aioqueue.errors.journal import (
    AppendUnknown,
    ArchiveFailed,
    BatchTooLarge,
    Deposed,
    Fenced,
    HistoryLost,
    JournalDamaged,
    JournalError,
    JournalFailed,
    JournalInUse,
    JournalNewer,
    JournalUnavailable,
    NotAJournal,
)
from aioqueue.errors.peers import (
    CapabilityMissing,
    ForeignProtocol,
    FrameTooLong,
    MalformedFrame,
    PeerMisbehaved,
    ProtocolVersionMismatch,
    UnexpectedMessage,
)

__all__ = [
    "AioqueueError",
    "AlreadyThere",
    "AmbiguousId",
    "AppNotFound",
    "AppendUnknown",
    "ArchiveFailed",
    "BackupFailed",
    "BadAnnotation",
    "BadArguments",
    "BadName",
    "BadOption",
    "BadResult",
    "BadUrl",
    "BatchTooLarge",
    "BrokerUnavailable",
    "BulkTooLarge",
    "BulkUnknown",
    "CapabilityMissing",
    "ConnectionLost",
    "CrashLoop",
    "DeadlineExceeded",
    "Deposed",
    "DiskLow",
    "Duplicate",
    "ExtraMissing",
    "Fenced",
    "ForeignProtocol",
    "Forked",
    "FrameTooLong",
    "HistoryLost",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobNotFound",
    "JournalDamaged",
    "JournalError",
    "JournalFailed",
    "JournalGone",
    "JournalInUse",
    "JournalNewer",
    "JournalUnavailable",
    "MalformedFrame",
    "NotAJournal",
    "NotEntered",
    "NotRetryable",
    "NotSerializable",
    "OtherLoop",
    "OutcomeUnknown",
    "PayloadTooLarge",
    "PeerMisbehaved",
    "PortTaken",
    "ProcessDied",
    "ProtocolVersionMismatch",
    "QueueClosed",
    "QueueFull",
    "Refused",
    "ResultExpired",
    "SessionOver",
    "TaskExists",
    "TooManyBulks",
    "TooManyConnections",
    "TooManyNames",
    "TooManySessions",
    "UnexpectedMessage",
    "UnknownTask",
    "Unstoppable",
    "Unsupported",
    "WrongNamespace",
    "from_wire",
    "tells_an_end",
]


def _by_code(base: type[AioqueueError]) -> dict[str, type[AioqueueError]]:
    found: dict[str, type[AioqueueError]] = {}
    for kind in base.__subclasses__():
        found.setdefault(kind.code, kind)
        for code, inner in _by_code(kind).items():
            found.setdefault(code, inner)
    return found


def from_wire(code: str, message: str, fields: dict[str, Any]) -> AioqueueError:
    """The error that a peer told of by its code.

    An unknown code is a `Refused` with the peer's own words, and the code itself in `fields`.
    """
    kind = _BY_CODE.get(code)
    return kind(message, **fields) if kind is not None else Refused(message, **{**fields, "code": code})


_BY_CODE: Final = _by_code(AioqueueError)

# A class goes by its name here, not by the file it stands in: in tracebacks, in pickles, and as the type of a failure,
# which is kept with the job.
for _kind in (AioqueueError, *_BY_CODE.values()):
    _kind.__module__ = __name__
del _kind
