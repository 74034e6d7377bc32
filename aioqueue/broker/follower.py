"""A partition as its journal tells it: everything is replayed, and what the archive does not have is owed again.

    async with Follower.open(storage, ground=...) as follower:      # replayed, and nothing written
        leadership = await follower.lead(owner)                    # this process may append

Until it leads, a follower changes nothing: a journal that cannot be replayed is left as it is, for salvage. A `Broker`
is a follower that leads, with an engine and connections.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.to_thread

from aioqueue.archive.base import Archive
from aioqueue.broker.bodies import Bodies
from aioqueue.broker.overlay import Overlay
from aioqueue.broker.recovery import Progress, Recovered
from aioqueue.broker.span import LogSpan
from aioqueue.broker.storage import USUAL_BOUNDS, Storage
from aioqueue.broker.witness import Witness
from aioqueue.core import levels
from aioqueue.core.admission import USUAL_LIMITS, BacklogLimits
from aioqueue.core.machine import IllegalChange
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events
from aioqueue.errors import HistoryLost, JournalDamaged, JournalNewer
from aioqueue.ground import Ground
from aioqueue.journal.base import Leadership
from aioqueue.journal.batch import HEADER_BYTES, Batch, BatchKind
from aioqueue.journal.epoch import is_renewal, stated_level
from aioqueue.limits import SESSION_TTL_MS
from aioqueue.model.growth import LEVEL_FIRST

log = logging.getLogger(__name__)


class Follower:
    """The state of a partition, with what stands around it: arguments, ends on their way to the archive, the log's
    length. Made by `open`.

    Effects of batches that the archive has are dropped, those behind its synced position go to the overlay again; runs
    to deliver and ends to tell are not repeated, for no connection outlived the process.

    `level` is the format level of what was read: the highest that is stated, or needed where the record that stated it
    was cut off.
    """

    def __init__(
        self, storage: Storage, archive: Archive, ground: Ground, session_ttl_ms: int, limits: BacklogLimits
    ) -> None:  # fmt: skip
        self.storage = storage
        self.archive = archive
        self.ground = ground
        self.partition = Partition(session_ttl_ms, limits)
        self.bodies = Bodies(storage.journal, storage.body_cache_bytes, storage.name)
        self.overlay = Overlay(archive, ground, self.bodies)
        self.span = LogSpan((storage.bounds or USUAL_BOUNDS).log_bytes)
        self.recovered = Recovered(0, 0, 0, 0)
        self.witness = Witness(storage.name)
        self._progress = Progress(storage.name, storage.journal.tail, self.partition, ground)
        self._first = self._last = 0
        self.level = LEVEL_FIRST

    @classmethod
    @asynccontextmanager
    async def open(
        cls, storage: Storage, *, ground: Ground, session_ttl_ms: int = SESSION_TTL_MS,
        limits: BacklogLimits = USUAL_LIMITS,
    ) -> AsyncIterator[Follower]:  # fmt: skip
        """Replay what there is, and write nothing to the journal; both files are closed when the block is left.

        Raises `JournalDamaged` or `JournalNewer` for what cannot be replayed, and `HistoryLost` where the archive knows
        of positions that the journal does not have, or the other way round.
        """
        room = storage.room
        try:
            if room is not None:
                # Before anything is written, which a reserve that was left behind may have to make room for.
                await anyio.to_thread.run_sync(room.look)
            archive = await storage.open_archive(storage.journal.journal_id)
            try:
                follower = cls(storage, archive, ground, session_ttl_ms, limits)
                await follower._replay()
                yield follower
            finally:
                with anyio.CancelScope(shield=True):
                    await archive.aclose()
                    if room is not None:
                        room.close()
        finally:
            with anyio.CancelScope(shield=True):
                await storage.journal.aclose()

    async def _replay(self) -> None:
        archive, tail, name = self.archive, self.storage.journal.tail, self.storage.name
        if archive.synced > tail:
            raise HistoryLost(
                path=name, reason=f"the archive has position {archive.synced}, the journal ends at {tail}"
            )
        try:
            await self.read_on()
        except (JournalDamaged, JournalNewer):
            # What is newer is told as such; what else is wrong with the rest is not what was met first.
            with suppress(JournalDamaged, HistoryLost):
                await self._refuse_newer()
            raise
        state = self.partition.state
        if state.partial:
            reason = f"the log begins at batch {state.base}, and no batch says that it may"
            raise JournalDamaged(path=name, where="its base", reason=reason)
        _check_archive(archive, self.partition.archived_up_to, name)

    async def read_on(self) -> None:
        """Replay what the journal has behind what was replayed."""
        overlay, partition = self.overlay, self.partition
        async for batch in self.storage.journal.read(self._last):
            self._first = self._first or batch.position
            self._last = batch.position
            begins = batch.kind is BatchKind.EPOCH and not is_renewal(batch.events)
            self.witness.saw(batch.epoch, batch.position, begins=begins)
            if not self.span.log_bytes:
                partition.start_at(batch.position)
            self.span.add(batch.position, HEADER_BYTES + len(batch.events) + len(batch.bodies))
            if batch.kind is not BatchKind.EVENTS:
                self._take_level(batch)
                continue
            decoded = decode_events(batch.events, self.storage.name)
            if levels.KNOWN.above:
                self.level = max(self.level, levels.KNOWN.needed_by(decoded))
            try:
                owed = partition.replay(decoded, batch.bodies, batch.position, batch.wall_ms)
            except (IllegalChange, ValueError, KeyError) as error:
                where = f"batch {batch.position}"
                raise JournalDamaged(path=self.storage.name, where=where, reason=str(error)) from None
            self._progress.add(batch.position, len(decoded))
            is_owed = batch.position > self.archive.synced
            self.bodies.take_replayed(owed.arguments, owed.effects, owed=is_owed)
            if is_owed:
                overlay.take(owed.effects)
                overlay.release(batch.position)
                await overlay.room_for_replay()

    def _take_level(self, batch: Batch) -> None:
        stated = stated_level(batch.events, self.storage.name, batch.position)
        self.level = max(self.level, levels.refuse_newer(stated, self.storage.name))
        if stated > LEVEL_FIRST:
            self.witness.may_renew()

    async def _refuse_newer(self) -> None:
        """What did not read may be newer, and in a log that was cut the record that says so stands further on."""
        async for batch in self.storage.journal.read(self._last):
            if batch.kind is BatchKind.EPOCH:
                self._take_level(batch)

    async def lead(self, owner: str) -> Leadership:
        """Take the journal's next epoch, and replay what others appended until then; `owner` is for people to read."""
        leadership = await self.storage.journal.lead(owner, self.ground.now().wall_ms, self.level)
        await self.read_on()
        self.overlay.release(leadership.position)
        self.recovered = self._progress.end(self._first, leadership.position)
        return leadership


def _check_archive(archive: Archive, needed: int, name: str) -> None:
    """What ended before the log begins is in the archive and nowhere else."""
    if archive.synced >= needed:
        return
    if archive.synced:
        reason = (
            f"the archive ends at position {archive.synced}, and the log knows what ended only from {needed} on; put "
            "the newer archive back, or remove this one to go on without what ended until then"
        )
        raise HistoryLost(path=name, reason=reason)
    log.warning("%s: the archive is new: what ended up to batch %d is not known any more", name, needed)
