"""A new archive made of rows that are at hand: the archive's half of a backup. Blocking.

Rows come as `Archive.copy` gives them and are kept byte for byte, so what a later version put into them stays; one that
does not verify is left out.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

from aioqueue.archive.base import Row, Table
from aioqueue.archive.copying import unpack_tombstone
from aioqueue.archive.migrations import GENERATIONS, NEEDED, migrate
from aioqueue.archive.rows import (
    act_columns,
    act_of,
    job_columns,
    job_of,
    log_columns,
    log_of,
    needs_generations,
    read_tombstone,
    run_columns,
    run_of,
    store_acts,
    store_jobs,
    store_logs,
    store_runs,
    store_tombstones,
)
from aioqueue.archive.schema import prepare_writer, refuse_foreign, store_synced
from aioqueue.errors import ArchiveFailed

_BULK_ROWS: Final = 2_048
# Bulks between two checkpoints, so that the log stays a small part of the file.
_BULKS_A_CHECKPOINT: Final = 8

_Store = Callable[[Sequence[tuple[Any, ...]]], Iterator[tuple[str, list[Any]]]]
_STORES: Final[dict[Table, _Store]] = {
    Table.JOB: store_jobs, Table.RUN: store_runs, Table.TOMBSTONE: store_tombstones, Table.ACT: store_acts,
    Table.LOG: store_logs,
}  # fmt: skip


class FreshArchive:
    """The writing end. `left_out` counts the rows that do not verify."""

    def __init__(self, path: str, journal_id: bytes, database: sqlite3.Connection) -> None:
        self.left_out = 0
        self._path = path
        self._journal_id = journal_id
        self._database = database
        self._waiting: dict[Table, list[tuple[Any, ...]]] = {table: [] for table in Table}
        self._bulks = 0

    def add(self, row: Row) -> None:
        """One more row; `ArchiveFailed` if the disk does not take it."""
        try:
            columns = self._columns(row)
        except (ArchiveFailed, ValueError, struct.error):
            self.left_out += 1
            return
        waiting = self._waiting[row.table]
        waiting.append(columns)
        if len(waiting) == _BULK_ROWS:
            self._store(row.table)

    def finish(self, synced: int) -> None:
        """All rows are on the disk, in one file, with everything that ended up to position `synced` of the journal."""
        for table in Table:
            self._store(table)
        store_synced(self._database, self._journal_id, synced)
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _columns(self, row: Row) -> tuple[Any, ...]:
        if row.table is Table.JOB:
            return (*job_columns(job_of(self._path, row.data))[:-1], row.data)
        if row.table is Table.RUN:
            return (*run_columns(run_of(self._path, row.data))[:-1], row.data)
        if row.table is Table.ACT:
            return (*act_columns(act_of(self._path, row.data))[:-1], row.data)
        if row.table is Table.LOG:
            return (*log_columns(log_of(self._path, row.data))[:-1], row.data)
        job_id, seal, since_ms = unpack_tombstone(row.data)
        read_tombstone(self._path, (job_id.hex(), str(seal), str(since_ms)))
        return job_id, seal, since_ms

    def _store(self, table: Table) -> None:
        rows = self._waiting[table]
        if rows and table in NEEDED:
            migrate(self._database, NEEDED[table])
        if table is Table.TOMBSTONE and any(map(needs_generations, rows)):
            migrate(self._database, GENERATIONS)
        self._database.execute("BEGIN IMMEDIATE")
        for statement in _STORES[table](rows):
            self._database.execute(*statement)
        self._database.execute("COMMIT")
        rows.clear()
        self._bulks += 1
        if self._bulks % _BULKS_A_CHECKPOINT == 0:
            self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


@contextmanager
def fresh_archive(path: str, journal_id: bytes) -> Iterator[FreshArchive]:
    """Make an archive of the journal `journal_id` at `path`, where nothing stands yet.

    Raises `ArchiveFailed` if the disk does not take it.
    """
    try:
        refuse_foreign(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            prepare_writer(database, path, journal_id)
            yield FreshArchive(path, journal_id, database)
    except sqlite3.Error as error:
        raise ArchiveFailed(path=path, reason=f"it cannot be written: {error}") from error


def verify_archive(path: str) -> int:
    """How many finished jobs the archive at `path` holds; `ArchiveFailed` where SQLite finds it damaged."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            for (line,) in database.execute("PRAGMA quick_check(1)").fetchall():
                if line != "ok":
                    raise ArchiveFailed(path=path, reason=f"SQLite: {line}")
            ((jobs,),) = database.execute("SELECT count(*) FROM jobs").fetchall()
            return int(jobs)
    except sqlite3.Error as error:
        raise ArchiveFailed(path=path, reason=str(error)) from error
