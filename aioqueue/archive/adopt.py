"""An archive that goes over to another journal: a copy of one, checked row by row, with the new journal's id.

Salvage makes a new journal of a damaged one, whose archive would be refused beside it. The ends that it holds are worth
keeping, and tell which jobs must not run again. Blocking.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from aioqueue.archive.base import Table
from aioqueue.archive.migrations import has
from aioqueue.archive.rows import (
    ACT_CELLS,
    JOB_CELLS,
    LOG_CELLS,
    RUN_CELLS,
    TOMBSTONE_CELLS,
    read_act,
    read_job,
    read_log,
    read_run,
    read_tombstone,
)
from aioqueue.archive.schema import prepare_writer, refuse_foreign, store_synced
from aioqueue.errors import AlreadyThere, ArchiveFailed
from aioqueue.limits import FILE_MODE

_UNFINISHED: Final = ".salvage"
_LOG: Final = "-wal"
_LOOK_ROWS: Final = 1_000


class Adopted(NamedTuple):
    """How many finished jobs the copy holds, and how many rows were left out because they do not verify."""

    jobs: int
    left_out: int


def adopt_archive(source: str, path: str, *, old_id: bytes, new_id: bytes, position: int) -> Adopted:
    """Copy the archive at `source` to `path` for the journal `new_id`, of which it has everything up to `position`.

    The source is not changed, and belongs to nobody meanwhile. Raises `AlreadyThere`, `NotAJournal` if it is no
    archive of the journal `old_id`, `JournalNewer`, and `ArchiveFailed` if SQLite or the system cannot read or write.
    """
    if os.path.lexists(path):
        raise AlreadyThere(path=path)
    unfinished = path + _UNFINISHED
    try:
        for suffix in ("", _LOG):
            if os.path.exists(source + suffix):
                # A copy into a file that is there keeps that file's mode.
                os.close(os.open(unfinished + suffix, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
                shutil.copyfile(source + suffix, unfinished + suffix)
        refuse_foreign(unfinished)
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as database:
            adopted = _adopt(database, source, old_id, new_id, position)
        _sync(unfinished)
        os.rename(unfinished, path)
        _sync(os.path.dirname(os.path.abspath(path)))
    except (OSError, sqlite3.Error) as error:
        raise ArchiveFailed(path=source, reason=f"it cannot be copied to {path}: {error}") from error
    finally:
        for suffix in ("", _LOG, "-shm"):
            Path(unfinished + suffix).unlink(missing_ok=True)
    return adopted


def _adopt(database: sqlite3.Connection, source: str, old_id: bytes, new_id: bytes, position: int) -> Adopted:
    synced = prepare_writer(database, source, old_id)
    problems = [line for (line,) in database.execute("PRAGMA quick_check(1)") if line != "ok"]
    if problems:
        raise ArchiveFailed(path=source, reason=f"SQLite: {problems[0]}")
    database.execute("BEGIN IMMEDIATE")
    left_out = _leave_out(database, "jobs", "number", JOB_CELLS, read_job)
    left_out += _leave_out(database, "runs", "id, generation, run", RUN_CELLS, read_run)
    left_out += _leave_out(database, "tombstones", "number", TOMBSTONE_CELLS, read_tombstone)
    if has(database, Table.ACT):
        left_out += _leave_out(database, "acts", "number", ACT_CELLS, read_act)
    if has(database, Table.LOG):
        left_out += _leave_out(database, "logs", "id, generation, number", LOG_CELLS, read_log)
    store_synced(database, new_id, min(synced, position))
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    ((jobs,),) = database.execute("SELECT count(*) FROM jobs").fetchall()
    return Adopted(jobs, left_out)


def _leave_out(
    database: sqlite3.Connection,
    table: str,
    key: str,
    cells: Sequence[str],
    read: Callable[[str, Sequence[str]], object],
) -> int:
    """Delete the rows of a table that do not read; how many there were."""
    bad: list[Sequence[object]] = []
    names = key.split(", ")
    rows = database.execute(f"SELECT {key}, {', '.join(cells)} FROM {table}")
    while found := rows.fetchmany(_LOOK_ROWS):
        for row in found:
            try:
                read(table, [str(cell) for cell in row[len(names) :]])
            except (ArchiveFailed, ValueError):
                bad.append(row[: len(names)])
    where = " AND ".join(f"{name} = ?" for name in names)
    database.executemany(f"DELETE FROM {table} WHERE {where}", bad)
    return len(bad)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
