"""Where a finished job stands: the few numbers by which both archives find, page and forget it.

A **shelf** is its state together with whether it said itself how long it is to be kept. On one shelf of the rule's own
keeping, the order of ending is the order of expiring, so one index by (shelf, end) serves the pages, the retention by
age and the retention by size; only jobs with a `keep_ms` of their own need a second, partial index. A page of several
shelves is a merge.

A **print** is 16 bits each of the namespace's, the queue's and the task's checksum. It stands in that index too, so a
filter passes over what cannot match without touching its row. Two names may share a print, so a match is only a
candidate; the row itself decides. Numbers of our own for names would be smaller, and would need a table that callers
could grow without bound.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import Final

from aioqueue.archive.base import JobFilter, KeepRule
from aioqueue.errors import BadOption
from aioqueue.limits import JOB_ID_BYTES
from aioqueue.model.bodies import CRASHED, failure_line
from aioqueue.model.records import FinishedJob
from aioqueue.model.states import TERMINAL, JobState

# The end of a job in milliseconds UTC, its print, and its number in the archive: a total order of all jobs. In a list
# by id, the id.
EndPlace = tuple[int, int, int]
Place = EndPlace | bytes

_CURSOR: Final = struct.Struct(">qqq")
_ACT_CURSOR: Final = struct.Struct(">q")
# Later than any job: where the first page begins.
NEWEST: Final[EndPlace] = (2**63 - 1, 2**63 - 1, 2**63 - 1)
_LEAST: Final = -(2**63)

SUCCEEDED_SHELVES: Final = (JobState.SUCCEEDED * 2, JobState.SUCCEEDED * 2 + 1)
OTHER_SHELVES: Final = tuple(
    state * 2 + own for state in sorted(TERMINAL) if state is not JobState.SUCCEEDED for own in (0, 1)
)


def shelf_of(job: FinishedJob) -> int:
    """The shelf of a job; odd where the job has a `keep_ms` of its own."""
    return job.state * 2 + (job.keep_ms >= 0)


def state_on(shelf: int) -> JobState:
    """The state that all jobs on a shelf share."""
    return JobState(shelf >> 1)


def expires_ms(job: FinishedJob) -> int | None:
    """When a job that says so itself is forgotten, in milliseconds UTC; None where the archive's rule decides."""
    return job.finished_ms + job.keep_ms if job.keep_ms >= 0 else None


def ruled_shelves(rule: KeepRule) -> list[tuple[int, int]]:
    """Every shelf that the rule clears, with how long its jobs are kept."""
    return [
        (JobState.SUCCEEDED * 2, rule.succeeded_ms),
        (JobState.DEAD * 2, rule.dead_ms),
        (JobState.CANCELLED * 2, rule.cancelled_ms),
        (JobState.EXPIRED * 2, rule.expired_ms),
    ]


def shelves_of(where: JobFilter) -> tuple[int, ...]:
    """The shelves a filter looks at; none where it asks for states that are no end."""
    states = TERMINAL.intersection(where.states or TERMINAL)
    if where.error:
        states -= {JobState.SUCCEEDED}
    return tuple(sorted(state * 2 + own for state in states for own in (0, 1)))


@lru_cache(maxsize=10_000)
def print_of(namespace: str, queue: str, task: str) -> int:
    """The print of a job's names, 48 bits."""
    return _bits(namespace) << 32 | _bits(queue) << 16 | _bits(task)


def print_wanted(where: JobFilter) -> tuple[int, int]:
    """`(mask, value)`: a job can match only if its print's masked bits are the value."""
    mask = 0xFFFF << 32 | (0xFFFF << 16 if where.queue else 0) | (0xFFFF if where.task else 0)
    return mask, print_of(where.namespace, where.queue, where.task) & mask


def bounds_of(where: JobFilter) -> tuple[EndPlace, EndPlace]:
    """`(oldest, newest)`: the ends that a filter's times allow are not before the first, and before the second."""
    newest = (where.until_ms, _LEAST, _LEAST) if where.until_ms else NEWEST
    return (where.since_ms or _LEAST, _LEAST, _LEAST), newest


def matches(where: JobFilter, job: FinishedJob) -> bool:
    """Whether the job is one that the filter asks for; its id is the matter of the list's order."""
    return (
        job.namespace == where.namespace
        and (not where.queue or job.queue == where.queue)
        and (not where.task or job.task == where.task)
        and (not where.states or job.state in where.states)
        and where.since_ms <= job.finished_ms
        and (not where.until_ms or job.finished_ms < where.until_ms)
        and job.id.endswith(where.tail)
        and (not where.error or where.error in error_of(job))
    )


def error_of(job: FinishedJob) -> str:
    """The failure that a job ended with, as `Type: text`; empty where it ended otherwise."""
    if job.state is JobState.SUCCEEDED:
        return ""
    body = job.body or (CRASHED if job.state is JobState.DEAD else b"")
    return failure_line(body) if body else ""


def pack_cursor(place: Place) -> bytes:
    return place if isinstance(place, bytes) else _CURSOR.pack(*place)


def unpack_cursor(where: JobFilter, cursor: bytes) -> Place:
    """The place a page continues from; `BadOption` for bytes that no page of this filter gave."""
    if where.ids is not None:
        if cursor and len(cursor) != JOB_ID_BYTES:
            raise BadOption(option="after", value=cursor, reason="it is not the cursor of a page by id")
        # Behind the highest: the list is of what lies below its place.
        return cursor or where.ids[1] + b"\x00"
    if not cursor:
        return NEWEST
    if len(cursor) != _CURSOR.size:
        raise BadOption(option="after", value=cursor, reason="it is not the cursor of a page")
    ended_ms, names, number = _CURSOR.unpack(cursor)
    return ended_ms, names, number


def pack_act_cursor(number: int) -> bytes:
    """The cursor of a page of acts that ends with this one; none for 0."""
    return _ACT_CURSOR.pack(number) if number else b""


def unpack_act_cursor(cursor: bytes) -> int:
    """The number that the next page of acts is below; `BadOption` for bytes that no page gave."""
    if not cursor:
        return NEWEST[0]
    if len(cursor) != _ACT_CURSOR.size:
        raise BadOption(option="after", value=cursor, reason="it is not the cursor of a page of acts")
    return int(_ACT_CURSOR.unpack(cursor)[0])


def _bits(name: str) -> int:
    return zlib.crc32(name.encode()) & 0xFFFF
