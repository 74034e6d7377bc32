"""Pages of the archive: short looks at a list, each at a bounded number of its entries.

A list is in the order of ends, found in the index by shelf, end and names, or in the order of ids, where the filter
names a range of them. Either way a look first asks where its entries end, then for those among them that may match,
and then for their rows. Everything here runs on the reader's thread. No cursor stays open between two looks, for an
open one keeps the WAL from being emptied.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from aioqueue.archive.base import JobFilter
from aioqueue.archive.rows import JOB_CELLS, among, gather, read_job
from aioqueue.archive.shelves import Place, bounds_of, matches, print_wanted, shelves_of
from aioqueue.limits import LOOK_ENTRIES_MAX, LOOK_ROWS_MAX, MIB
from aioqueue.model.bodies import CRASHED, failure_line
from aioqueue.model.records import FinishedJob

# Entries that the first look at a list passes over beyond the page's own: most pages need no more.
_ENTRIES_FIRST: Final = 500
# A page of large results ends early: it is held whole in memory.
_BYTES_MAX: Final = 8 * MIB
# Rows fetched by one statement: a page counts its bytes between two of them.
_ROWS_AT_ONCE: Final = 16
_NUMBERED: Final = "SELECT * FROM jobs WHERE number IN ({marks})"
_END_CELLS: Final = ("ended_ms", "names", "number")
_ID_CELLS: Final = ("hex(id)", "number")
# What no row holds before its message is told: a job that died of crashes has no error of its own.
_CRASHED_LINE: Final = failure_line(CRASHED)


class Look(msgspec.Struct):
    """What one look at the list brought: jobs, where the next look begins (None at the list's end), and whether it
    ended early because its jobs are large."""

    jobs: list[FinishedJob]
    place: Place | None
    full: bool = False


class _Likely(NamedTuple):
    """An entry that may match: its place in the list, and its row's number."""

    place: Place
    number: int


def looks_of(where: JobFilter, wanted: int) -> tuple[int, ...]:
    """How many entries each look of one page may pass over. Where each is a row to be read, it is fewer."""
    if where.tail and not where.error:
        # The end of an id is seen in the index.
        return (LOOK_ENTRIES_MAX,)
    if where.ids is not None or where.error:
        return (LOOK_ROWS_MAX,)
    return wanted + _ENTRIES_FIRST, LOOK_ENTRIES_MAX


def look(
    connection: sqlite3.Connection, path: str, where: JobFilter, before: Place, wanted: int, entries_max: int
) -> Look:
    """Up to `wanted` jobs from below `before` on, the newest first, among the next `entries_max` of any kind."""
    end, likely = (_by_end if where.ids is None else _by_id)(connection, where, before, wanted + 1, entries_max)
    jobs: list[FinishedJob] = []
    size = at = 0
    while at < len(likely):
        if len(jobs) >= wanted or size > _BYTES_MAX:
            return Look(jobs, likely[at - 1].place, full=size > _BYTES_MAX)
        some = likely[at : at + min(_ROWS_AT_ONCE, wanted - len(jobs))]
        rows: dict[str, Sequence[str]] = {}
        for statement in among(_NUMBERED, [entry.number for entry in some]):
            rows.update({cells[0]: cells[1:] for cells in gather(connection, ("number", *JOB_CELLS), *statement)})
        # A row that was removed since its place was read is passed over.
        for cells in [rows[str(entry.number)] for entry in some if str(entry.number) in rows]:
            size += len(cells[-1]) // 2
            job = read_job(path, cells)
            if matches(where, job):
                jobs.append(job)
        at += len(some)
    return Look(jobs, likely[-1].place if len(likely) > wanted else end)


def _by_end(
    connection: sqlite3.Connection, where: JobFilter, before: Any, wanted: int, entries_max: int
) -> tuple[Place | None, list[_Likely]]:
    """Where a look from `before` on ends (None: with the list), and the first entries in it that may match."""
    if not (shelves := shelves_of(where)):
        return None, []
    oldest, newest = bounds_of(where)
    before = min(before, newest)
    bounds = [bound for shelf in shelves for bound in (shelf, *before, *oldest)]
    end = connection.execute(_newest(len(shelves), " LIMIT 1 OFFSET ?"), (*bounds, entries_max - 1)).fetchone()
    also, values = _conditions(where)
    bounds = [bound for shelf in shelves for bound in (shelf, *before, *(end or oldest), *values)]
    rows = gather(connection, _END_CELLS, _newest(len(shelves), " LIMIT ?", also), (*bounds, wanted))
    return end, [_Likely((int(row[0]), int(row[1]), int(row[2])), int(row[2])) for row in rows]


def _by_id(
    connection: sqlite3.Connection, where: JobFilter, before: Any, wanted: int, entries_max: int
) -> tuple[Place | None, list[_Likely]]:
    """The same in the order of ids; here every entry that is passed over is a row."""
    assert where.ids is not None
    if not (shelves := shelves_of(where)):
        return None, []
    lowest = where.ids[0]
    found = connection.execute(_highest("", " LIMIT 1 OFFSET ?"), (before, lowest, entries_max - 1)).fetchone()
    end = found[0] if found is not None else None
    also, values = _conditions(where)
    oldest, newest = bounds_of(where)
    # The plus signs keep SQLite to the order of ids: another index would have it sort all that matches.
    also += f" AND +shelf IN ({', '.join(map(str, shelves))}) AND +ended_ms >= ? AND +ended_ms < ?"
    if where.tail:
        also, values = f" AND substr(id, -{len(where.tail)}) = ?{also}", (where.tail, *values)
    bounds = (before, end or lowest, *values, oldest[0], newest[0], wanted)
    rows = gather(connection, _ID_CELLS, _highest(also, " LIMIT ?"), bounds)
    return end, [_Likely(bytes.fromhex(row[0]), int(row[1])) for row in rows]


def _conditions(where: JobFilter) -> tuple[str, tuple[Any, ...]]:
    """What SQLite may ask of an entry by itself, so that few rows are read for nothing: SQL and its parameters.

    Type and text of a failure stand apart in its packed form. So a needle may lie in one of them, or begin in the one
    and end in the other, or in the middle of what joins them; the longest piece between two joints stands in the row in
    any case.
    """
    values: tuple[Any, ...] = print_wanted(where)
    if not where.error or where.error in _CRASHED_LINE:
        return " AND names & ? = ?", values
    return " AND names & ? = ? AND instr(row, ?) > 0", (*values, _longest_piece(where.error).encode())


def _longest_piece(error: str) -> str:
    return max(error.removeprefix(" ").removesuffix(":").split(": "), key=len)


@lru_cache(maxsize=32)
def _newest(shelves: int, limit: str, also: str = "") -> str:
    """The places between two bounds on so many shelves, merged by SQLite without sorting: every arm is in order."""
    arm = (
        "SELECT ended_ms, names, number FROM jobs WHERE shelf = ?"
        f" AND (ended_ms, names, number) < (?, ?, ?) AND (ended_ms, names, number) >= (?, ?, ?){also}"
    )
    return " UNION ALL ".join([arm] * shelves) + f" ORDER BY 1 DESC, 2 DESC, 3 DESC{limit}"


@lru_cache(maxsize=32)
def _highest(also: str, limit: str) -> str:
    """The ids between two bounds, the highest first."""
    return f"SELECT id, number FROM jobs WHERE id < ? AND id >= ?{also} ORDER BY id DESC{limit}"
