"""Numbers of the wire that are given away already: no message, role or capability but the named one may take them.

Releases that are under way side by side would otherwise take the same number, and numbers are never reused. Whoever
lands a name moves it from here to its class; a reservation that came to nothing may be taken out. A kind stays below
128, where it is one byte. Free kinds are 121 to 127. `extras.RESERVED_KEYS` is the same for options of a job.

Read by the codec, which tells a peer of a later version from one that sends what never was a message.
"""

from __future__ import annotations

from typing import Final

RESERVED_KINDS: Final[dict[int, str]] = {
    60: "NotLeader",
    61: "RetryAfter",
    62: "Item",
    63: "Events",
    69: "ActFor",
    72: "HoldLimit",
    73: "Explain",
    74: "Explained",
    75: "Report",
    76: "Tail",
    77: "TailMore",
    78: "SetQueue",
    79: "SetLimit",
    80: "SetSchedule",
    81: "FireSchedule",
    84: "Sweep",
    85: "Swept",
    86: "Done",
    87: "ReadStream",
    88: "ReadLogs",
    89: "Logs",
    90: "WatchTopics",
    91: "Topic",
    92: "AskHistory",
    93: "History",
    94: "AskErrors",
    95: "ErrorGroups",
    96: "ReadActs",
    97: "ActsPage",
    98: "Follow",
    99: "Batches",
    100: "FollowAck",
    101: "RecordSteps",
    102: "StepsRecorded",
    103: "SuspendRuns",
    104: "RunsSuspended",
    105: "StepRecords",
    106: "SignalJob",
    107: "Signalled",
    108: "WakeJob",
    109: "Woken",
    110: "Demand",
    111: "CapacityTaken",
    112: "BulkSeal",
    113: "BulkAsk",
    114: "BulkFate",
    115: "Tie",
    116: "Over",
    117: "Untie",
    118: "SetWebhook",
    119: "Erase",
    120: "Erased",
}

RESERVED_ROLES: Final[dict[int, str]] = {4: "PEER", 5: "FOLLOWER"}

# Not members of `Capability`: a client asks for all of those.
RESERVED_CAPABILITIES: Final[dict[int, str]] = {
    16: "STREAMS",
    32: "FEED",
    64: "TOPICS",
    128: "ACTS",
    256: "RULES",
    512: "FOLLOW",
    1024: "STEPS",
    2048: "ROUTES",
    4096: "SHARE",
}
