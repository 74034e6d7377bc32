"""The archive's only writer: bulk commits, steps of retention, and checkpoints between them.

Everything here runs on the writer's thread. A failure poisons the writer: after an fsync that failed, SQLite would go
on and acknowledge commits that are not on the disk, so only the next opening may say what is there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from aioqueue.archive.base import KeepRule, Table
from aioqueue.archive.migrations import GENERATIONS, NEEDED, has, migrate
from aioqueue.archive.retention import Victims, due_victims, outgrown_victims, stale_acts, stale_tombstones
from aioqueue.archive.rows import (
    act_columns,
    among,
    job_columns,
    log_columns,
    needs_generations,
    run_columns,
    store_acts,
    store_jobs,
    store_logs,
    store_runs,
    store_tombstones,
    tombstone_columns,
)
from aioqueue.archive.schema import store_synced
from aioqueue.errors import ArchiveFailed
from aioqueue.limits import CHECKPOINT_PAGES
from aioqueue.model.records import Act, EndedRun, FinishedJob, LogPart

_PAGE_BYTES: Final = 4096
# What one commit and one row dirty beside the rows themselves, in bytes of the WAL: the tails of four trees, and a
# row's share of two index pages (measured: 420 bytes for a row of 200).
_COMMIT_OVERHEAD_BYTES: Final = 8 * _PAGE_BYTES
_ROW_OVERHEAD_BYTES: Final = 220
# A WAL this many times over its size is waited for: readers are short, but they could take turns for ever.
_OVERGROWN: Final = 8
# Freed pages are used again by the rows to come; what is more than a fourth of the file is given back. Few at a time:
# each page is a step of SQLite, and each step gives up the interpreter's lock.
_VACUUM_PAGES: Final = 64
_HOLES_MIN_PAGES: Final = 2_000
_HOLES_PART: Final = 4


class Writer:
    """The state of the writing side: where it is synced to, whether it failed, how much waits for a checkpoint."""

    def __init__(self, path: str, journal_id: bytes, synced: int, rule: KeepRule) -> None:
        self.synced = synced
        self._path = path
        self._journal_id = journal_id
        self._rule = rule
        self._failure = ""
        self._unchecked_bytes = 0

    def commit(
        self,
        connection: sqlite3.Connection,
        finished: Sequence[FinishedJob],
        runs: Sequence[EndedRun],
        requeued: Sequence[bytes],
        position: int,
        acts: Sequence[Act] = (),
        logs: Sequence[LogPart] = (),
    ) -> None:
        """Store one bulk in one transaction, then checkpoint if it is time. What rows need is made before."""
        self._refuse_after_failure()
        jobs = [job_columns(job) for job in finished]
        ended = [run_columns(run) for run in runs]
        few = [act_columns(act) for act in acts], [log_columns(part) for part in logs]
        position = max(position, self.synced)
        try:
            for table, rows in zip((Table.ACT, Table.LOG), few, strict=True):
                if rows and not migrate(connection, NEEDED[table]):
                    # Tried again with each commit, until nobody reads the state before.
                    self._unchecked_bytes = CHECKPOINT_PAGES * _PAGE_BYTES
            connection.execute("BEGIN IMMEDIATE")
            _delete(connection, "jobs", "id", requeued)
            _delete(connection, "tombstones", "id", requeued)
            for statement in store_jobs(jobs):
                connection.execute(*statement)
            for statement in (*store_runs(ended), *store_acts(few[0]), *store_logs(few[1])):
                connection.execute(*statement)
            store_synced(connection, self._journal_id, position)
            connection.execute("COMMIT")
            self.synced = position
            rows = [*jobs, *ended, *few[0], *few[1]]
            self._checkpoint(connection, sum(len(columns[-1]) for columns in rows), len(rows))
        except sqlite3.Error as error:
            raise self._failed(connection, error) from error

    def retain(self, connection: sqlite3.Connection, now_ms: int, rows_max: int, bytes_max: int) -> int:
        """One step of retention, as `Archive.retain` promises; a step that finds nothing writes nothing."""
        self._refuse_after_failure()
        try:
            victims = due_victims(connection, self._rule, now_ms, rows_max)
            stale = stale_tombstones(connection, now_ms, rows_max - victims.rows)
            removed = victims.rows + len(stale)
            if removed:
                self._remove(connection, victims, stale, now_ms)
            if old := stale_acts(connection, now_ms, rows_max - removed):
                self._remove_acts(connection, old)
                removed += len(old)
            if removed < rows_max:
                # In the same step: where jobs end all the time, there may be none that finds nothing past its time.
                victims = outgrown_victims(connection, rows_max - removed, bytes_max)
                if victims.rows:
                    self._remove(connection, victims, [], now_ms)
                    removed += victims.rows
        except sqlite3.Error as error:
            raise self._failed(connection, error) from error
        return removed

    def shrink(self, connection: sqlite3.Connection) -> bool:
        """Cut some free pages off the file, if they are a large part of it; whether they still are."""
        self._refuse_after_failure()
        try:
            if not self._has_holes(connection):
                return False
            # `execute` makes one step of a statement that returns nothing; a script runs to its end.
            connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
            self._checkpoint(connection, _VACUUM_PAGES * _PAGE_BYTES, 0)
            return self._has_holes(connection)
        except sqlite3.Error as error:
            raise self._failed(connection, error) from error

    def _has_holes(self, connection: sqlite3.Connection) -> bool:
        ((pages, holes),) = connection.execute(
            "SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count"
        ).fetchall()
        return bool(holes > max(_HOLES_MIN_PAGES, pages // _HOLES_PART))

    def _remove(self, connection: sqlite3.Connection, victims: Victims, stale: Sequence[int], now_ms: int) -> None:
        gone = zip(victims.ids, victims.states, victims.generations, strict=True)
        stones = [tombstone_columns(job_id, state, now_ms, generation) for job_id, state, generation in gone]
        if any(map(needs_generations, stones)) and not migrate(connection, GENERATIONS):
            self._unchecked_bytes = CHECKPOINT_PAGES * _PAGE_BYTES
        connection.execute("BEGIN IMMEDIATE")
        _delete(connection, "tombstones", "number", stale)
        _delete(connection, "jobs", "number", victims.numbers)
        _delete(connection, "runs", "id", victims.ids)
        if has(connection, Table.LOG):
            _delete(connection, "logs", "id", victims.ids)
        for statement in store_tombstones(stones):
            connection.execute(*statement)
        connection.execute("COMMIT")
        self._checkpoint(connection, victims.bytes, victims.rows + len(stale))

    def _remove_acts(self, connection: sqlite3.Connection, old: Sequence[int]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        _delete(connection, "acts", "number", old)
        connection.execute("COMMIT")
        self._checkpoint(connection, 0, len(old))

    def _checkpoint(self, connection: sqlite3.Connection, row_bytes: int, rows: int) -> None:
        """Move the WAL into the file once it has grown to about `CHECKPOINT_PAGES`.

        `PASSIVE` waits for nobody. What a reader held back is tried again with the next commit, and a WAL that is
        overgrown is waited for; a reader that still holds it then is no failure.
        """
        self._unchecked_bytes += _COMMIT_OVERHEAD_BYTES + row_bytes + rows * _ROW_OVERHEAD_BYTES
        if self._unchecked_bytes < CHECKPOINT_PAGES * _PAGE_BYTES:
            return
        _, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages > _OVERGROWN * CHECKPOINT_PAGES:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        elif moved < pages:
            return
        self._unchecked_bytes = 0

    def _refuse_after_failure(self) -> None:
        if self._failure:
            raise ArchiveFailed(path=self._path, reason=f"it failed before: {self._failure}")

    def _failed(self, connection: sqlite3.Connection, error: sqlite3.Error) -> ArchiveFailed:
        self._failure = str(error)
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return ArchiveFailed(path=self._path, reason=self._failure)


def _delete(connection: sqlite3.Connection, table: str, column: str, values: Sequence[bytes] | Sequence[int]) -> None:
    for statement in among(f"DELETE FROM {table} WHERE {column} IN ({{marks}})", values):
        connection.execute(*statement)
