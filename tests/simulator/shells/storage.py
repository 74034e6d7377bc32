"""What a broker keeps, on a disk that is slow, full or gone: the journal's and the archive's fakes, and their faults.

A batch is durable some time before its broker hears of it, so a broker that is killed in between leaves one behind
that nobody was told of; one that is killed before leaves none. The `Disk` outlives its brokers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from aioqueue.archive.base import JobFilter, Tombstone
from aioqueue.archive.memory import MemoryArchive
from aioqueue.broker.disk import DiskWatch
from aioqueue.errors import ArchiveFailed, JournalFailed
from aioqueue.journal.base import Extent
from aioqueue.journal.batch import NO_BATCH, Batch, ChainReader
from aioqueue.journal.memory import Faults, MemoryJournal, MemoryStore
from aioqueue.model.records import EndedRun, FinishedJob

NAME = "simulated disk"
FREE_BYTES = 1_000_000
NEEDED_BYTES = 10_000

Observer = Callable[[Batch], None]


class Disk:
    """The bytes that survive, and what befalls those who write them. `observe` is told of each batch once durable."""

    def __init__(self, rng: Random, observe: Observer) -> None:
        self.rng = rng
        self.store = MemoryStore(b"\x07" * 16)
        self.rows = MemoryArchive()
        self.faults = Faults()
        self.full = False
        self.archive_full = False
        # What its broker finds free when it looks, and below what it takes no new jobs.
        self.free_bytes = FREE_BYTES
        # What the present broker wants to have appended, and since when.
        self.appending = b""
        self.asked_ms = 0
        # At the end of the world.
        self.gone = False
        # Seconds that a sync takes at most, as a rule and for the archive's bulks.
        self.sync_seconds = 0.002
        self.bulk_seconds = 0.05
        # The longest that the archive is read for.
        self.look_seconds = 0.005
        self._reader = ChainReader(NAME, self.store.journal_id, 1, NO_BATCH)
        self._observe = observe

    def landed(self) -> None:
        """Whatever is new in the store is durable now."""
        while (data := self.store.batches.get(self._reader.expected)) is not None:
            self._observe(self._reader.take(self._reader.expected, data))

    def repair(self) -> None:
        """There is room again, and the disk is as fast as it ever was."""
        self.full = self.archive_full = False
        self.free_bytes = FREE_BYTES
        self.faults.refuse, self.faults.lose = 0, None
        self.sync_seconds, self.bulk_seconds = 0.002, 0.05


def watch(disk: Disk) -> DiskWatch:
    """How one broker looks at it."""
    return DiskWatch(NAME, NEEDED_BYTES, free=lambda paths: disk.free_bytes)


class SimulatedJournal(MemoryJournal):
    """One broker's handle on the journal."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk.store, disk.faults)
        self._disk = disk
        disk.faults.delay = self._sync
        disk.appending = b""

    async def _sync(self) -> None:
        await asyncio.sleep(self._disk.rng.random() * self._disk.sync_seconds)

    async def append(self, data: bytes, expected: int) -> int:
        disk = self._disk
        if data != disk.appending:
            disk.appending, disk.asked_ms = data, int(asyncio.get_running_loop().time() * 1000)
        position = await super().append(data, expected)
        await asyncio.sleep(disk.rng.random() * disk.sync_seconds)
        disk.appending = b""
        return position

    async def get_many(self, extents: Sequence[Extent]) -> list[bytes]:
        found = await super().get_many(extents)
        await asyncio.sleep(self._disk.rng.random() * self._disk.sync_seconds)
        return found

    async def _write(self, data: bytes) -> None:
        if self._disk.full or self._disk.gone:
            raise self._handle.fail(JournalFailed(path=NAME, reason="no space left on device"))
        try:
            await super()._write(data)
        finally:
            self._disk.landed()


class SimulatedArchive:
    """One broker's handle on the archive."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._closed = False
        # As the real one's, a writer that failed once writes no more.
        self._failed = False

    async def write(
        self, finished: Sequence[FinishedJob], runs: Sequence[EndedRun], requeued: Sequence[bytes], position: int
    ) -> None:
        self._check()
        disk = self._disk
        await asyncio.sleep(disk.rng.random() * disk.bulk_seconds)
        self._check()
        if self._failed or disk.archive_full or disk.gone:
            self._failed = True
            raise ArchiveFailed(path=NAME, reason="no space left on device")
        await disk.rows.write(finished, runs, requeued, position)
        await asyncio.sleep(disk.rng.random() * disk.bulk_seconds)

    async def get(self, ids: Sequence[bytes]) -> dict[bytes, FinishedJob | Tombstone]:
        # What is read is true when it is read, and told later.
        found = await self._disk.rows.get(ids)
        await self._look()
        return found

    async def runs(self, job_id: bytes) -> list[EndedRun]:
        found = await self._disk.rows.runs(job_id)
        await self._look()
        return found

    async def page(self, where: JobFilter, limit: int, after: bytes) -> tuple[list[FinishedJob], bytes]:
        found = await self._disk.rows.page(where, limit, after)
        await self._look()
        return found

    def __getattr__(self, name: str) -> Any:
        # Everything else is as it is.
        return getattr(self._disk.rows, name)

    async def aclose(self) -> None:
        self._closed = True

    async def _look(self) -> None:
        self._check()
        await asyncio.sleep(self._disk.rng.random() * self._disk.look_seconds)

    def _check(self) -> None:
        if self._closed:
            raise ArchiveFailed(path=NAME, reason="it is closed")
