"""From the journal to a running partition: replay everything, and owe again what the archive does not have."""

from __future__ import annotations

import logging
from typing import NamedTuple

from aioqueue.archive.base import Archive
from aioqueue.broker.bodies import Bodies
from aioqueue.broker.overlay import Overlay
from aioqueue.core.machine import IllegalChange
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events
from aioqueue.errors import HistoryLost, JournalDamaged
from aioqueue.journal.base import Journal
from aioqueue.journal.batch import BatchKind

log = logging.getLogger(__name__)


class Recovered(NamedTuple):
    """What recovery read: batches and events."""

    batches: int
    events: int


async def recover(
    journal: Journal, archive: Archive, overlay: Overlay, bodies: Bodies, partition: Partition, tail: int, path: str
) -> Recovered:
    """Replay the journal up to position `tail` into an empty partition.

    Effects of batches that the archive has are dropped, those behind its synced position go to the overlay again; runs
    to deliver and ends to tell are not repeated, for no connection outlived the process. Raises `JournalDamaged` or
    `JournalNewer` for what cannot be replayed, and `HistoryLost` where the archive knows of positions that the journal
    does not have.
    """
    if archive.synced > tail:
        raise HistoryLost(path=path, reason=f"the archive has position {archive.synced}, the journal ends at {tail}")
    batches = events = 0
    async for batch in journal.read(0):
        if batch.kind is not BatchKind.EVENTS:
            continue
        decoded = decode_events(batch.events, path)
        try:
            owed = partition.replay(decoded, batch.bodies, batch.position, batch.wall_ms)
        except (IllegalChange, ValueError, KeyError) as error:
            raise JournalDamaged(path=path, where=f"batch {batch.position}", reason=str(error)) from None
        batches += 1
        events += len(decoded)
        is_owed = batch.position > archive.synced
        bodies.take_replayed(owed.arguments, owed.effects, owed=is_owed)
        if is_owed:
            overlay.take(owed.effects)
            overlay.release(batch.position)
            await overlay.room_for_replay()
    overlay.release(tail)
    state = partition.state
    log.info(
        "recovered %s: %d jobs, %d sessions with leases, from %d batches with %d events up to position %d",
        path, len(state.jobs), len(state.sessions), batches, events, tail,
    )  # fmt: skip
    return Recovered(batches, events)
