"""A copy of everything, while it is in use: first the archive, then the journal, a small part at a time.

The archive's rows are copied as they are found, with the position up to which it had everything when that began; then
the journal's batches, which never change, up to where its end is when the archive was read. What the copy of the
archive lacks, or has of an older state, the journal says again: its batches are held from a trim meanwhile. So the
engine is never asked to wait, and nothing is ever read that is not durable.

Whoever reads asks for one part after the other. That bounds the memory here, and a slow reader slows nobody but itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from aioqueue.archive.base import Archive
from aioqueue.errors import BackupFailed
from aioqueue.journal.base import Journal
from aioqueue.limits import BACKUP_IDLE_SECONDS, BACKUPS_MAX, COPY_BYTES, READ_RANGE_BYTES
from aioqueue.protocol.backup import FORMAT, BackupBatch, BackupEnd, BackupHead, BackupRow, Record, pack_record


class Backup:
    """One copy on its way out. `durable` gives the position up to which the journal is durable now."""

    def __init__(self, journal: Journal, archive: Archive, journal_id: bytes, durable: Callable[[], int]) -> None:
        self._journal = journal
        self._archive = archive
        self._hold = journal.hold()
        self._after: bytes | None = b""
        self._position = self._hold.first - 1
        self._durable = durable
        self._end = 0
        self._rows = self._batches = 0
        self._part = 0
        self._busy = False
        self._idle_looks = 0
        self._ended = False
        self._waiting = bytearray()
        self._add(BackupHead(FORMAT, journal_id, archive.synced))

    async def part(self, number: int) -> tuple[bytes, bool]:
        """The next part, and whether it is the last.

        Raises `BackupFailed` for a part that is not the next one.
        """
        if number != self._part or self._busy:
            raise BackupFailed(reason=f"part {number} was asked for where part {self._part} is due")
        self._busy = True
        try:
            while len(self._waiting) < COPY_BYTES and not self._ended:
                await self._fill()
        finally:
            self._busy = False
            self._idle_looks = 0
        self._part += 1
        data = bytes(self._waiting[:COPY_BYTES])
        del self._waiting[:COPY_BYTES]
        return data, self._ended and not self._waiting

    def is_abandoned(self, look_seconds: float) -> bool:
        """To be asked every `look_seconds`: whether its reader has asked for nothing for too long.

        Looks are counted, not time: after a stop of this process its question is read first.
        """
        self._idle_looks += not self._busy
        return self._idle_looks * look_seconds > BACKUP_IDLE_SECONDS

    def close(self) -> None:
        """Nobody reads on; the journal may be trimmed again."""
        self._hold.release()

    async def _fill(self) -> None:
        if self._after is not None:
            rows, after = await self._archive.copy(self._after)
            for row in rows:
                self._add(BackupRow(row.table, row.data))
            self._rows += len(rows)
            # The rows that were found are those of batches up to here; asked now, for reading them took its time.
            self._after, self._end = after or None, self._durable()
        elif self._position < self._end:
            await self._read()
        else:
            self._add(BackupEnd(self._rows, self._batches))
            self._ended = True

    async def _read(self) -> None:
        """Most of what the journal reads in one go; a little at a time, for it is verified on the event loop."""
        size = step = 0
        async with aclosing(self._journal.read(self._position, self._end)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                self._add(
                    BackupBatch(
                        batch.position, batch.epoch, batch.kind, batch.wall_ms, batch.events, batch.bodies
                    )
                )  # fmt: skip
                self._batches += 1
                self._position = batch.position
                step += len(batch.events) + len(batch.bodies)
                if step >= COPY_BYTES:
                    size, step = size + step, 0
                    await asyncio.sleep(0)
                if size >= READ_RANGE_BYTES - 4 * COPY_BYTES:
                    break

    def _add(self, record: Record) -> None:
        self._waiting += pack_record(record)


class Backups:
    """Those that are being made of one broker, each for one reader. None for a broker that `keeps` nothing."""

    def __init__(
        self, journal: Journal, archive: Archive, journal_id: bytes, durable: Callable[[], int], keeps: bool
    ) -> None:  # fmt: skip
        self._journal = journal
        self._archive = archive
        self._journal_id = journal_id
        self._durable = durable
        self._keeps = keeps
        self.under_way: set[Backup] = set()

    def begin(self) -> Backup:
        """A copy of all that is here. Raises `BackupFailed`."""
        if not self._keeps:
            raise BackupFailed(reason="this broker keeps its jobs in memory only")
        if len(self.under_way) >= BACKUPS_MAX:
            raise BackupFailed(reason=f"{BACKUPS_MAX} others are being made; wait for one of them")
        backup = Backup(self._journal, self._archive, self._journal_id, self._durable)
        self.under_way.add(backup)
        return backup

    def end(self, backup: Backup) -> None:
        """Its reader has all of it, or is gone."""
        backup.close()
        self.under_way.discard(backup)
