"""The numbers of events to come, and what each is called.

A kind is taken from this table before code is written, and never changes. An event that comes to be has the number and
the name that stand here, and its row stays; a row may be given back only while no version has written such an event.
"""

from __future__ import annotations

from typing import Final

# Without a name: kept free beside what they stand among.
_UNNAMED: Final = (19, 27, 28, 29, *range(53, 60))

SPOKEN_FOR: Final[dict[int, str]] = dict.fromkeys(_UNNAMED, "") | {
    # A run by code of another release.
    11: "JobMisfit",
    # Jobs that wait for others, sleep, are put off, replaced or moved; results that are kept for other jobs.
    12: "JobsFreed",
    13: "JobSuspended",
    14: "JobWoken",
    15: "JobSnoozed",
    16: "JobReplaced",
    17: "JobMoved",
    18: "ResultKept",
    # Durable steps.
    23: "StepRecorded",
    24: "JobSignalled",
    25: "StepsRestored",
    # Sessions of a known caller.
    26: "SessionBound",
    # Schedules and limits.
    34: "ScheduleSet",
    35: "LimitSet",
    38: "ScheduleFired",
    39: "ScheduleGone",
    # Acts of people, and what they set.
    40: "RulesLoaded",
    41: "ActedBy",
    42: "QueueSet",
    43: "Acted",
    44: "JobDropped",
    45: "Denied",
    46: "BrokerOpened",
    47: "TaskSet",
    48: "LimitGone",
    49: "WebhookSet",
    50: "WebhookDelivered",
    51: "JobErased",
    52: "JournalForked",
    # Gates of limits, keys that are held, and items whose time is over.
    60: "GateSet",
    61: "UniqueHeld",
    62: "ItemsLapsed",
    # Bulks and families over several partitions.
    70: "BulkSealed",
    71: "BulkUnpromised",
    72: "JobTied",
    73: "JobUntied",
    74: "ParentOverOwed",
    75: "ParentOverTold",
}
