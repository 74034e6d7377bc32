"""The journal's file before it is opened: what stands at a path, and how a new one comes to stand there.

A new journal is made beside its path and renamed, so at the path there is a whole journal or none. Blocking calls;
`SqliteJournal.open` runs them in a thread, with the owner's lock held.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Final

from aioqueue.errors import HistoryLost, JournalError, JournalNewer, NotAJournal
from aioqueue.journal.batch import JOURNAL_ID_BYTES, NO_BATCH
from aioqueue.journal.wal import SUFFIX as _WAL
from aioqueue.limits import FILE_MODE, JOURNAL_PAGE_BYTES

# "aioq" in the place where SQLite lets a program name its files.
APPLICATION_ID: Final = 0x61696F71
# Raised with every change that an older version could not read: of the tables, of a batch, of an event record.
USER_VERSION: Final = 1

_SQLITE_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_USER_VERSION_AT: Final = 60
_APPLICATION_ID_AT: Final = 68
_NEW: Final = ".new"

_CREATE: Final = (
    # It works only before the first table, as does the size of a page.
    f"PRAGMA page_size = {JOURNAL_PAGE_BYTES}",
    "PRAGMA auto_vacuum = INCREMENTAL",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {USER_VERSION}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    # `first` is the lowest position kept, `before` the id of the batch below it: a trimmed row is told from a lost one.
    "CREATE TABLE journal (one INTEGER PRIMARY KEY, id BLOB NOT NULL, first INTEGER NOT NULL, before BLOB NOT NULL)",
    # `bodies_at` lets one body be read with one statement and without the rest of its batch.
    "CREATE TABLE batches (position INTEGER PRIMARY KEY, bodies_at INTEGER NOT NULL, data BLOB NOT NULL)",
)


def real_path(path: str | os.PathLike[str]) -> str:
    """The one name of the file, whatever links lead there: it is what the owner locks."""
    return os.path.realpath(path)


def look(path: str) -> bool:
    """Whether a journal stands at `path`; nothing is changed.

    `NotAJournal` for anything else that stands there, `JournalNewer` for a format this version does not know,
    `HistoryLost` if the file is gone and its write-ahead log is not: a new file there would swallow it.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            # To open a pipe would wait for who writes to it.
            raise NotAJournal(path=path, what="journal", reason="it is no regular file")
        with open(path, "rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        header = b""
        if not os.path.isdir(os.path.dirname(path)):
            raise NotAJournal(path=path, what="journal", reason="its directory does not exist") from None
    except IsADirectoryError:
        raise NotAJournal(path=path, what="journal", reason="it is a directory") from None
    except OSError as error:
        raise JournalError(path=path, reason=error.strerror) from error
    if not header:
        if os.path.exists(path + _WAL) and os.path.getsize(path + _WAL) > 0:
            raise HistoryLost(path=path, reason=f"the file is empty or gone, but {path + _WAL} is still there")
        return False
    if len(header) < _HEADER_BYTES or not header.startswith(_SQLITE_MAGIC):
        raise NotAJournal(path=path, what="journal", reason="it is some other kind of file")
    check_format(path, _number(header, _APPLICATION_ID_AT), _number(header, _USER_VERSION_AT))
    return True


def check_format(path: str, application_id: int, user_version: int) -> None:
    """`NotAJournal` or `JournalNewer` unless the two numbers are those of a journal that this version reads."""
    if application_id != APPLICATION_ID:
        raise NotAJournal(path=path, what="journal", reason="it is another program's SQLite file")
    if user_version > USER_VERSION:
        raise JournalNewer(path=path, found=f"format {user_version}", known=f"format {USER_VERSION}")
    if user_version != USER_VERSION:
        raise NotAJournal(path=path, what="journal", reason=f"format {user_version} never was")


def create(path: str) -> None:
    """Make a new, empty journal at `path`, durable when this returns. `JournalError` if the disk does not take it."""
    fresh = path + _NEW
    try:
        # What a creation that was interrupted left behind.
        for leftover in (fresh, fresh + "-journal", fresh + _WAL):
            Path(leftover).unlink(missing_ok=True)
        # SQLite would make it by the umask. What it makes beside it later, a log for one, has this file's mode.
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
        with closing(sqlite3.connect(fresh, isolation_level=None)) as database:
            for statement in _CREATE:
                database.execute(statement)
            database.execute("INSERT INTO journal VALUES (1, ?, 1, ?)", (os.urandom(JOURNAL_ID_BYTES), NO_BATCH))
        _synced(fresh, os.O_RDWR)
        os.rename(fresh, path)
        sync_directory(path)
    except (OSError, sqlite3.Error) as error:
        raise JournalError(path=path, reason=f"it cannot be created: {error}") from error


def sync_directory(path: str) -> None:
    """The names in the directory of the file at `path` are on the disk when this returns. `OSError` as it comes."""
    _synced(os.path.dirname(path), os.O_RDONLY)


def _synced(path: str, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _number(header: bytes, at: int) -> int:
    return int.from_bytes(header[at : at + 4], "big")
