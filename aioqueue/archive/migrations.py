"""How an archive's file becomes one of a later version: when the first row that needs it is about to be written.

A new file has version 1, and keeps it as long as nothing newer is written into it, so the release before still opens
it. `MIGRATIONS` lists what each later version adds. A migration is made of small steps, each of them one statement in
a transaction of its own that does nothing where it was done before; the last one is the version itself. Killed
anywhere in between, the file has its old version and perhaps a table that nobody asks for: every release opens it as
before, and the next row that needs the version begins again at the first step.

The archive's writers call `migrate` outside of any transaction (`commits`, `fresh`); readers ask `has`.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from aioqueue.archive.base import Table

VERSION_FIRST: Final = 1


class Migration(NamedTuple):
    """To `version`, from the one below, by steps that may be repeated."""

    version: int
    steps: tuple[str, ...]


# `acts` are numbered in the order they came, so the oldest are found, and counted, without an index of their age. An
# act is the same if place and time are: after a salvage another one may stand at the same place of the new journal.
_ACTS: Final = """
CREATE TABLE IF NOT EXISTS acts (
    number INTEGER PRIMARY KEY, position INTEGER NOT NULL, place INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    row BLOB NOT NULL, UNIQUE (position, place, at_ms)
)
"""
_LOGS: Final = """
CREATE TABLE IF NOT EXISTS logs (
    id BLOB NOT NULL, generation INTEGER NOT NULL, number INTEGER NOT NULL, row BLOB NOT NULL,
    PRIMARY KEY (id, generation, number)
) WITHOUT ROWID
"""

# A tombstone that tells of a generation has a seal that the versions before take for damage; no table changes for it.
MIGRATIONS: Final = (Migration(2, (_ACTS, _LOGS)), Migration(3, ()))
# Which version has the tables that were not there at first.
NEEDED: Final = {Table.ACT: 2, Table.LOG: 2}
GENERATIONS: Final = 3


def migrate(connection: sqlite3.Connection, needed: int) -> bool:
    """Bring the file up to the version `needed`, or leave it where it is that already. `sqlite3.Error` as it comes.

    False where a reader kept the version from being folded into the file itself: a checkpoint is owed then.
    """
    version, folded = version_of(connection), True
    for migration in MIGRATIONS:
        if not version < migration.version <= needed:
            continue
        for step in migration.steps:
            connection.execute(step)
        connection.execute(f"PRAGMA user_version = {migration.version}")
        # An older release reads the version from the file itself, before SQLite may show it what is in the log.
        _, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        folded = bool(moved == pages)
    return folded


def has(connection: sqlite3.Connection, table: Table) -> bool:
    """Whether the file has the table by now."""
    return version_of(connection) >= NEEDED.get(table, VERSION_FIRST)


def version_of(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
