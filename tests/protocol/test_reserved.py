"""Numbers of the wire: what is given away keeps its name, whether it has landed or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from aioqueue.protocol.codec import KINDS
from aioqueue.protocol.extras import RESERVED_KEYS, Key
from aioqueue.protocol.messages import RESERVED_CAPABILITIES, RESERVED_KINDS, RESERVED_ROLES, Capability, Role

# Whatever lands or is reserved adds its line; a line that a release has sent never changes.
ALLOCATED = {
    1: "Ping", 2: "Pong", 3: "Refusal",
    10: "Hello", 11: "Welcome", 12: "Goodbye", 13: "Closing",
    20: "Submit", 21: "SubmitAtomic", 22: "Submitted",
    30: "Wait", 31: "Ended", 32: "GetJob", 33: "JobRecord", 34: "FindJobs", 35: "JobPage", 36: "CancelJob",
    37: "Cancelled", 38: "RetryJob", 39: "Requeued", 40: "Watch", 41: "StatisticsUpdate",
    50: "Resume", 51: "Resumed", 52: "Capacity", 53: "Deliver", 54: "Settle", 55: "Settled", 56: "Beat",
    57: "WorkerDied", 58: "CancelRun", 59: "DescribeTasks",
    60: "NotLeader", 61: "RetryAfter", 62: "Item", 63: "Events",
    64: "BulkStage", 65: "BulkCommit", 66: "BulkDrop", 67: "ReadBackup", 68: "BackupPart",
    69: "ActFor", 70: "Declare", 71: "Declared", 72: "HoldLimit", 73: "Explain", 74: "Explained", 75: "Report",
    76: "Tail", 77: "TailMore", 78: "SetQueue", 79: "SetLimit", 80: "SetSchedule", 81: "FireSchedule",
    82: "ListControl", 83: "ControlPage", 84: "Sweep", 85: "Swept", 86: "Done", 87: "ReadStream", 88: "ReadLogs",
    89: "Logs",
    90: "WatchTopics", 91: "Topic", 92: "AskHistory", 93: "History", 94: "AskErrors", 95: "ErrorGroups",
    96: "ReadActs", 97: "ActsPage", 98: "Follow", 99: "Batches", 100: "FollowAck",
    101: "RecordSteps", 102: "StepsRecorded", 103: "SuspendRuns", 104: "RunsSuspended", 105: "StepRecords",
    106: "SignalJob", 107: "Signalled", 108: "WakeJob", 109: "Woken",
    110: "Demand", 111: "CapacityTaken", 112: "BulkSeal", 113: "BulkAsk", 114: "BulkFate", 115: "Tie", 116: "Over",
    117: "Untie", 118: "SetWebhook", 119: "Erase", 120: "Erased",
}  # fmt: skip


def test_no_kind_has_another_name_than_it_was_given() -> None:
    assert KINDS | RESERVED_KINDS == ALLOCATED
    assert not KINDS.keys() & RESERVED_KINDS.keys()
    assert len(set(ALLOCATED.values())) == len(ALLOCATED)


def test_no_kind_takes_more_than_one_byte() -> None:
    assert max(ALLOCATED) < 128


@pytest.mark.parametrize(
    ("members", "reserved"),
    [(Role, RESERVED_ROLES), (Capability, RESERVED_CAPABILITIES), (Key, RESERVED_KEYS)],
    ids=["roles", "capabilities", "options"],
)
def test_no_member_takes_a_number_or_a_name_that_is_reserved(members: Any, reserved: Mapping[int, str]) -> None:
    taken: dict[int, str] = {int(each): each.name for each in members}
    assert not taken.keys() & reserved.keys()
    assert not set(taken.values()) & set(reserved.values())
    assert len(set(reserved.values())) == len(reserved)


def test_every_reserved_capability_is_one_bit() -> None:
    assert all(bit.bit_count() == 1 for bit in RESERVED_CAPABILITIES)
