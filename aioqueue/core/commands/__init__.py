"""What may be asked of a partition. A command may be refused; asking changes nothing by itself."""

from __future__ import annotations

from aioqueue.core.commands.bulks import CommitBulk, DropBulk, StageBulk
from aioqueue.core.commands.jobs import (
    AskedTerms,
    Before,
    CancelJob,
    EndRun,
    InspectJob,
    Known,
    NeedsLookup,
    NewJob,
    RequeueJob,
    SettleOutcome,
    SettleRuns,
    SubmitJobs,
    SubmitOutcome,
)
from aioqueue.core.commands.journal import (
    CarriedItem,
    CarriedJob,
    CarryItems,
    LimitAdmission,
    MoveBase,
    SkipTime,
)
from aioqueue.core.commands.link import DeclareOffer, HearSession, LoseLink, OfferCapacity, ThrottleLink
from aioqueue.core.commands.registry import DeclareTasks, DescribedTask, SetTasks
from aioqueue.core.commands.sessions import EndSession, HeldRun, OpenSession, ResumeSession, RunVerdict
from aioqueue.model.states import RunEnd, SessionEnd

__all__ = [
    "AskedTerms",
    "Before",
    "CancelJob",
    "CarriedItem",
    "CarriedJob",
    "CarryItems",
    "Command",
    "CommitBulk",
    "DeclareOffer",
    "DeclareTasks",
    "DescribedTask",
    "DropBulk",
    "EndRun",
    "EndSession",
    "HearSession",
    "HeldRun",
    "InspectJob",
    "Known",
    "LimitAdmission",
    "LoseLink",
    "MoveBase",
    "NeedsLookup",
    "NewJob",
    "OfferCapacity",
    "OpenSession",
    "RequeueJob",
    "ResumeSession",
    "RunEnd",
    "RunVerdict",
    "SessionEnd",
    "SetTasks",
    "SettleOutcome",
    "SettleRuns",
    "SkipTime",
    "StageBulk",
    "SubmitJobs",
    "SubmitOutcome",
    "ThrottleLink",
]

Command = (
    SubmitJobs | SettleRuns | CancelJob | RequeueJob | InspectJob | OpenSession | ResumeSession | DeclareOffer
    | OfferCapacity | LoseLink | ThrottleLink | HearSession | EndSession | CarryItems | MoveBase | SkipTime
    | LimitAdmission | StageBulk | CommitBulk | DropBulk | DeclareTasks | SetTasks
)  # fmt: skip
