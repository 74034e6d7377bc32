"""The one SQLite connection of a journal: opened with every setting asserted, closed without a trace where it must be.

Why each setting: `WAL` with `FULL` is the only pair that lost nothing in a hundred real power cuts; `EXCLUSIVE` and
one connection keep clear of the WAL-reset bug of SQLite before 3.51.3; automatic checkpoints are off because SQLite
does not tell a program when the sync of the main file fails in one. `psow` is SQLite's own default on Unix: with it
no commit is padded with copies of its last frame, which the scan of the log would take for another append.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiosqlite

from aioqueue.errors import HistoryLost, JournalDamaged, JournalError, JournalInUse, NotAJournal
from aioqueue.forked import never_free_in_child
from aioqueue.journal import files
from aioqueue.journal.batch import BATCH_ID_BYTES, JOURNAL_ID_BYTES
from aioqueue.journal.handle import Handle
from aioqueue.journal.lock import SUFFIX, OwnerLock
from aioqueue.journal.mark import check_mark, check_no_mark
from aioqueue.journal.wal import SUFFIX as LOG_SUFFIX
from aioqueue.journal.wal import WalScan, scan_log
from aioqueue.limits import FILE_MODE, JOURNAL_PAGE_BYTES, READ_RANGE_BATCHES

Row = tuple[Any, ...]

_SIZES: Final = "SELECT position, length(data) FROM batches WHERE position BETWEEN ? AND ? ORDER BY position LIMIT ?"

_SETTINGS: Final = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA trusted_schema = OFF",
)
# On macOS fsync only reaches the drive's cache.
_MACOS: Final = ("PRAGMA fullfsync = ON", "PRAGMA checkpoint_fullfsync = ON")

_ASSERTED: Final[dict[str, Any]] = {
    "locking_mode": "exclusive",
    "journal_mode": "wal",
    "synchronous": 2,
    "wal_autocheckpoint": 0,
    "auto_vacuum": 2,
    "page_size": JOURNAL_PAGE_BYTES,
}


class Connection:
    """An open journal file under its owner's lock. Errors of SQLite are left to the caller, save in `fetch`.

    `scan` is what the log held before SQLite saw it, and `created` whether the file was made here.
    """

    def __init__(self, path: str, prepared: _Prepared, database: aiosqlite.Connection) -> None:
        self.path = path
        self.scan = prepared.scan
        self.created = prepared.created
        self._unused_log = prepared.unused_log
        self._lock = prepared.lock
        self._database = database
        self._open = True
        never_free_in_child(self, Connection._left_to_parent)

    @classmethod
    async def open(
        cls, path: str | os.PathLike[str], wall_ms: int, *, create: bool, must_exist: bool = False
    ) -> Connection:
        """Lock and open the file; nothing is written to one that exists.

        With `create` a missing one is made and a log that shows lost history is refused; without, a missing one is
        `NotAJournal`, and what the log shows is left to the caller. `must_exist` refuses both. Raises what
        `SqliteJournal.open` does.
        """
        name = files.real_path(path)
        preparing = asyncio.create_task(asyncio.to_thread(_prepare, name, wall_ms, create, must_exist))
        try:
            prepared = await asyncio.shield(preparing)
        except asyncio.CancelledError:
            preparing.add_done_callback(_release)
            raise
        try:
            uri = f"{Path(name).as_uri()}?mode=rw&psow=1"
            database = await aiosqlite.connect(uri, uri=True, isolation_level=None, timeout=0)
        except sqlite3.Error as error:
            prepared.lock.release()
            raise JournalError(path=name, reason=str(error)) from error
        except BaseException:
            prepared.lock.release()
            raise
        self = cls(name, prepared, database)
        try:
            await self._set_up()
        except BaseException:
            await self.close(untouched=True)
            raise
        return self

    async def found(self) -> Handle:
        """The handle of what the file holds, its last batch verified; raises as `origin` and `Handle.found`.

        `HistoryLost` too if the log or the mark are witnesses of more than that.
        """
        journal_id, first, before = await self.origin()
        tail = await self.fetch("SELECT position, data FROM batches ORDER BY position DESC LIMIT 1")
        handle = Handle(self.path, journal_id)
        handle.found(first, before, *(tail[0] if tail else (0, b"")))
        missing = self.scan.missing(journal_id, handle.tail)
        if missing is not None:
            raise HistoryLost(path=self.path, reason=missing)
        check_mark(self.path, journal_id, handle.tail)
        return handle

    async def origin(self) -> tuple[bytes, int, bytes]:
        """The journal's id, the first position kept, and the id of the batch below it; `JournalDamaged` if none."""
        rows = await self.fetch("SELECT id, first, before FROM journal")
        if len(rows) != 1 or not _is_origin(*rows[0]):
            raise JournalDamaged(path=self.path, where="its origin", reason=f"the table `journal` holds {rows}")
        journal_id, first, before = rows[0]
        return journal_id, first, before

    async def range_end(self, first: int, last: int, bytes_max: int) -> int:
        """Up to which position the batches from `first` on fit into `bytes_max`; one batch always does."""
        end = first
        total = 0
        for position, size in await self.fetch(_SIZES, (first, last, READ_RANGE_BATCHES)):
            total += size
            if total > bytes_max and position > first:
                break
            end = position
        return end

    async def execute(self, sql: str, parameters: Iterable[Any] = ()) -> list[Row]:
        """One statement to its end, in one hop; `sqlite3.Error` as it comes."""
        return list(await self._database.execute_fetchall(sql, parameters))  # type: ignore[arg-type]

    async def script(self, sql: str) -> None:
        """A statement that works step by step, such as the incremental vacuum; `sqlite3.Error` as it comes."""
        cursor = await self._database.executescript(sql)
        await cursor.close()

    async def fetch(self, sql: str, parameters: Iterable[Any] = ()) -> list[Row]:
        """Read; `JournalDamaged` if SQLite cannot make sense of the file, `JournalError` if it cannot be read."""
        try:
            return await self.execute(sql, parameters)
        except sqlite3.OperationalError as error:
            raise JournalError(path=self.path, reason=str(error)) from error
        except sqlite3.DatabaseError as error:
            raise JournalDamaged(path=self.path, where="the file", reason=str(error)) from error

    async def close(self, *, untouched: bool) -> None:
        """Close the file and let go of the lock; errors have been told before, and are not told again.

        `untouched` leaves log and file as they are: SQLite folds the log in when it closes, which must not happen to
        a file that failed, or that is not ours to change. An interrupt before the close is what keeps it from that in
        every version of Python; `sqlite3.Connection.setconfig` could only from 3.12 on. A log without a single commit
        it removes all the same, so that is put back: nobody needs it to go on, but it tells of what happened.
        """
        if not self._open:
            return
        self._open = False
        try:
            if untouched:
                await self._database.interrupt()
            await self._database.close()
            if untouched and self._unused_log:
                await asyncio.to_thread(_put_back, self.path + LOG_SUFFIX, self._unused_log)
        except (sqlite3.Error, OSError):
            pass
        finally:
            self._lock.release()

    def _left_to_parent(self) -> object:
        """In a forked child: the file is the parent's, and so is closing it."""
        self._open = False
        database, self._database._connection = self._database._connection, None
        return database

    async def _set_up(self) -> None:
        try:
            await self.execute(_SETTINGS[0])
            application_id = (await self.execute("PRAGMA application_id"))[0][0]
            user_version = (await self.execute("PRAGMA user_version"))[0][0]
            # Again, through SQLite: the log may hold a newer first page than the file.
            files.check_format(self.path, application_id, user_version)
            for statement in (*_SETTINGS, *(_MACOS if sys.platform == "darwin" else ())):
                await self.execute(statement)
            found = {name: (await self.execute(f"PRAGMA {name}"))[0][0] for name in _ASSERTED}
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise JournalInUse(
                    f"the journal {self.path} is held by a program other than aioqueue ({error}); close that first",
                    path=self.path,
                ) from error
            raise JournalError(path=self.path, reason=str(error)) from error
        except sqlite3.DatabaseError as error:
            raise JournalDamaged(path=self.path, where="the file", reason=str(error)) from error
        if found != _ASSERTED:
            raise JournalDamaged(
                path=self.path, where="its settings", reason=f"SQLite says {found}, needed is {_ASSERTED}"
            )


