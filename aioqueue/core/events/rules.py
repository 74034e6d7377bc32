"""What has to be said of every event that is journaled, beside what it makes so: the words of the table `RULES`.

Whoever reads events that it did not write needs an answer for each of them: a replay that began at a base, a rescue of
what lies behind a gap, the cutting of the log. `unheard` and `salvage` have one function for each word here, so an
event that is like others needs no line there.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from aioqueue.core.events.journal import BulkCarried, JobCarried, SessionCarried
from aioqueue.core.events.registry import TaskSet


class Unknown(Enum):
    """What a replay that began at a base makes of the event while it does not know the item.

    `BEGINS`: it begins the item, or is the whole record of one, and is never passed over. `JOB`, `SESSION`, `COMMIT`:
    it is passed over where the job, the session, the bulk is not known. The others have a reason of their own.
    """

    BEGINS = auto()
    JOB = auto()
    LEASE = auto()
    SESSION = auto()
    PART = auto()
    COMMIT = auto()
    FREED = auto()
    LAPSED = auto()
    BASE = auto()


class Behind(Enum):
    """What a rescue takes from the event where it stands behind a gap.

    `SUBMIT`, `RECORD`: the whole job. `END`: a run or a wait is over, and perhaps the job. `SIGN`: there is such a job.
    `PART`, `COMMIT`, `FREED`: which jobs a bulk has, and that it was committed. `SETTING`: the
    whole item, as it is from there on, unless it is among what `LAPSED`. `NOTHING`: sessions end at the gap, and
    a base behind it is of a journal that ends there.
    """

    SUBMIT = auto()
    RECORD = auto()
    END = auto()
    SIGN = auto()
    PART = auto()
    COMMIT = auto()
    FREED = auto()
    SETTING = auto()
    LAPSED = auto()
    NOTHING = auto()


class Rules(NamedTuple):
    """`carried` is the record that tells a replay from a later base what the event made so. It is None where nothing is
    left to tell: what is over is no item any more, and a base has its own record. What no record tells is lost with the
    oldest part of the log. `moves` says that the event changes the state of a job, so that `NEXT_STATE` has it.
    """

    unknown: Unknown
    behind: Behind
    carried: type[JobCarried | SessionCarried | BulkCarried | TaskSet] | None
    moves: bool = True
