"""Finished jobs on their way into the archive, and where a job that does not live is looked up.

Core forgets a job at its terminal event. From that moment it is in the overlay, and in the archive some time later; a
look-up asks core, overlay, archive, in this order, so nothing is ever between two places. One task writes bulks, one
at a time: an archive row is cheap only in company.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from aioqueue.archive.base import Archive, JobFilter, Tombstone
from aioqueue.broker.bodies import Bodies
from aioqueue.core.effects import ArchiveJob, ArchiveRun, DeliverJob, Effect, ReviveJob
from aioqueue.ground import Ground
from aioqueue.limits import OVERLAY_BYTES_MAX, OVERLAY_JOBS_MAX
from aioqueue.model.records import EndedRun, FinishedJob
from aioqueue.model.states import JobState

# How long a bulk gathers. Nobody waits for it: results are answered from the overlay.
GATHER_SECONDS: Final = 0.1
BULK_ROWS: Final = 1_000
BULK_BYTES: Final = 8 * 1024 * 1024
RETAIN_SECONDS: Final = 5.0
RETAIN_AGAIN_SECONDS: Final = 0.05
RETAIN_ROWS: Final = 500
_SUCCEEDED: Final = JobState.SUCCEEDED


class Overlay:
    """What ended and is not in the archive yet."""

    def __init__(self, archive: Archive, ground: Ground, bodies: Bodies | None = None) -> None:
        self._archive = archive
        self._bodies = Bodies() if bodies is None else bodies
        self._ground = ground
        self._finished: dict[bytes, FinishedJob] = {}
        # Runs and requeues of the batch that is not durable yet, then those that may be archived.
        self._staged_runs: list[EndedRun] = []
        self._staged_revived: list[bytes] = []
        self._runs: list[EndedRun] = []
        self._revived: dict[bytes, None] = {}
        # Ends that the batch in flight requeued. Should it be lost, they are still true, and a bulk that passes them by
        # would say that the archive has them.
        self._superseded: dict[bytes, FinishedJob] = {}
        self._position = 0
        self._bytes = 0
        # Ids that somebody is looking up right now: what is in sight of them stays until they were decided.
        self._pins: Counter[bytes] = Counter()
        self._pinned_rows: dict[bytes, FinishedJob] = {}
        self._writing_runs: list[EndedRun] = []
        self._writing_revived: dict[bytes, None] = {}
        self._one_bulk = asyncio.Lock()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    # --- filling ----------------------------------------------------------------------------------------------------

    def take(self, effects: Iterable[Effect]) -> None:
        """What a batch ended; called for every batch, in order, as soon as it is decided."""
        for effect in effects:
            # `type() is` and the commonest first: this is asked three times a job.
            if type(effect) is DeliverJob:
                continue
            if type(effect) is ArchiveJob:
                self._add(effect.finished)
            elif isinstance(effect, ArchiveRun):
                self._staged_runs.append(effect.run)
            elif isinstance(effect, ReviveJob):
                self._supersede(effect.id)
                self._pinned_rows.pop(effect.id, None)
                self._staged_revived.append(effect.id)

    def _supersede(self, job_id: bytes) -> None:
        finished = self._finished.get(job_id)
        if finished is not None:
            self._superseded.setdefault(job_id, finished)
            self._drop(finished)

    def _drop(self, finished: FinishedJob | None) -> None:
        if finished is not None and self._finished.get(finished.id) is finished:
            del self._finished[finished.id]
            self._bytes -= self._size(finished)

    def _size(self, finished: FinishedJob) -> int:
        """What the end weighs; arguments that are not read yet count as if they were. Of success none are kept."""
        if finished.state is _SUCCEEDED:
            return len(finished.body)
        return len(finished.body) + len(finished.args) + self._bodies.unread_bytes(finished)

    def _add(self, finished: FinishedJob) -> None:
        # There is one already where a client says an id anew that it should not: the weight of that goes with it.
        self._drop(self._finished.get(finished.id))
        self._finished[finished.id] = finished
        self._bytes += self._size(finished)
        if self._pins and finished.id in self._pins:
            self._pinned_rows[finished.id] = finished

    def release(self, position: int) -> None:
        """The journal is durable up to `position`: what ended until then may be archived."""
        self._position = position
        self._superseded.clear()
        if self._staged_runs:
            self._bytes += _run_bytes(self._staged_runs)
            self._runs += self._staged_runs
            self._staged_runs = []
        if self._staged_revived:
            self._revived.update(dict.fromkeys(self._staged_revived))
            self._staged_revived = []
        if self._finished or self._runs or self._revived:
            self._wake.set()
            if self._full:
                self._room.clear()

    @property
    def _full(self) -> bool:
        return len(self._finished) + len(self._runs) > OVERLAY_JOBS_MAX or self._bytes > OVERLAY_BYTES_MAX

    async def room(self) -> None:
        """Wait until the archive has caught up; the engine does before each batch, so that this stays bounded."""
        if not self._room.is_set():
            await self._room.wait()

    async def room_for_replay(self) -> None:
        """The same while the journal is replayed, when no task writes bulks yet."""
        if self._full:
            await self.write()

    # --- looking ----------------------------------------------------------------------------------------------------

    def find(self, job_id: bytes) -> FinishedJob | None:
        """The finished job, if it is still here; the archive is not asked."""
        return self._finished.get(job_id) or self._pinned_rows.get(job_id)

    def is_revived(self, job_id: bytes) -> bool:
        """Whether the archive's row of this id is out of date: the job was requeued."""
        return job_id in self._revived or job_id in self._writing_revived or job_id in self._staged_revived

    def pin(self, ids: Iterable[bytes]) -> None:
        """Keep what ends under these ids in sight until `unpin`."""
        for job_id in ids:
            self._pins[job_id] += 1
            found = self._finished.get(job_id)
            if found is not None:
                self._pinned_rows[job_id] = found

    def unpin(self, ids: Iterable[bytes]) -> None:
        for job_id in ids:
            self._pins[job_id] -= 1
            if self._pins[job_id] <= 0:
                del self._pins[job_id]
                self._pinned_rows.pop(job_id, None)

    async def look_up(self, ids: Sequence[bytes]) -> dict[bytes, FinishedJob | Tombstone]:
        """What is known of jobs that do not live: overlay first, then the archive.

        The arguments of what is durable are with it; of what is not they may still have to be read.
        """
        found: dict[bytes, FinishedJob | Tombstone] = {}
        missing: list[bytes] = []
        for job_id in ids:
            here = self.find(job_id)
            if here is not None:
                found[job_id] = here
            else:
                missing.append(job_id)
        if missing:
            archived = await self._archive.get(missing)
            # A job may have ended, or been requeued, while the archive was read.
            for job_id in missing:
                here = self.find(job_id)
                if here is not None:
                    found[job_id] = here
                elif job_id in archived and not self.is_revived(job_id):
                    found[job_id] = archived[job_id]
        ends = [end for end in found.values() if isinstance(end, FinishedJob) and end.position <= self._position]
        await self._bodies.fill(ends)
        return found

    async def runs(self, job_id: bytes) -> list[EndedRun]:
        """All ended runs of a job that are known, oldest first."""
        waiting = [run for run in (*self._writing_runs, *self._runs, *self._staged_runs) if run.id == job_id]
        archived = await self._archive.runs(job_id)
        merged = {(run.generation, run.run): run for run in (*archived, *waiting)}
        return [merged[key] for key in sorted(merged)]

    async def page(self, where: JobFilter, limit: int, after: bytes) -> tuple[list[FinishedJob], bytes]:
        """A page of finished jobs. What ended is written out first, so that one place has all in one order."""
        if not after:
            await self.write()
        rows, following = await self._archive.page(where, limit, after)
        return [row for row in rows if not self.is_revived(row.id)], following

    # --- emptying ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write bulks, until cancelled. Raises `ArchiveFailed`."""
        while True:
            await self._wake.wait()
            if len(self._finished) < BULK_ROWS and self._bytes < BULK_BYTES:
                await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            await self.write()

    async def run_retention(self) -> None:
        """Keep the archive within its retention, a step at a time, until cancelled. Raises `ArchiveFailed`."""
        async for _ in self._ground.every(RETAIN_SECONDS):
            more = await self._retain()
            while more:
                await asyncio.sleep(RETAIN_AGAIN_SECONDS)
                more = await self._retain()

    async def _retain(self) -> bool:
        """One step; whether there is more to do."""
        archive = self._archive
        removed = await archive.retain(self._ground.now().wall_ms, RETAIN_ROWS, archive.keep.bytes_max)
        return await archive.shrink() or removed >= RETAIN_ROWS

    async def write(self) -> None:
        """One bulk: all that is durable in the journal by now."""
        async with self._one_bulk:
            await self._write()

    async def archived(self, position: int) -> None:
        """Wait until the archive has all that ended up to `position`, which is durable; or write it now."""
        async with self._one_bulk:
            if self._archive.synced < position:
                await self._write(even_empty=True)

    async def _write(self, *, even_empty: bool = False) -> None:
        position = self._position
        waiting = (*self._superseded.values(), *self._finished.values())
        finished = [row for row in waiting if row.position <= position]
        # Those of a bulk that was cancelled while it was read for come again.
        runs, self._runs = [*self._writing_runs, *self._runs], []
        revived, self._revived = self._writing_revived | self._revived, {}
        if not (finished or runs or revived or even_empty):
            return
        self._writing_runs, self._writing_revived = runs, revived
        parts = list(self._parts(finished))
        for part in parts:
            await self._bodies.fill(part)
            # Until the last one is there, the archive does not have everything up to the position.
            synced = position if part is parts[-1] else self._archive.synced
            await self._archive.write(part, self._writing_runs, list(self._writing_revived), synced)
            if self._writing_runs or self._writing_revived:
                self._bytes -= _run_bytes(runs)
                self._writing_runs, self._writing_revived = [], {}
            for row in part:
                self._drop(row)
        if not self._full:
            self._room.set()

    def _parts(self, finished: Sequence[FinishedJob]) -> Iterator[list[FinishedJob]]:
        """The ends in bulks of a good size, an empty one for none: their arguments may have to be read first."""
        if self._bytes <= BULK_BYTES and not self._superseded:
            # Nearly always: all that is here is one bulk, and no row needs to be weighed for that.
            yield list(finished)
            return
        part: list[FinishedJob] = []
        room = BULK_BYTES
        for row in finished:
            size = self._size(row)
            if part and room < size:
                yield part
                part, room = [], BULK_BYTES
            room -= size
            part.append(row)
        yield part


def _run_bytes(runs: Iterable[EndedRun]) -> int:
    return sum(len(run.body) for run in runs)
