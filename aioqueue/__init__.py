"""aioqueue: a durable, fair and explainable job queue that reads like asyncio.

What stands here is the public face; everything else may change between versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aioqueue.client.context import Context
from aioqueue.client.info import JobInfo
from aioqueue.client.job import Job
from aioqueue.client.options import Retry
from aioqueue.client.queue import Queue
from aioqueue.client.task import Call, Task
from aioqueue.errors import (
    AioqueueError,
    AppendUnknown,
    AppNotFound,
    ArchiveFailed,
    BadAnnotation,
    BadArguments,
    BadName,
    BadOption,
    BadResult,
    BadUrl,
    BatchTooLarge,
    BrokerUnavailable,
    BulkTooLarge,
    CapabilityMissing,
    ConnectionLost,
    CrashLoop,
    DeadlineExceeded,
    ExtraMissing,
    Fenced,
    FrameTooLong,
    HistoryLost,
    JobCancelled,
    JobError,
    JobFailed,
    JobNotFound,
    JournalDamaged,
    JournalError,
    JournalFailed,
    JournalInUse,
    JournalNewer,
    JournalUnavailable,
    MalformedFrame,
    NotAJournal,
    NotCancellableYet,
    NotEntered,
    NotRetryable,
    NotSerializable,
    OutcomeUnknown,
    PayloadTooLarge,
    PeerMisbehaved,
    PortTaken,
    ProtocolVersionMismatch,
    QueueClosed,
    QueueFull,
    Refused,
    ResultExpired,
    SessionOver,
    TaskExists,
    TooManySessions,
    UnexpectedMessage,
    UnknownTask,
    Unstoppable,
    Unsupported,
    WrongNamespace,
)

if TYPE_CHECKING:
    from aioqueue.worker import Worker

__version__ = "0.1.0"

__all__ = [
    "AioqueueError",
    "AppNotFound",
    "AppendUnknown",
    "ArchiveFailed",
    "BadAnnotation",
    "BadArguments",
    "BadName",
    "BadOption",
    "BadResult",
    "BadUrl",
    "BatchTooLarge",
    "BrokerUnavailable",
    "BulkTooLarge",
    "Call",
    "CapabilityMissing",
    "ConnectionLost",
    "Context",
    "CrashLoop",
    "DeadlineExceeded",
    "ExtraMissing",
    "Fenced",
    "FrameTooLong",
    "HistoryLost",
    "Job",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobInfo",
    "JobNotFound",
    "JournalDamaged",
    "JournalError",
    "JournalFailed",
    "JournalInUse",
    "JournalNewer",
    "JournalUnavailable",
    "MalformedFrame",
    "NotAJournal",
    "NotCancellableYet",
    "NotEntered",
    "NotRetryable",
    "NotSerializable",
    "OutcomeUnknown",
    "PayloadTooLarge",
    "PeerMisbehaved",
    "PortTaken",
    "ProtocolVersionMismatch",
    "Queue",
    "QueueClosed",
    "QueueFull",
    "Refused",
    "ResultExpired",
    "Retry",
    "SessionOver",
    "Task",
    "TaskExists",
    "TooManySessions",
    "UnexpectedMessage",
    "UnknownTask",
    "Unstoppable",
    "Unsupported",
    "Worker",
    "WrongNamespace",
]


def __getattr__(name: str) -> Any:
    # A program that only submits does not pay for the worker.
    if name == "Worker":
        from aioqueue.worker import Worker

        return Worker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
