"""The journal on disk: one SQLite file, one connection, one row with one blob for each batch.

An append is one INSERT in autocommit: one hop to the connection's thread, one fsync of the write-ahead log, and no
BEGIN that could be left open. It runs in a task of the journal's own, so a caller that is cancelled leaves neither
half a batch nor an unknown one. What else must hold is in `connection`: how the file is opened, and that a failed one
is never written again.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from aioqueue.clock import Clock
from aioqueue.errors import AppendUnknown, HistoryLost, JournalDamaged, JournalError, JournalFailed
from aioqueue.journal.base import Extent, Leadership
from aioqueue.journal.batch import Batch, ChainReader, Header, bodies_at, peek_header
from aioqueue.journal.connection import Connection
from aioqueue.journal.handle import Handle, Hold
from aioqueue.journal.mark import MarkFile
from aioqueue.limits import (
    BATCH_BYTES_MAX,
    CHECKPOINT_PAGES,
    JOURNAL_PAGE_BYTES,
    READ_RANGE_BYTES,
    TRIM_STEP_BYTES,
    TRIM_STEP_BYTES_MAX,
    VACUUM_KEPT_PAGES,
    VACUUM_KEPT_PART,
    VACUUM_STEP_PAGES,
)
from aioqueue.model.growth import LEVEL_FIRST

_INSERT: Final = "INSERT INTO batches VALUES (?, ?, ?)"
_RANGE: Final = "SELECT position, data FROM batches WHERE position BETWEEN ? AND ? ORDER BY position"
# Left, so that a batch that is not there is told from one that is too short.
_BODIES: Final = (
    "WITH wanted(place, batch, start, bytes) AS (VALUES {marks}) "
    "SELECT position, substr(data, bodies_at + 1 + start, bytes) "
    "FROM wanted LEFT JOIN batches ON position = batch ORDER BY place"
)
_TRIMMED: Final = "UPDATE journal SET first = ?, before = ?"
_DELETE: Final = "DELETE FROM batches WHERE position BETWEEN ? AND ?"
_PAGES: Final = "SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count"
# What a row costs in the log beside its own bytes: a leaf, its parent, the first page and a map of pages.
_PAGES_A_ROW: Final = 4


class SqliteJournal:
    """`Journal` in a file; see `open`."""

    # See `Journal.batch_bytes_max`.
    batch_bytes_max: Final = BATCH_BYTES_MAX

    def __init__(self, connection: Connection, handle: Handle) -> None:
        self._connection = connection
        self._handle = handle
        # A fair lock: a trim or checkpoint gets its turn however fast one append follows the other.
        self._turn = asyncio.Lock()
        self._writes: set[asyncio.Task[None]] = set()
        self._log_pages = 0
        self._appended_bytes = 0
        self._log_is_own = False
        self._checkpoint_is_due = False
        self._mark: MarkFile | None = None

    @classmethod
    async def open(cls, path: str | os.PathLike[str], clock: Clock, *, must_exist: bool = False) -> SqliteJournal:
        """Open the journal at `path`, or make a new one there unless it `must_exist`; this process owns it until
        `aclose`.

        Nothing is written to a journal that exists before `lead`. Raises `JournalInUse`, `NotAJournal`,
        `JournalNewer`, `JournalDamaged`, `HistoryLost`, or `JournalError` for what the system refuses.
        """
        connection = await Connection.open(path, clock.now().wall_ms, create=True, must_exist=must_exist)
        try:
            return cls(connection, await connection.found())
        except BaseException:
            await connection.close(untouched=True)
            raise

    @property
    def journal_id(self) -> bytes:
        """See `Journal.journal_id`."""
        return self._handle.journal_id

    @property
    def tail(self) -> int:
        """See `Journal.tail`."""
        return self._handle.tail

    @property
    def created(self) -> bool:
        """Whether there was none, and `open` made it."""
        return self._connection.created

    @property
    def path(self) -> str:
        """The file's real path."""
        return self._connection.path

    async def lead(self, owner: str, wall_ms: int, level: int = LEVEL_FIRST) -> Leadership:
        """See `Journal.lead`."""
        handle = self._handle
        leaderships: list[Leadership] = []

        async def write() -> None:
            if not self._log_is_own:
                # All frames of the log come from one process: another's bad frame cannot hide what follows it.
                await self._checkpoint("TRUNCATE")
                self._log_is_own = True
            if self._mark is None:
                self._mark = await asyncio.to_thread(MarkFile.open, self.path, handle.journal_id)
            chain, data = handle.next_epoch(owner, wall_ms, level)
            await self._insert(data, peek_header(data))
            handle.own_epoch = chain.epoch
            leaderships.append(Leadership(handle.journal_id, chain.epoch, handle.tail, chain, owner, level))

        await self._in_turn(write)
        return leaderships[0]

    async def append(self, data: bytes, expected: int) -> int:
        """See `Journal.append`. Whatever goes wrong in SQLite ends this journal: `AppendUnknown`."""

        async def write() -> None:
            head = peek_header(data)
            if not self._handle.is_repeat(head, expected):
                await self._insert(data, head)

        await self._in_turn(write)
        return expected + 1

    async def read(self, after: int, last: int | None = None) -> AsyncIterator[Batch]:
        """See `Journal.read`. Whole ranges at a time: an open cursor would make the checkpoint fail."""
        handle = self._handle
        handle.check_usable()
        reader = handle.reader(after)
        while reader.expected <= (end := min(handle.tail, last or handle.tail)):
            range_end = await self._connection.range_end(reader.expected, end, READ_RANGE_BYTES)
            for position, data in await self._connection.fetch(_RANGE, (reader.expected, range_end)):
                batch = reader.take(position, data)
                if position > after:
                    yield batch
            if reader.expected <= range_end:
                raise HistoryLost(path=self.path, reason=f"batch {reader.expected} is missing")
            handle.check_usable()

    async def get(self, position: int, offset: int, length: int) -> bytes:
        """See `Journal.get`."""
        return (await self.get_many((Extent(position, offset, length),)))[0]

    async def get_many(self, extents: Sequence[Extent]) -> list[bytes]:
        """See `Journal.get_many`: one statement, so nothing is trimmed meanwhile."""
        self._handle.check_usable()
        for extent in extents:
            self._handle.check_kept(extent.position)
        marks = ", ".join(["(?, ?, ?, ?)"] * len(extents))
        asked = [number for place, extent in enumerate(extents) for number in (place, *extent)]
        rows = await self._connection.fetch(_BODIES.format(marks=marks), asked) if extents else []
        for (found, body), (position, offset, length) in zip(rows, extents, strict=True):
            if found is None:
                raise HistoryLost(path=self.path, reason=f"batch {position} is missing")
            if not isinstance(body, bytes) or len(body) != length:
                reason = f"it has no {length} bytes at {offset} in its bodies"
                raise JournalDamaged(path=self.path, where=f"batch {position}", reason=reason)
        return [body for _, body in rows]

    def hold(self) -> Hold:
        """See `Journal.hold`."""
        return Hold(self._handle)

    async def trim(self, before: int, keep_bytes: int = 0) -> None:
        """See `Journal.trim`. In steps that appends go between; one that was interrupted is finished by the next."""
        before = self._handle.held(before)
        handle = self._handle
        handle.check_leads()
        before = min(before, handle.tail)
        if before > handle.first:
            # First what is kept from here on, then the rows: what stands below it is read by no start.
            rows = await self._connection.fetch(_RANGE, (before, before))
            if not rows:
                raise HistoryLost(path=self.path, reason=f"batch {before} is missing")
            data = rows[0][1]
            ChainReader(self.path, handle.journal_id, before, None).take(before, data)
            await self._in_turn(partial(self._raise_first, before, peek_header(data).previous))
        position = (await self._connection.fetch("SELECT min(position) FROM batches"))[0][0]
        pages, free = await self._pages()
        appended = self._appended_bytes
        while position < handle.first and (pages - free) * JOURNAL_PAGE_BYTES > keep_bytes:
            step = min(TRIM_STEP_BYTES_MAX, max(TRIM_STEP_BYTES, 2 * (self._appended_bytes - appended)))
            appended = self._appended_bytes
            last = await self._connection.range_end(position, handle.first - 1, step)
            await self._in_turn(partial(self._delete, position, last, step))
            position = last + 1
            pages, free = await self._pages()
        while free > max(VACUUM_KEPT_PAGES, pages // VACUUM_KEPT_PART):
            await self._in_turn(self._vacuum)
            pages, free = await self._pages()

    async def _pages(self) -> tuple[int, int]:
        """How many pages the file has, and how many of them are free."""
        pages, free = (await self._connection.fetch(_PAGES))[0]
        return pages, free

    async def aclose(self) -> None:
        """See `Journal.aclose`. A journal that never led, or that failed, leaves the file byte for byte as it was."""
        self._handle.close()
        while self._writes:
            await asyncio.wait(self._writes)
        untouched = self._handle.failed or not self._log_is_own
        await asyncio.shield(asyncio.create_task(self._connection.close(untouched=untouched)))
        if self._mark is not None:
            self._mark.close()

    async def _in_turn(self, write: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a write in a task of the journal's own: to its end, whatever becomes of the caller."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._start(write, done)
        await done

    def _start(
        self, write: Callable[[], Coroutine[Any, Any, None]], done: asyncio.Future[None] | None = None
    ) -> None:  # fmt: skip
        """`done` is told by the write itself: by `shield` a caller would hear of it a turn of the loop later."""

        async def run() -> None:
            async with self._turn:
                self._handle.check_usable()
                await write()
            if done is not None and not done.done():
                done.set_result(None)

        task = asyncio.create_task(run())
        self._writes.add(task)
        task.add_done_callback(partial(self._ended, done))

    def _ended(self, done: asyncio.Future[None] | None, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        if task.cancelled():
            if done is not None:
                done.cancel()
        elif (error := task.exception()) is not None and done is not None and not done.done():
            # A checkpoint's failure is met by the next call.
            done.set_exception(error)

    async def _insert(self, data: bytes, head: Header) -> None:
        # The hot path: one hop, about 70 us of processor; a cursor that has to be closed would be a second one.
        with self._fail_stop(AppendUnknown, "append"):
            # A view, for aiosqlite's debug log prints what it is given, and payloads are nobody's to read there.
            row = (head.position, bodies_at(data), memoryview(data))
            await self._connection.execute(_INSERT, row)
        self._handle.landed(head)
        self._appended_bytes += len(data)
        if self._mark is not None:
            self._mark.write(self._handle.tail)
        self._wrote(len(data) // JOURNAL_PAGE_BYTES + _PAGES_A_ROW)

    async def _raise_first(self, first: int, before: bytes) -> None:
        # Somebody may have begun to hold what was to go while the write waited for its turn.
        if first > self._handle.first and self._handle.held(first) == first:
            # Said before it is so: who holds from now on, holds what is left.
            self._handle.first, self._handle.before = first, before
            with self._fail_stop(JournalFailed, "trim"):
                await self._connection.execute(_TRIMMED, (first, before))
            self._wrote(_PAGES_A_ROW)

    async def _delete(self, first: int, last: int, about_bytes: int) -> None:
        with self._fail_stop(JournalFailed, "trim"):
            await self._connection.execute(_DELETE, (first, last))
        self._wrote(about_bytes // JOURNAL_PAGE_BYTES)

    async def _vacuum(self) -> None:
        with self._fail_stop(JournalFailed, "vacuum"):
            await self._connection.script(f"PRAGMA incremental_vacuum({VACUUM_STEP_PAGES})")
        self._wrote(VACUUM_STEP_PAGES)

    async def _checkpoint(self, mode: str) -> None:
        """Fold the log into the file; with one connection nothing may be left of it."""
        with self._fail_stop(JournalFailed, "checkpoint"):
            busy, logged, folded = (await self._connection.execute(f"PRAGMA wal_checkpoint({mode})"))[0]
            if busy or logged != folded:
                raise sqlite3.OperationalError(f"{folded} of {logged} pages were folded in, busy {busy}")
        self._log_pages = 0

    async def _checkpoint_now(self) -> None:
        self._checkpoint_is_due = False
        await self._checkpoint("PASSIVE")

    def _wrote(self, pages: int) -> None:
        """Count what went into the log; at its bound a checkpoint takes the next turn, before the next append."""
        self._log_pages += pages
        if self._log_pages >= CHECKPOINT_PAGES and not self._checkpoint_is_due:
            self._checkpoint_is_due = True
            self._start(self._checkpoint_now)

    @contextmanager
    def _fail_stop(self, kind: type[JournalError], what: str) -> Iterator[None]:
        """Whatever SQLite says no to is the end of this journal: after a failed sync it would go on acknowledging."""
        try:
            yield
        except asyncio.CancelledError:
            self._handle.fail(kind(path=self.path, reason=f"{what}: the event loop ended in the midst of it"))
            raise
        except (sqlite3.Error, ValueError) as error:
            raise self._handle.fail(kind(path=self.path, reason=f"{what}: {error}")) from error
