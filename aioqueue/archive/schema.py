"""The archive's file: its tables, how one is made, and which are refused.

What is asked before SQLite may touch a file is read from its first hundred bytes: opening a database that is not ours,
or that a newer version wrote, could already change it.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from pathlib import Path
from typing import Final

from aioqueue.archive.migrations import MIGRATIONS, VERSION_FIRST
from aioqueue.errors import ArchiveFailed, JournalNewer, NotAJournal
from aioqueue.limits import FILE_MODE

# "aqar" in ASCII: what `file` and we recognise an archive by.
APPLICATION_ID: Final = 0x61716172
# What this version reads, and makes of a file when it has to: see `migrations`.
USER_VERSION: Final = MIGRATIONS[-1].version
# A busy file means another program looks into it; ten seconds outlast any look that is not a mistake.
BUSY_SECONDS: Final = 10.0

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_AUTO_VACUUM_INCREMENTAL: Final = 2
_SYNCHRONOUS_FULL: Final = 2

# `jobs` keeps its rows in the order they came, which is nearly that of their ends: a plain rowid table with a unique
# index costs 10-20 % less than WITHOUT ROWID, whose pages would hold wide rows in the order of ids. `names` in the
# first index lets a filter pass over rows unseen; the second is empty but for jobs with a `keep_ms` of their own.
# `tombstones` are numbered in the order they were made, so the oldest are found without an index of their age.
_TABLES: Final = """
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1), journal_id BLOB NOT NULL, synced INTEGER NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, generation INTEGER NOT NULL, shelf INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL, names INTEGER NOT NULL, expires_ms INTEGER, row BLOB NOT NULL
);
CREATE INDEX jobs_by_end ON jobs (shelf, ended_ms, names);
CREATE INDEX jobs_by_expiry ON jobs (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE TABLE runs (
    id BLOB NOT NULL, generation INTEGER NOT NULL, run INTEGER NOT NULL, row BLOB NOT NULL,
    PRIMARY KEY (id, generation, run)
) WITHOUT ROWID;
CREATE TABLE tombstones (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, seal INTEGER NOT NULL, since_ms INTEGER NOT NULL
);
"""


def refuse_foreign(path: str) -> None:
    """Look at the bytes of the file at `path`, or make an empty one; nothing is opened by SQLite or changed.

    Raises `NotAJournal` for another program's file, `JournalNewer` for a later version's, and `ArchiveFailed` where
    the system does not let us (SQLite would only say that it is "unable to open").
    """
    try:
        with open(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE), "rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        raise ArchiveFailed(path=path, reason=f"it cannot be opened: {error.strerror}") from error
    if not header:
        return
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise NotAJournal(path=path, what="archive", reason="it is not an SQLite database")
    _check_version(path, int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big"))


def prepare_writer(connection: sqlite3.Connection, path: str, journal_id: bytes) -> int:
    """Make the archive or check it, and set the connection up for writing; returns the position it is synced to.

    Raises `NotAJournal` for a file of another program or another journal, `JournalNewer`, and `ArchiveFailed` for one
    that is damaged or cannot be set up.
    """
    application_id = _pragma(connection, "application_id")
    user_version = _pragma(connection, "user_version")
    _check_version(path, application_id, user_version)
    fresh = application_id == 0
    if fresh and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise NotAJournal(path=path, what="archive", reason="it is another program's database")
    if fresh:
        # It only takes effect before the first page is written.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    for setting in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "wal_autocheckpoint = 0",
        "fullfsync = 1",
        "checkpoint_fullfsync = 1",
        "cache_size = -16384",
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()
    if fresh:
        _create(connection, path, journal_id)
    _assert_settings(connection, path)
    return _read_meta(connection, path, journal_id)


def prepare_reader(connection: sqlite3.Connection) -> None:
    """Set the connection up so that nothing can be written, nor checkpointed, through it."""
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    connection.execute("PRAGMA query_only = ON").fetchall()


def store_synced(connection: sqlite3.Connection, journal_id: bytes, position: int) -> None:
    """Note, within the caller's transaction, up to which position of the journal everything is here."""
    connection.execute(
        "INSERT OR REPLACE INTO meta (one, journal_id, synced, crc) VALUES (1, ?, ?, ?)",
        (journal_id, position, _meta_crc(journal_id, position)),
    )


def _check_version(path: str, application_id: int, user_version: int) -> None:
    if application_id not in (0, APPLICATION_ID):
        raise NotAJournal(path=path, what="archive", reason=f"its application id is {application_id:#010x}")
    if application_id == APPLICATION_ID and user_version > USER_VERSION:
        raise JournalNewer(path=path, found=user_version, known=USER_VERSION)


def _create(connection: sqlite3.Connection, path: str, journal_id: bytes) -> None:
    """All of it in one transaction: after a crash the file is empty still, or whole."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION_FIRST}")
    for statement in filter(str.strip, _TABLES.split(";")):
        connection.execute(statement)
    store_synced(connection, journal_id, 0)
    connection.execute("COMMIT")
    # The header that `refuse_foreign` reads belongs into the file itself, and the file's name onto the disk.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    directory = os.open(Path(path).resolve().parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _assert_settings(connection: sqlite3.Connection, path: str) -> None:
    """SQLite ignores a setting it cannot obey, so each is asked for again."""
    for name, wanted in (
        ("journal_mode", "wal"),
        ("synchronous", _SYNCHRONOUS_FULL),
        ("wal_autocheckpoint", 0),
        ("auto_vacuum", _AUTO_VACUUM_INCREMENTAL),
        ("application_id", APPLICATION_ID),
    ):
        (found,) = connection.execute(f"PRAGMA {name}").fetchone()
        if found != wanted:
            raise ArchiveFailed(path=path, reason=f"SQLite does not keep to {name} = {wanted}, it says {found}")
    version = _pragma(connection, "user_version")
    if not VERSION_FIRST <= version <= USER_VERSION:
        raise ArchiveFailed(path=path, reason=f"version {version} of an archive never was")


def _read_meta(connection: sqlite3.Connection, path: str, journal_id: bytes) -> int:
    row = connection.execute("SELECT journal_id, synced, crc FROM meta").fetchone()
    if row is None:
        raise ArchiveFailed(path=path, reason="it does not say which journal it belongs to")
    owner, synced, crc = row
    if not isinstance(owner, bytes) or not isinstance(synced, int) or crc != _meta_crc(owner, synced):
        raise ArchiveFailed(path=path, reason="the record of its journal and position is damaged")
    if owner != journal_id:
        reason = f"it belongs to journal {owner.hex()}, and this one is {journal_id.hex()}"
        raise NotAJournal(path=path, what="archive of this journal", reason=reason)
    return synced


def _meta_crc(journal_id: bytes, synced: int) -> int:
    return zlib.crc32(journal_id + synced.to_bytes(8, "big", signed=True))


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
