"""The verification of a journal file: every batch, the chain, SQLite's own structure, and the witnesses of more.

The witnesses are the log's own bytes and the mark. Nothing is changed.

The owner's lock is taken meanwhile, so a journal in use is refused. `aioqueue check` prints the report.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from aioqueue.clock import Clock, SystemClock
from aioqueue.errors import AioqueueError, HistoryLost, JournalDamaged, JournalError, JournalNewer
from aioqueue.journal.batch import Batch, ChainReader, bodies_at
from aioqueue.journal.connection import Connection, Row
from aioqueue.journal.files import USER_VERSION, real_path
from aioqueue.journal.mark import missing_by_mark, read_mark
from aioqueue.journal.wal import WalScan
from aioqueue.limits import CHECK_PROBLEMS_MAX, READ_RANGE_BYTES

_RANGE = "SELECT position, data, bodies_at FROM batches WHERE position BETWEEN ? AND ? ORDER BY position"

Visit = Callable[[Batch], object]


class CheckReport(msgspec.Struct, frozen=True):
    """What a journal holds and what is wrong with it.

    `journal_id` is hexadecimal. Counts and bytes are those of the batches that could be verified; `first_position`
    and `last_position` are 0 for a journal without batches. `notes` are no damage: what a start would cut off, or write
    anew. `history` is how many batches below the first one are still there.
    """

    path: str
    journal_id: str
    format: int
    epoch: int
    batches: int
    events_bytes: int
    bodies_bytes: int
    first_position: int
    last_position: int
    problems: list[str]
    notes: list[str]
    ok: bool
    history: int = 0


async def check_journal(
    path: str | os.PathLike[str], visit: Visit | None = None, clock: Clock | None = None
) -> CheckReport:
    """Verify the journal at `path`; damage is listed in the report, at most `CHECK_PROBLEMS_MAX` of it.

    `visit` is called with each verified batch, in order; a `ValueError` or `AioqueueError` that it raises becomes a
    problem of that batch. Raises `NotAJournal` (also for a missing file or a directory), `JournalInUse`, `JournalNewer`
    (also from `visit`), and `JournalError` for what the system refuses.
    """
    wall_ms = (clock if clock is not None else SystemClock()).now().wall_ms
    check = _Check(real_path(path), visit)
    try:
        connection = await Connection.open(path, wall_ms, create=False)
    except (JournalDamaged, HistoryLost) as error:
        check.note(str(error))
        return check.report()
    try:
        await check.run(connection)
    except (JournalDamaged, HistoryLost) as error:
        check.note(str(error))
    finally:
        await connection.close(untouched=True)
    return check.report()


class _Check:
    """One verification and what it has found so far."""

    def __init__(self, path: str, visit: Visit | None) -> None:
        self._path = path
        self._visit = visit
        self._problems: list[str] = []
        self._notes: list[str] = []
        self._journal_id = b""
        self._first = 0
        self._last = 0
        self._epoch = 0
        self._batches = 0
        self._events_bytes = 0
        self._bodies_bytes = 0
        self._history_batches = 0

    @property
    def _full(self) -> bool:
        return len(self._problems) >= CHECK_PROBLEMS_MAX

    def note(self, problem: str) -> None:
        if not self._full:
            self._problems.append(problem)

    def report(self) -> CheckReport:
        return CheckReport(
            path=self._path,
            journal_id=self._journal_id.hex(),
            format=USER_VERSION,
            epoch=self._epoch,
            batches=self._batches,
            events_bytes=self._events_bytes,
            bodies_bytes=self._bodies_bytes,
            first_position=self._first,
            last_position=self._last,
            problems=self._problems,
            notes=self._notes,
            ok=not self._problems,
            history=self._history_batches,
        )

    async def run(self, connection: Connection) -> None:
        scan = connection.scan
        if scan.lost is not None:
            self.note(f"log: {scan.lost}")
        elif scan.torn:
            torn = f"log: {scan.torn} frame{'' if scan.torn == 1 else 's'} behind the last commit"
            self._notes.append(f"{torn}; if they are an append, nobody was told of it, and a start cuts it off")
        await self._structure(connection)
        await self._history(connection)
        self._witnesses(scan)

    def _witnesses(self, scan: WalScan) -> None:
        """What log and mark know of the journal's end."""
        missing = scan.missing(self._journal_id, self._last)
        if missing is not None and scan.lost is None:
            self.note(f"log: {missing}")
        mark = read_mark(self._path)
        if isinstance(mark, str):
            self._notes.append(f"mark: {mark}; a start writes it anew")
        elif mark is not None and (reason := missing_by_mark(self._path, mark, self._journal_id, self._last)):
            self.note(f"mark: {reason}")

    async def _history(self, connection: Connection) -> None:
        self._journal_id, first, before = await connection.origin()
        last = (await connection.fetch("SELECT max(position) FROM batches"))[0][0] or 0
        if last < first:
            if first > 1:
                self.note(f"all batches from {first} on are missing")
            return
        await self._below(connection, first, before)
        self._first, self._last = first, last
        reader = ChainReader(self._path, self._journal_id, first, before)
        position = first
        while position <= last and not self._full:
            end = await self._range(connection, reader, position, last)
            position = end + 1

    async def _below(self, connection: Connection, first: int, before: bytes) -> None:
        """What a trim left below the first batch, as long as it is whole; a start reads none of it."""
        position = (await connection.fetch("SELECT min(position) FROM batches"))[0][0] or first
        reader = ChainReader(self._path, self._journal_id, position, None)
        batch_id = before
        try:
            while position < first:
                end = await connection.range_end(position, first - 1, READ_RANGE_BYTES)
                for row in await connection.fetch(_RANGE, (position, end)):
                    batch_id = reader.take(row[0], row[1]).batch_id
                    self._history_batches += 1
                position = end + 1
            if reader.expected != first or batch_id != before:
                self._notes.append(f"history: it does not reach up to batch {first}; no start reads it")
        except JournalError as error:
            self._notes.append(f"history: {error}; no start reads it")

    async def _structure(self, connection: Connection) -> None:
        """SQLite's pages and trees; the batches have hashes of their own."""
        for (line,) in await connection.fetch(f"PRAGMA quick_check({CHECK_PROBLEMS_MAX // 2})"):
            if line != "ok":
                self.note(f"SQLite: {line}")

    async def _range(self, connection: Connection, reader: ChainReader, first: int, last: int) -> int:
        """Verify what is read in one go; where that fails, batch by batch, so that one bad page hides one batch."""
        try:
            end = await connection.range_end(first, last, READ_RANGE_BYTES)
            rows = await connection.fetch(_RANGE, (first, end))
        except JournalError:
            end = first
            try:
                rows = await connection.fetch(_RANGE, (first, first))
            except JournalError as error:
                self.note(f"batch {first} cannot be read: {error.reason}")
                reader.resume(first + 1)
                return end
        for row in rows:
            self._batch(reader, row)
        return end

    def _batch(self, reader: ChainReader, row: Row) -> None:
        position, data, bodies_column = row
        try:
            if position != reader.expected:
                self.note(reader.gap(position).reason)
                reader.resume(position)
            batch = reader.take(position, data)
        except (JournalDamaged, HistoryLost) as error:
            where = f"{error.where}: " if isinstance(error, JournalDamaged) else ""
            self.note(f"{where}{error.reason}")
            reader.resume(position + 1)
            return
        if bodies_column != bodies_at(data):
            self.note(f"batch {position}: its row says that the bodies begin at {bodies_column}")
        self._batches += 1
        self._epoch = batch.epoch
        self._events_bytes += len(batch.events)
        self._bodies_bytes += len(batch.bodies)
        if self._visit is None:
            return
        try:
            self._visit(batch)
        except JournalNewer:
            raise
        except (ValueError, AioqueueError) as error:
            self.note(f"batch {position}: {error}")
