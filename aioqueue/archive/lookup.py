"""Jobs and runs by id: what the archive's reader does most, each look over before the next commit could miss it.

Everything here runs on the reader's thread. No cursor stays open between two calls, for an open one keeps the WAL from
being emptied.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from aioqueue.archive.base import Table, Tombstone
from aioqueue.archive.migrations import has
from aioqueue.archive.rows import (
    ACT_CELLS,
    JOB_CELLS,
    LOG_CELLS,
    RUN_CELLS,
    TOMBSTONE_CELLS,
    among,
    gather,
    read_act,
    read_job,
    read_log,
    read_run,
    read_tombstone,
)
from aioqueue.model.records import Act, EndedRun, FinishedJob, LogPart

# Rows fetched by one statement: of each kind as many as may all be of the largest size.
_JOBS_AT_ONCE: Final = 64
_RUNS_AT_ONCE: Final = 256
_LOGS_AT_ONCE: Final = 64
_ACTS_AT_ONCE: Final = 256

_JOBS: Final = "SELECT * FROM jobs WHERE id IN ({marks})"
_TOMBSTONES: Final = "SELECT * FROM tombstones WHERE id IN ({marks})"
_RUNS: Final = (
    f"SELECT * FROM runs WHERE id = ? AND (generation, run) > (?, ?) ORDER BY generation, run LIMIT {_RUNS_AT_ONCE}"
)
_LOGS: Final = (
    f"SELECT * FROM logs WHERE id = ? AND (generation, number) > (?, ?) "
    f"ORDER BY generation, number LIMIT {_LOGS_AT_ONCE}"
)
_ACTS: Final = "SELECT * FROM acts WHERE number < ? ORDER BY number DESC LIMIT ?"


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


def find_logs(connection: sqlite3.Connection, path: str, job_id: bytes) -> list[LogPart]:
    """All that is kept of a job's log, oldest first."""
    parts: list[LogPart] = []
    after = (-1, -1)
    while has(connection, Table.LOG):
        some = gather(connection, LOG_CELLS, _LOGS, (job_id, *after))
        parts += [read_log(path, cells) for cells in some]
        if len(some) < _LOGS_AT_ONCE:
            break
        after = (parts[-1].generation, parts[-1].number)
    return parts


def find_acts(connection: sqlite3.Connection, path: str, below: int, limit: int) -> tuple[list[Act], int]:
    """Some acts below a number, the newest first, and the number that the next are below; 0 where there are no more."""
    if not has(connection, Table.ACT):
        return [], 0
    wanted = max(1, min(limit, _ACTS_AT_ONCE))
    found = gather(connection, ("number", *ACT_CELLS), _ACTS, (below, wanted))
    return [read_act(path, cells[1:]) for cells in found], int(found[-1][0]) if len(found) == wanted else 0