class _Prepared(NamedTuple):
    """A file that may be opened. `unused_log` are the bytes of a log of which SQLite will take nothing."""

    lock: OwnerLock
    scan: WalScan
    unused_log: bytes
    created: bool


def _prepare(name: str, wall_ms: int, create: bool, must_exist: bool) -> _Prepared:
    """Lock what stands at the path, or make it, and scan its log; in a thread, since it waits for the disk."""
    # A file that is no journal gets no lock file beside it. Where there is one already, looking comes after locking:
    # closing a second descriptor of the file would take SQLite's own locks from a journal of this process.
    if not os.path.exists(name + SUFFIX):
        _look(name, create, must_exist)
    lock = OwnerLock.acquire(name, wall_ms)
    try:
        created = not _look(name, create, must_exist)
        if created:
            files.create(name)
        scan = scan_log(name)
        if create and scan.lost is not None:
            raise HistoryLost(path=name, reason=scan.lost)
        unused = scan.log_bytes and not scan.committed
        return _Prepared(lock, scan, Path(name + LOG_SUFFIX).read_bytes() if unused else b"", created)
    except BaseException:
        lock.release()
        raise


def _put_back(path: str, data: bytes) -> None:
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with open(descriptor, "wb") as file:
            file.write(data)


def _look(name: str, create: bool, must_exist: bool) -> bool:
    exists = files.look(name)
    if not exists and create:
        check_no_mark(name)
    if not exists and (must_exist or not create):
        reason = "it is empty" if os.path.exists(name) else "there is no such file"
        raise NotAJournal(path=name, what="journal", reason=reason)
    return exists


def _release(preparing: asyncio.Task[_Prepared]) -> None:
    """Whoever opened the journal is gone; what was locked for it is let go."""
    if not preparing.cancelled() and preparing.exception() is None:
        preparing.result().lock.release()


def _is_origin(journal_id: Any, first: Any, before: Any) -> bool:
    return (
        isinstance(journal_id, bytes)
        and len(journal_id) == JOURNAL_ID_BYTES
        and isinstance(first, int)
        and first >= 1
        and isinstance(before, bytes)
        and len(before) == BATCH_ID_BYTES
    )
