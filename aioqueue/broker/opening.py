"""From an address to a running broker with its storage: what `aioqueue serve` and embedded queues share.

A new kind of storage is a row of `_OPEN`, with a function that makes a `Storage` of an address.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from aioqueue.archive.base import KeepRule
from aioqueue.archive.memory import MemoryArchive
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.broker.broker import Broker
from aioqueue.broker.disk import DiskWatch
from aioqueue.broker.storage import USUAL_BOUNDS, JournalBounds, Storage
from aioqueue.core.admission import USUAL_LIMITS, BacklogLimits
from aioqueue.ground import Ground
from aioqueue.journal.batch import JOURNAL_ID_BYTES
from aioqueue.journal.files import real_path
from aioqueue.journal.lock import SUFFIX as LOCK_SUFFIX
from aioqueue.journal.mark import SUFFIX as MARK_SUFFIX
from aioqueue.journal.memory import MemoryJournal, MemoryStore
from aioqueue.journal.sqlite import SqliteJournal
from aioqueue.limits import BODY_CACHE_BYTES, EMBEDDED_DISK_RESERVE_BYTES, FILE_MODE, SESSION_TTL_MS
from aioqueue.transport.address import MemoryAddress, SqliteAddress

log = logging.getLogger(__name__)


class ForgetfulJournal(MemoryJournal):
    """The journal of a `memory:` broker: nobody will ever replay it, so it keeps only its last batch."""

    async def append(self, data: bytes, expected: int) -> int:
        position = await super().append(data, expected)
        await self.trim(position)
        return position


class Keeping(NamedTuple):
    """How a storage keeps what it has. With less than `disk_reserve` bytes free no new jobs are taken, 0 is not to
    look; `body_cache_bytes` bounds the arguments that are held in memory; `rule` is for what has ended, and `bounds`
    are for the journal, which is made where there is none unless it `must_exist`.
    """

    disk_reserve: int = EMBEDDED_DISK_RESERVE_BYTES
    body_cache_bytes: int = BODY_CACHE_BYTES
    rule: KeepRule | None = None
    bounds: JournalBounds = USUAL_BOUNDS
    must_exist: bool = False


USUAL_KEEPING: Final = Keeping()


async def _open_memory(address: MemoryAddress, ground: Ground, keeping: Keeping) -> Storage:
    async def open_archive(journal_id: bytes) -> MemoryArchive:
        return MemoryArchive(keeping.rule)

    # An id of its own each time: clients of the one before must not take this for a history that was lost.
    journal = ForgetfulJournal(MemoryStore(ground.random(JOURNAL_ID_BYTES)))
    return Storage(str(address), journal, open_archive, body_cache_bytes=None, bounds=None, keeps=False)


async def _open_sqlite(address: SqliteAddress, ground: Ground, keeping: Keeping) -> Storage:
    path = address.path
    # One archive for whoever opens the journal, whatever links lead there. And SQLite must see a path that begins
    # with a slash: it may take one that begins with "file:" for a URI.
    archive = f"{real_path(path)}-archive"

    async def open_archive(journal_id: bytes) -> SqliteArchive:
        return await SqliteArchive.open(archive, journal_id=journal_id, keep=keeping.rule)

    journal = await SqliteJournal.open(path, ground, must_exist=keeping.must_exist)
    tell_of_open_modes([*(real_path(path) + suffix for suffix in ("", MARK_SUFFIX, LOCK_SUFFIX)), archive])
    disk = DiskWatch(path, keeping.disk_reserve, [archive]) if keeping.disk_reserve else None
    created = journal.path if journal.created else ""
    return Storage(path, journal, open_archive, disk, keeping.body_cache_bytes, keeping.bounds, created=created)


def tell_of_open_modes(paths: Iterable[str]) -> None:
    """Say which of these files others than their owner may use, as older versions made them; nothing is changed."""
    found = []
    for path in paths:
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
        except OSError:
            # It is made later, with the right mode.
            continue
        if mode & ~FILE_MODE & 0o777:
            found.append(f"{path} ({mode:04o})")
    if found:
        log.warning(
            "other users of this machine may open files that hold what jobs bring along: %s; new ones are made with "
            "mode %04o, and `chmod %o` gives it to these",
            ", ".join(found), FILE_MODE, FILE_MODE,
        )  # fmt: skip


_OPEN: Final[dict[type[Any], Callable[[Any, Ground, Keeping], Awaitable[Storage]]]] = {
    MemoryAddress: _open_memory,
    SqliteAddress: _open_sqlite,
}


async def open_storage(
    address: SqliteAddress | MemoryAddress, ground: Ground, keeping: Keeping = USUAL_KEEPING
) -> Storage:  # fmt: skip
    """The storage that the address names; its journal is open, and whoever replays it closes it.

    Raises `JournalInUse`, `JournalNewer`, `NotAJournal`, `JournalDamaged`, `HistoryLost`.
    """
    return await _OPEN[type(address)](address, ground, keeping)


@asynccontextmanager
async def open_broker(
    address: SqliteAddress | MemoryAddress,
    *,
    ground: Ground,
    session_ttl_ms: int = SESSION_TTL_MS,
    limits: BacklogLimits = USUAL_LIMITS,
    disk_reserve: int = EMBEDDED_DISK_RESERVE_BYTES,
    body_cache_bytes: int = BODY_CACHE_BYTES,
    keep: KeepRule | None = None,
    bounds: JournalBounds = USUAL_BOUNDS,
    must_exist: bool = False,
) -> AsyncIterator[Broker]:
    """A broker on the storage that the address names, running until the block is left; see `Keeping`. With `memory:`
    all arguments stay in memory, whatever `body_cache_bytes` says.

    Raises `JournalInUse`, `JournalNewer`, `NotAJournal`, `JournalDamaged`, `HistoryLost`, `ArchiveFailed` at the
    beginning, and `JournalFailed` or `ArchiveFailed` out of the block when storage fails later.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{ground.now().wall_ms}"
    storage = await open_storage(address, ground, Keeping(disk_reserve, body_cache_bytes, keep, bounds, must_exist))
    async with Broker.open(storage, ground=ground, owner=owner, session_ttl_ms=session_ttl_ms, limits=limits) as broker:
        yield broker
