"""From an address to a running broker with its storage: what `aioqueue serve` and embedded queues share."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aioqueue.archive.base import KeepRule
from aioqueue.archive.memory import MemoryArchive
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.broker.broker import MEMORY_PATH, Broker
from aioqueue.broker.compaction import USUAL_BOUNDS, JournalBounds
from aioqueue.broker.disk import DiskWatch
from aioqueue.clock import Clock
from aioqueue.core.admission import USUAL_LIMITS, BacklogLimits
from aioqueue.journal.batch import JOURNAL_ID_BYTES
from aioqueue.journal.files import real_path
from aioqueue.journal.memory import MemoryJournal, MemoryStore
from aioqueue.journal.sqlite import SqliteJournal
from aioqueue.limits import BODY_CACHE_BYTES, EMBEDDED_DISK_RESERVE_BYTES, SESSION_TTL_MS
from aioqueue.transport.address import MemoryAddress, SqliteAddress


class ForgetfulJournal(MemoryJournal):
    """The journal of a `memory:` broker: nobody will ever replay it, so it keeps only its last batch."""

    async def append(self, data: bytes, expected: int) -> int:
        position = await super().append(data, expected)
        await self.trim(position)
        return position


@asynccontextmanager
async def open_broker(
    address: SqliteAddress | MemoryAddress,
    *,
    clock: Clock,
    session_ttl_ms: int = SESSION_TTL_MS,
    limits: BacklogLimits = USUAL_LIMITS,
    disk_reserve: int = EMBEDDED_DISK_RESERVE_BYTES,
    body_cache_bytes: int = BODY_CACHE_BYTES,
    keep: KeepRule | None = None,
    bounds: JournalBounds = USUAL_BOUNDS,
) -> AsyncIterator[Broker]:
    """A broker on the storage that the address names, running until the block is left. With less than `disk_reserve`
    bytes free it takes no new jobs; 0 is not to look. With `memory:` all arguments stay in memory, whatever
    `body_cache_bytes` says. `keep` is how long it keeps what has ended, `bounds` how long the journal may be.

    Raises `JournalInUse`, `JournalNewer`, `NotAJournal`, `JournalDamaged`, `HistoryLost`, `ArchiveFailed` at the
    beginning, and `JournalFailed` or `ArchiveFailed` out of the block when storage fails later.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{clock.now().wall_ms}"
    if isinstance(address, MemoryAddress):

        async def memory_archive(journal_id: bytes) -> MemoryArchive:
            return MemoryArchive(keep)

        opening = Broker.open(
            # An id of its own each time: clients of the one before must not take this for a history that was lost.
            ForgetfulJournal(MemoryStore(os.urandom(JOURNAL_ID_BYTES))), memory_archive,
            clock=clock, path=MEMORY_PATH, owner=owner, session_ttl_ms=session_ttl_ms, limits=limits,
            body_cache_bytes=None, bounds=None,
        )  # fmt: skip
    else:
        path = address.path
        # One archive for whoever opens the journal, whatever links lead there. And SQLite must see a path that begins
        # with a slash: it may take one that begins with "file:" for a URI.
        archive = f"{real_path(path)}-archive"

        async def sqlite_archive(journal_id: bytes) -> SqliteArchive:
            return await SqliteArchive.open(archive, journal_id=journal_id, keep=keep)

        journal = await SqliteJournal.open(path, clock)
        disk = DiskWatch(path, disk_reserve, [archive]) if disk_reserve else None
        opening = Broker.open(
            journal, sqlite_archive, clock=clock, path=path, owner=owner, session_ttl_ms=session_ttl_ms, limits=limits,
            disk=disk,
            body_cache_bytes=body_cache_bytes,
            bounds=bounds,
        )  # fmt: skip
    async with opening as broker:
        yield broker
