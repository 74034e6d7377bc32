"""Jobs and runs by id: what the archive's reader does most, each look over before the next commit could miss it.

Everything here runs on the reader's thread. No cursor stays open between two calls, for an open one keeps the WAL from
being emptied.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from aioqueue.archive.base import Tombstone
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
from aioqueue.model.records import EndedRun, FinishedJob

# Rows fetched by one statement: of each kind as many as may all be of the largest size.
_JOBS_AT_ONCE: Final = 64
_RUNS_AT_ONCE: Final = 256

_JOBS: Final = "SELECT * FROM jobs WHERE id IN ({marks})"
_TOMBSTONES: Final = "SELECT * FROM tombstones WHERE id IN ({marks})"
_RUNS: Final = (
    f"SELECT * FROM runs WHERE id = ? AND (generation, run) > (?, ?) ORDER BY generation, run LIMIT {_RUNS_AT_ONCE}"
)


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
