"""A new journal made of batches that are at hand: it stands at its path when it is whole, and not before.

For salvage, which writes a journal once from one end to the other; a broker appends through `SqliteJournal`. Blocking.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from aioqueue.errors import AioqueueError, AlreadyThere, JournalError
from aioqueue.journal import files
from aioqueue.journal.batch import NO_BATCH, Batch, BatchKind, Chain, bodies_at
from aioqueue.journal.epoch import epoch_payload, stated_level
from aioqueue.journal.lock import SUFFIX as LOCK_SUFFIX
from aioqueue.journal.mark import SUFFIX as MARK_SUFFIX
from aioqueue.journal.mark import MarkFile
from aioqueue.journal.wal import SUFFIX as LOG_SUFFIX
from aioqueue.limits import READ_RANGE_BYTES
from aioqueue.model.growth import LEVEL_FIRST

# What it is called until it is whole.
_UNFINISHED: Final = ".salvage"
_INSERT: Final = "INSERT INTO batches VALUES (?, ?, ?)"


class FreshJournal:
    """The writing end. `position` is that of the last batch; `journal_id` is new.

    `level` is the highest format level that any batch so far states; whoever knows of more raises it.
    """

    def __init__(self, path: str, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database
        self._written = 0
        self.level = LEVEL_FIRST
        (self.journal_id,) = database.execute("SELECT id FROM journal").fetchone()
        self._chain = Chain(self.journal_id, 0, 0, NO_BATCH)
        database.execute("BEGIN")

    @property
    def position(self) -> int:
        return self._chain.position

    def copy(self, batch: Batch) -> None:
        """The batch of another journal, with its time and epoch, at the next position.

        The first one may stand at any, that is its journal's base: what refers to positions does so here too.
        """
        if not self.position and batch.position > 1:
            # What stands below it is in the other journal; some id must stand for that.
            self._chain = Chain(self.journal_id, batch.epoch, batch.position - 1, self.journal_id)
            self._database.execute("UPDATE journal SET first = ?, before = ?", (batch.position, self.journal_id))
        if batch.kind is BatchKind.EPOCH:
            self.level = max(self.level, stated_level(batch.events, self._path, batch.position))
        self._chain.epoch = batch.epoch
        self._insert(self._chain.encode(batch.wall_ms, batch.events, [batch.bodies], kind=batch.kind))

    def begin_epoch(self, owner: str, wall_ms: int) -> None:
        """What follows was made by `owner`, at `wall_ms` in milliseconds UTC; the record states the `level`."""
        self._insert(self._chain.renew(wall_ms, epoch_payload(owner, self.level)))

    def append(self, wall_ms: int, events: bytes, bodies: Sequence[bytes]) -> None:
        """A batch of the epoch begun last. `BatchTooLarge` as `Chain.encode`."""
        self._insert(self._chain.encode(wall_ms, events, bodies))

    def finish(self) -> None:
        """Everything is on the disk, in one file."""
        self._database.execute("COMMIT")
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _insert(self, data: bytes) -> None:
        self._database.execute(_INSERT, (self.position, bodies_at(data), data))
        self._written += len(data)
        if self._written >= READ_RANGE_BYTES:
            self._written = 0
            self._database.execute("COMMIT")
            self._database.execute("BEGIN")


def refuse_taken(path: str) -> None:
    """`AlreadyThere` if a journal at `path`, or any file of one, is there."""
    for suffix in ("", LOG_SUFFIX, MARK_SUFFIX):
        if os.path.lexists(path + suffix):
            raise AlreadyThere(path=path + suffix)


@contextmanager
def fresh_journal(path: str) -> Iterator[FreshJournal]:
    """Make a journal at `path`; it is there, with its mark, when the block ends without an error.

    Raises `AlreadyThere`, and `JournalError` if the disk does not take it.
    """
    refuse_taken(path)
    unfinished = path + _UNFINISHED
    try:
        _remove(unfinished)
        files.create(unfinished)
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as database:
            database.execute("PRAGMA synchronous = FULL")
            fresh = FreshJournal(unfinished, database)
            yield fresh
            fresh.finish()
        refuse_taken(path)
        os.rename(unfinished, path)
        files.sync_directory(path)
        mark = MarkFile.open(path, fresh.journal_id)
        mark.write(fresh.position)
        mark.close()
    except AioqueueError:
        # A broker that does not answer in time is an `OSError` too, as every `TimeoutError` is.
        raise
    except (OSError, sqlite3.Error) as error:
        raise JournalError(path=path, reason=f"it cannot be written: {error}") from error
    finally:
        _remove(unfinished)


def _remove(unfinished: str) -> None:
    for suffix in ("", LOG_SUFFIX, "-shm", LOCK_SUFFIX):
        Path(unfinished + suffix).unlink(missing_ok=True)
