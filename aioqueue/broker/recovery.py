"""From the journal to a running partition: replay everything, and owe again what the archive does not have."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from aioqueue.archive.base import Archive
from aioqueue.broker.bodies import Bodies
from aioqueue.broker.overlay import Overlay
from aioqueue.broker.span import LogSpan
from aioqueue.clock import Clock
from aioqueue.core.machine import IllegalChange
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events
from aioqueue.errors import HistoryLost, JournalDamaged
from aioqueue.journal.base import Journal
from aioqueue.journal.batch import HEADER_BYTES, BatchKind
from aioqueue.model.sizes import count_text

log = logging.getLogger(__name__)


# How often a long recovery says how far it is.
TELL_MS: Final = 1_000


class Recovered(NamedTuple):
    """What recovery read, up to which position, and how long it took."""

    batches: int
    events: int
    position: int
    took_ms: int


class _Progress:
    """A line of the log for each second."""

    def __init__(self, path: str, tail: int, partition: Partition, clock: Clock) -> None:
        self.batches = 0
        self.events = 0
        self._path = path
        self._tail = tail
        self._partition = partition
        self._clock = clock
        self._began_ms = self._told_ms = clock.now().mono_ms

    @property
    def took_ms(self) -> int:
        return self._clock.now().mono_ms - self._began_ms

    def add(self, position: int, events: int) -> None:
        """A batch was replayed."""
        self.batches += 1
        self.events += events
        now_ms = self._clock.now().mono_ms
        if now_ms - self._told_ms >= TELL_MS:
            self._told_ms = now_ms
            log.info(
                "recovering %s: position %d of %d (%d %%), %s, %s alive so far, %.1f s",
                self._path, position, self._tail, 100 * position // self._tail,
                count_text(self.events, "event"), count_text(len(self._partition.state.jobs), "job"),
                self.took_ms / 1000,
            )  # fmt: skip

    def end(self, first: int, tail: int) -> Recovered:
        """All of it was replayed, from the batch at `first` up to `tail`."""
        state, took_ms = self._partition.state, self.took_ms
        log.info(
            "recovered %s in %.1f s: %s, sessions with leases: %d; positions %d to %d, with %d events",
            self._path, took_ms / 1000, count_text(len(state.jobs), "job"), len(state.sessions), first, tail,
            self.events,
        )  # fmt: skip
        return Recovered(self.batches, self.events, tail, took_ms)


class Recovery:
    """Replays the journal's log into an empty partition: all of it, and, once it is led, what came behind that.

    Effects of batches that the archive has are dropped, those behind its synced position go to the overlay again; runs
    to deliver and ends to tell are not repeated, for no connection outlived the process.
    """

    def __init__(
        self, journal: Journal, archive: Archive, overlay: Overlay, bodies: Bodies, partition: Partition, span: LogSpan,
        path: str, clock: Clock,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._archive = archive
        self._overlay = overlay
        self._bodies = bodies
        self._partition = partition
        self._span = span
        self._path = path
        self._progress = _Progress(path, journal.tail, partition, clock)
        self._first = self._last = 0

    async def replay(self) -> None:
        """Read what there is, and write nothing to the journal.

        Raises `JournalDamaged` or `JournalNewer` for what cannot be replayed, and `HistoryLost` where the archive knows
        of positions that the journal does not have, or the other way round.
        """
        archive, tail = self._archive, self._journal.tail
        if archive.synced > tail:
            reason = f"the archive has position {archive.synced}, the journal ends at {tail}"
            raise HistoryLost(path=self._path, reason=reason)
        await self._read_on()
        state = self._partition.state
        if state.partial:
            reason = f"the log begins at batch {state.base}, and no batch says that it may"
            raise JournalDamaged(path=self._path, where="its base", reason=reason)
        _check_archive(archive, self._partition.archived_up_to, self._path)

    async def finish(self, tail: int) -> Recovered:
        """The journal is led, and its epoch's own record is at `tail`."""
        await self._read_on()
        self._overlay.release(tail)
        return self._progress.end(self._first, tail)

    async def _read_on(self) -> None:
        overlay, partition = self._overlay, self._partition
        async for batch in self._journal.read(self._last):
            self._first = self._first or batch.position
            self._last = batch.position
            if not self._span.log_bytes:
                partition.start_at(batch.position)
            self._span.add(batch.position, HEADER_BYTES + len(batch.events) + len(batch.bodies))
            if batch.kind is not BatchKind.EVENTS:
                continue
            decoded = decode_events(batch.events, self._path)
            try:
                owed = partition.replay(decoded, batch.bodies, batch.position, batch.wall_ms)
            except (IllegalChange, ValueError, KeyError) as error:
                raise JournalDamaged(path=self._path, where=f"batch {batch.position}", reason=str(error)) from None
            self._progress.add(batch.position, len(decoded))
            is_owed = batch.position > self._archive.synced
            self._bodies.take_replayed(owed.arguments, owed.effects, owed=is_owed)
            if is_owed:
                overlay.take(owed.effects)
                overlay.release(batch.position)
                await overlay.room_for_replay()


def _check_archive(archive: Archive, needed: int, path: str) -> None:
    """What ended before the log begins is in the archive and nowhere else."""
    if archive.synced >= needed:
        return
    if archive.synced:
        reason = (
            f"the archive ends at position {archive.synced}, and the log knows what ended only from {needed} on; put "
            "the newer archive back, or remove this one to go on without what ended until then"
        )
        raise HistoryLost(path=path, reason=reason)
    log.warning("%s: the archive is new: what ended up to batch %d is not known any more", path, needed)
