"""From the journal to a running partition: replay everything, and owe again what the archive does not have."""

from __future__ import annotations

import logging
from typing import NamedTuple

from aioqueue.archive.base import Archive
from aioqueue.broker.bodies import Bodies
from aioqueue.broker.overlay import Overlay
from aioqueue.broker.span import LogSpan
from aioqueue.core.machine import IllegalChange
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events
from aioqueue.errors import HistoryLost, JournalDamaged
from aioqueue.journal.base import Journal
from aioqueue.journal.batch import HEADER_BYTES, BatchKind

log = logging.getLogger(__name__)


class Recovered(NamedTuple):
    """What recovery read: batches and events."""

    batches: int
    events: int


async def recover(
    journal: Journal, archive: Archive, overlay: Overlay, bodies: Bodies, partition: Partition, span: LogSpan,
    tail: int, path: str,
) -> Recovered:  # fmt: skip
    """Replay the journal's log, which ends at `tail`, into an empty partition.

    Effects of batches that the archive has are dropped, those behind its synced position go to the overlay again; runs
    to deliver and ends to tell are not repeated, for no connection outlived the process. Raises `JournalDamaged` or
    `JournalNewer` for what cannot be replayed, and `HistoryLost` where the archive knows of positions that the journal
    does not have, or the other way round.
    """
    if archive.synced > tail:
        raise HistoryLost(path=path, reason=f"the archive has position {archive.synced}, the journal ends at {tail}")
    batches = events = 0
    async for batch in journal.read(0):
        if not span.log_bytes:
            partition.start_at(batch.position)
        span.add(batch.position, HEADER_BYTES + len(batch.events) + len(batch.bodies))
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
    if state.partial:
        reason = f"the log begins at batch {state.base}, and no batch says that it may"
        raise JournalDamaged(path=path, where="its base", reason=reason)
    _check_archive(archive, partition.archived_up_to, path)
    log.info(
        "recovered %s: %d jobs, %d sessions with leases, from %d batches with %d events up to position %d",
        path, len(state.jobs), len(state.sessions), batches, events, tail,
    )  # fmt: skip
    return Recovered(batches, events)


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
