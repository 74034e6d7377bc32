"""Every message of the protocol, as a typed record.

On the wire a message is a msgpack array `[kind, field, ...]`; `tag` below is its kind. Kinds are never reused; fields
are only appended, with a default that means what their absence meant. `docs/reference/protocol.md` says the same for
people who write a client in another language.

A request carries a number that its connection has not used before; the answer carries the same number. All times are
milliseconds; durations rather than instants, except where a field is called `..._at_ms` or says UTC.

Every list is bounded by `ITEMS_A_FRAME_MAX`, and every byte string by what its name allows, while it is decoded.

The files are the chapters of that page. Everybody imports from here: `ClientMessage` and `BrokerMessage` say who says
what, and what is in neither is refused.
"""

from __future__ import annotations

from aioqueue.protocol.messages.admin import (
    BackupPart,
    ReadBackup,
)
from aioqueue.protocol.messages.base import (
    Body,
    BulkId,
    Extra,
    Fields,
    Headers,
    JobId,
    Name,
    Number,
    Runs,
    SpecBytes,
    Text,
)
from aioqueue.protocol.messages.control import ControlKind, ControlPage, ListControl, TaskEntry
from aioqueue.protocol.messages.jobs import (
    CancelJob,
    Cancelled,
    Ended,
    EndedItem,
    FindJobs,
    GetJob,
    JobPage,
    JobRecord,
    Requeued,
    RetryJob,
    StatisticsUpdate,
    Wait,
    Watch,
)
from aioqueue.protocol.messages.life import (
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN,
    Capability,
    Closing,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Refusal,
    Role,
    Welcome,
)
from aioqueue.protocol.messages.reserved import (
    RESERVED_CAPABILITIES,
    RESERVED_KINDS,
    RESERVED_ROLES,
)
from aioqueue.protocol.messages.submits import (
    BulkCommit,
    BulkDrop,
    BulkStage,
    ItemRefused,
    Outcome,
    Submit,
    SubmitAtomic,
    SubmitFlag,
    SubmitItem,
    Submitted,
)
from aioqueue.protocol.messages.working import (
    Beat,
    CancelRun,
    Capacity,
    Declare,
    Declared,
    DeclaredTask,
    Deliver,
    DeliverItem,
    DescribeTasks,
    Following,
    HeldRun,
    Resume,
    Resumed,
    RunEnd,
    Settle,
    SettleAnswer,
    Settled,
    SettleItem,
    SlotClass,
    TaskBody,
    Verdict,
    WorkerDied,
)

__all__ = [
    "PROTOCOL_VERSION",
    "PROTOCOL_VERSION_MIN",
    "RESERVED_CAPABILITIES",
    "RESERVED_KINDS",
    "RESERVED_ROLES",
    "BackupPart",
    "Beat",
    "Body",
    "BrokerMessage",
    "BulkCommit",
    "BulkDrop",
    "BulkId",
    "BulkStage",
    "CancelJob",
    "CancelRun",
    "Cancelled",
    "Capability",
    "Capacity",
    "ClientMessage",
    "Closing",
    "ControlKind",
    "ControlPage",
    "Declare",
    "Declared",
    "DeclaredTask",
    "Deliver",
    "DeliverItem",
    "DescribeTasks",
    "Ended",
    "EndedItem",
    "Extra",
    "Fields",
    "FindJobs",
    "Following",
    "GetJob",
    "Goodbye",
    "Headers",
    "HeldRun",
    "Hello",
    "ItemRefused",
    "JobId",
    "JobPage",
    "JobRecord",
    "ListControl",
    "Message",
    "Name",
    "Number",
    "Outcome",
    "Ping",
    "Pong",
    "ReadBackup",
    "Refusal",
    "Requeued",
    "Resume",
    "Resumed",
    "RetryJob",
    "Role",
    "RunEnd",
    "Runs",
    "Settle",
    "SettleAnswer",
    "SettleItem",
    "Settled",
    "SlotClass",
    "SpecBytes",
    "StatisticsUpdate",
    "Submit",
    "SubmitAtomic",
    "SubmitFlag",
    "SubmitItem",
    "Submitted",
    "TaskBody",
    "TaskEntry",
    "Text",
    "Verdict",
    "Wait",
    "Watch",
    "Welcome",
    "WorkerDied",
]

ClientMessage = (
    Ping | Pong | Hello | Goodbye | Submit | SubmitAtomic | BulkStage | BulkCommit | BulkDrop
    | Wait | GetJob | FindJobs | CancelJob | RetryJob | Watch
    | Resume | Declare | DescribeTasks | Capacity | Settle | Beat | WorkerDied | ReadBackup
    | ListControl
)  # fmt: skip
BrokerMessage = (
    Ping | Pong | Refusal | Welcome | Closing | Submitted | Ended | JobRecord | JobPage | Cancelled | Requeued
    | StatisticsUpdate | Resumed | Declared | Deliver | Settled | CancelRun | BackupPart
    | ControlPage
)  # fmt: skip
Message = ClientMessage | BrokerMessage
