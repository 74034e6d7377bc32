"""What the archive's reader does: short looks, each over before the next commit could miss it.

Everything here runs on the reader's thread. No cursor stays open between two calls, for an open one keeps the WAL from
being emptied.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from aioqueue.archive.base import JobFilter, Tombstone
from aioqueue.archive.rows import (
    JOB_CELLS,
    RUN_CELLS,
    TOMBSTONE_CELLS,
    among,
    gather,
    read_job,
    read_run,
    read_tombstone,
)
from aioqueue.archive.shelves import Place, matches, print_wanted, shelves_of
from aioqueue.limits import MIB
from aioqueue.model.records import EndedRun, FinishedJob

# Index entries that the first look at a list passes over beyond the page's own, and any look at most: some 5 ms.
LOOK_ENTRIES_FIRST: Final = 500
LOOK_ENTRIES_MAX: Final = 20_000
# A page of large results ends early: it is held whole in memory.
LOOK_BYTES_MAX: Final = 8 * MIB
# Rows fetched by one statement: of each kind as many as may all be of the largest size. A page counts its bytes
# between two of them.
_JOBS_AT_ONCE: Final = 64
_PAGE_ROWS_AT_ONCE: Final = 16
_RUNS_AT_ONCE: Final = 256

_JOBS: Final = "SELECT * FROM jobs WHERE id IN ({marks})"
_NUMBERED: Final = "SELECT * FROM jobs WHERE number IN ({marks})"
_TOMBSTONES: Final = "SELECT * FROM tombstones WHERE id IN ({marks})"
_RUNS: Final = (
    f"SELECT * FROM runs WHERE id = ? AND (generation, run) > (?, ?) ORDER BY generation, run LIMIT {_RUNS_AT_ONCE}"
)
_PLACE_CELLS: Final = ("ended_ms", "names", "number")
_OLDEST: Final[Place] = (-(2**63), -(2**63), -(2**63))


class Look(msgspec.Struct):
    """What one look at the list brought: jobs, where the next look begins (None at the list's end), and whether it
    ended early because its jobs are large."""

    jobs: list[FinishedJob]
    place: Place | None
    full: bool = False


def find_jobs(connection: sqlite3.Connection, path: str, ids: Sequence[bytes]) -> dict[bytes, FinishedJob | Tombstone]:
    """The jobs or tombstones of these ids; a job that is retained between the two questions was found by the first."""
    found: dict[bytes, FinishedJob | Tombstone] = {}
    for statement in among(_JOBS, ids, _JOBS_AT_ONCE):
        for cells in gather(connection, JOB_CELLS, *statement):
            job = read_job(path, cells)
            found[job.id] = job
    if len(found) < len(ids):
        for statement in among(_TOMBSTONES, [job_id for job_id in ids if job_id not in found]):
            for cells in gather(connection, TOMBSTONE_CELLS, *statement):
                stone = read_tombstone(path, cells)
                found[stone.id] = stone
    return found


def find_runs(connection: sqlite3.Connection, path: str, job_id: bytes) -> list[EndedRun]:
    """All runs of a job, oldest first."""
    runs: list[EndedRun] = []
    after = (-1, -1)
    while True:
        some = gather(connection, RUN_CELLS, _RUNS, (job_id, *after))
        runs += [read_run(path, cells) for cells in some]
        if len(some) < _RUNS_AT_ONCE:
            return runs
        after = (runs[-1].generation, runs[-1].run)


def look(
    connection: sqlite3.Connection, path: str, where: JobFilter, before: Place, wanted: int, entries_max: int
) -> Look:
    """Up to `wanted` jobs from below `before` on, the newest first, among the next `entries_max` of any names."""
    end, likely = _likely(connection, where, before, wanted + 1, entries_max)
    jobs: list[FinishedJob] = []
    size = at = 0
    while at < len(likely):
        if len(jobs) >= wanted or size > LOOK_BYTES_MAX:
            return Look(jobs, likely[at - 1], full=size > LOOK_BYTES_MAX)
        some = likely[at : at + min(_PAGE_ROWS_AT_ONCE, wanted - len(jobs))]
        rows: dict[str, Sequence[str]] = {}
        for statement in among(_NUMBERED, [number for _, _, number in some]):
            rows.update({cells[0]: cells[1:] for cells in gather(connection, ("number", *JOB_CELLS), *statement)})
        # A row that was removed since its place was read is passed over.
        for cells in [rows[str(number)] for _, _, number in some if str(number) in rows]:
            size += len(cells[-1]) // 2
            job = read_job(path, cells)
            if matches(where, job):
                jobs.append(job)
        at += len(some)
    return Look(jobs, likely[-1] if len(likely) > wanted else end)


def _likely(
    connection: sqlite3.Connection, where: JobFilter, before: Place, wanted: int, entries_max: int
) -> tuple[Place | None, list[Place]]:
    """Where a look from `before` on ends (None: with the list), and the first places in it that may match."""
    if not (shelves := shelves_of(where)):
        return None, []
    bounds = [bound for shelf in shelves for bound in (shelf, *before, *_OLDEST)]
    end = connection.execute(_newest(len(shelves), " LIMIT 1 OFFSET ?"), (*bounds, entries_max - 1)).fetchone()
    mask, value = print_wanted(where)
    bounds = [bound for shelf in shelves for bound in (shelf, *before, *(end or _OLDEST), mask, value)]
    cells = gather(connection, _PLACE_CELLS, _newest(len(shelves), " LIMIT ?", " AND names & ? = ?"), (*bounds, wanted))
    return end, [(int(ended_ms), int(names), int(number)) for ended_ms, names, number in cells]


@lru_cache(maxsize=32)
def _newest(shelves: int, limit: str, also: str = "") -> str:
    """The places between two bounds on so many shelves, merged by SQLite without sorting: every arm is in order."""
    arm = (
        "SELECT ended_ms, names, number FROM jobs WHERE shelf = ?"
        f" AND (ended_ms, names, number) < (?, ?, ?) AND (ended_ms, names, number) >= (?, ?, ?){also}"
    )
    return " UNION ALL ".join([arm] * shelves) + f" ORDER BY 1 DESC, 2 DESC, 3 DESC{limit}"
