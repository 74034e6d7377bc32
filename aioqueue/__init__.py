"""aioqueue: a durable, fair and explainable job queue that reads like asyncio.

What stands here is the public face; everything else may change between versions.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from aioqueue.errors import (
    AioqueueError,
    AlreadyThere,
    AmbiguousId,
    AppendUnknown,
    AppNotFound,
    ArchiveFailed,
    BackupFailed,
    BadAnnotation,
    BadArguments,
    BadName,
    BadOption,
    BadResult,
    BadUrl,
    BatchTooLarge,
    BrokerUnavailable,
    BulkTooLarge,
    BulkUnknown,
    CapabilityMissing,
    ConnectionLost,
    CrashLoop,
    DeadlineExceeded,
    Deposed,
    DiskLow,
    Duplicate,
    ExtraMissing,
    Fenced,
    ForeignProtocol,
    Forked,
    FrameTooLong,
    HistoryLost,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobNotFound,
    JournalDamaged,
    JournalError,
    JournalFailed,
    JournalGone,
    JournalInUse,
    JournalNewer,
    JournalUnavailable,
    MalformedFrame,
    NotAJournal,
    NotEntered,
    NotRetryable,
    NotSerializable,
    OtherLoop,
    OutcomeUnknown,
    PayloadTooLarge,
    PeerMisbehaved,
    PortTaken,
    ProcessDied,
    ProtocolVersionMismatch,
    QueueClosed,
    QueueFull,
    Refused,
    ResultExpired,
    SessionOver,
    TaskExists,
    TooManyBulks,
    TooManyConnections,
    TooManyNames,
    TooManySessions,
    UnexpectedMessage,
    UnknownTask,
    Unstoppable,
    Unsupported,
    WrongNamespace,
)
from aioqueue.model.version import VERSION

if TYPE_CHECKING:
    from aioqueue.client.asking import CancelOutcome
    from aioqueue.client.bulk import Jobs
    from aioqueue.client.context import Context
    from aioqueue.client.info import JobInfo
    from aioqueue.client.job import Job
    from aioqueue.client.options import Executor, Priority, Retry
    from aioqueue.client.patience import Health
    from aioqueue.client.queue import Queue
    from aioqueue.client.task import Call, Task
    from aioqueue.model.states import State
    from aioqueue.worker import OnPartition, Worker

__version__ = VERSION

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
    "Call",
    "CancelOutcome",
    "CapabilityMissing",
    "ConnectionLost",
    "Context",
    "CrashLoop",
    "DeadlineExceeded",
    "Deposed",
    "DiskLow",
    "Duplicate",
    "Executor",
    "ExtraMissing",
    "Fenced",
    "ForeignProtocol",
    "Forked",
    "FrameTooLong",
    "Health",
    "HistoryLost",
    "Job",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobInfo",
    "JobNotFound",
    "Jobs",
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
    "OnPartition",
    "OtherLoop",
    "OutcomeUnknown",
    "PayloadTooLarge",
    "PeerMisbehaved",
    "PortTaken",
    "Priority",
    "ProcessDied",
    "ProtocolVersionMismatch",
    "Queue",
    "QueueClosed",
    "QueueFull",
    "Refused",
    "ResultExpired",
    "Retry",
    "SessionOver",
    "State",
    "Task",
    "TaskExists",
    "TooManyBulks",
    "TooManyConnections",
    "TooManyNames",
    "TooManySessions",
    "UnexpectedMessage",
    "UnknownTask",
    "Unstoppable",
    "Unsupported",
    "Worker",
    "WrongNamespace",
]


# Where the rest of the public face lives. It is loaded when it is first asked for: a program that only submits does not
# pay for the worker, nor `aioqueue --help` for either (0.1 s instead of 0.2).
_HOMES: Final = {
    "Call": "aioqueue.client.task",
    "CancelOutcome": "aioqueue.client.asking",
    "Context": "aioqueue.client.context",
    "Executor": "aioqueue.client.options",
    "Health": "aioqueue.client.patience",
    "Job": "aioqueue.client.job",
    "JobInfo": "aioqueue.client.info",
    "Jobs": "aioqueue.client.bulk",
    "OnPartition": "aioqueue.worker",
    "Priority": "aioqueue.client.options",
    "Queue": "aioqueue.client.queue",
    "Retry": "aioqueue.client.options",
    "State": "aioqueue.model.states",
    "Task": "aioqueue.client.task",
    "Worker": "aioqueue.worker",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
