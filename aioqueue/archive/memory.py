"""The archive of `memory:` queues and of tests: the same promises as the file's, for as long as the process lives."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any, Final

from aioqueue.archive.base import JobFilter, KeepRule, Row, Table, Tombstone
from aioqueue.archive.copying import pack_tombstone
from aioqueue.archive.rows import (
    act_columns,
    job_columns,
    kept_generation,
    log_columns,
    run_columns,
    tombstone_columns,
)
from aioqueue.archive.shelves import (
    OTHER_SHELVES,
    SUCCEEDED_SHELVES,
    EndPlace,
    Place,
    bounds_of,
    expires_ms,
    matches,
    pack_act_cursor,
    pack_cursor,
    print_of,
    ruled_shelves,
    shelf_of,
    shelves_of,
    unpack_act_cursor,
    unpack_cursor,
)
from aioqueue.errors import ArchiveFailed
from aioqueue.limits import ACTS_MAX, KEEP_ACTS_MS, LOOK_ROWS_MAX, TOMBSTONE_MS
from aioqueue.model.records import Act, EndedRun, FinishedJob, LogPart

# What one row costs beside its bodies: the record, its numbers and its places in the lists.
ROW_BYTES: Final = 600

_Entry = tuple[EndPlace, bytes]


class MemoryArchive:
    """Finished jobs in dictionaries, with one sorted list a shelf (ends arrive almost in order, so at its tail)."""

    def __init__(self, keep: KeepRule | None = None) -> None:
        self.keep = keep or KeepRule()
        self._synced = 0
        self._bytes = 0
        self._number = 0
        self._closed = False
        self._jobs: dict[bytes, tuple[FinishedJob, EndPlace]] = {}
        self._runs: dict[bytes, dict[tuple[int, int], EndedRun]] = {}
        self._shelves: dict[int, list[_Entry]] = {shelf: [] for shelf in (*SUCCEEDED_SHELVES, *OTHER_SHELVES)}
        self._expiring: list[tuple[int, bytes]] = []
        self._ids: list[bytes] = []
        self._tombstones: dict[bytes, Tombstone] = {}
        # Acts by their place and time, and numbered as they come.
        self._acts: dict[tuple[int, int, int], tuple[int, Act]] = {}
        self._logs: dict[bytes, dict[tuple[int, int], LogPart]] = {}

    @property
    def synced(self) -> int:
        return self._synced

    async def write(
        self,
        finished: Sequence[FinishedJob],
        runs: Sequence[EndedRun],
        requeued: Sequence[bytes],
        position: int,
        acts: Sequence[Act] = (),
        logs: Sequence[LogPart] = (),
    ) -> None:
        self._check_open()
        for job_id in requeued:
            self._remove(job_id)
            self._tombstones.pop(job_id, None)
        for job in finished:
            known = self._jobs.get(job.id)
            if known is None or known[0].generation < job.generation:
                self._remove(job.id)
                self._add(job)
        for run in runs:
            of_job = self._runs.setdefault(run.id, {})
            if (run.generation, run.run) not in of_job:
                of_job[run.generation, run.run] = run
                self._bytes += _run_bytes(run)
        for act in acts:
            last = next(reversed(self._acts.values()))[0] if self._acts else 0
            self._acts.setdefault((act.position, act.place, act.at_ms), (last + 1, act))
        for part in logs:
            self._logs.setdefault(part.id, {}).setdefault((part.generation, part.number), part)
        self._synced = max(self._synced, position)

    async def get(self, ids: Sequence[bytes]) -> dict[bytes, FinishedJob | Tombstone]:
        self._check_open()
        found: dict[bytes, FinishedJob | Tombstone] = {}
        for job_id in ids:
            if job_id in self._jobs:
                found[job_id] = self._jobs[job_id][0]
            elif job_id in self._tombstones:
                found[job_id] = self._tombstones[job_id]
        return found

    async def runs(self, job_id: bytes) -> list[EndedRun]:
        self._check_open()
        return [run for _, run in sorted(self._runs.get(job_id, {}).items())]

    async def logs(self, job_id: bytes) -> list[LogPart]:
        self._check_open()
        return [part for _, part in sorted(self._logs.get(job_id, {}).items())]

    async def acts(self, limit: int, after: bytes) -> tuple[list[Act], bytes]:
        self._check_open()
        below = unpack_act_cursor(after)
        older = (entry for entry in reversed(self._acts.values()) if entry[0] < below)
        found = list(islice(older, max(1, limit)))
        return [act for _, act in found], pack_act_cursor(found[-1][0] if len(found) == max(1, limit) else 0)

    async def page(self, where: JobFilter, limit: int, after: bytes) -> tuple[list[FinishedJob], bytes]:
        self._check_open()
        before = unpack_cursor(where, after)
        jobs: list[FinishedJob] = []
        end = before
        for looked, (place, job_id) in enumerate(self._newest(where, before)):
            if looked == LOOK_ROWS_MAX + limit:
                return jobs, pack_cursor(end)
            job = self._jobs[job_id][0]
            if matches(where, job):
                if len(jobs) >= max(1, limit):
                    return jobs, pack_cursor(end)
                jobs.append(job)
            end = place
        return jobs, b""

    async def retain(self, now_ms: int, rows_max: int, bytes_max: int) -> int:
        self._check_open()
        removed = self._forget(list(self._too_old(now_ms, rows_max)), now_ms, rows_max)
        for job_id, stone in list(islice(self._tombstones.items(), max(0, rows_max - removed))):
            if stone.since_ms + TOMBSTONE_MS > now_ms:
                break
            del self._tombstones[job_id]
            removed += 1
        for key, (number, act) in list(islice(self._acts.items(), max(0, rows_max - removed))):
            newest = next(reversed(self._acts.values()))[0]
            if act.at_ms + KEEP_ACTS_MS > now_ms and number > newest - ACTS_MAX:
                break
            del self._acts[key]
            removed += 1
        while removed < rows_max and self._bytes > bytes_max:
            step = self._forget(self._oldest(1), now_ms, rows_max - removed)
            if not step:
                break
            removed += step
        return removed

    async def copy(self, after: bytes) -> tuple[list[Row], bytes]:
        """As promised, and all at once: it is only the archive of tests and of brokers that keep nothing."""
        self._check_open()
        jobs = [Row(Table.JOB, job_columns(job)[-1]) for job, _ in self._jobs.values()]
        ended = [Row(Table.RUN, run_columns(run)[-1]) for runs in self._runs.values() for run in runs.values()]
        stones = [
            Row(
                Table.TOMBSTONE,
                pack_tombstone(tombstone_columns(stone.id, stone.state, stone.since_ms, stone.generation)),
            )
            for stone in self._tombstones.values()
        ]
        acts = [Row(Table.ACT, act_columns(act)[-1]) for _, act in self._acts.values()]
        logs = [Row(Table.LOG, log_columns(part)[-1]) for parts in self._logs.values() for part in parts.values()]
        return [*jobs, *ended, *stones, *acts, *logs], b""

    async def shrink(self) -> bool:
        self._check_open()
        return False

    async def aclose(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ArchiveFailed(path="memory:", reason="it is closed")

    def _add(self, job: FinishedJob) -> None:
        self._number += 1
        place = (job.finished_ms, print_of(job.namespace, job.queue, job.task), self._number)
        self._jobs[job.id] = job, place
        insort(self._shelves[shelf_of(job)], (place, job.id))
        insort(self._ids, job.id)
        if (expires := expires_ms(job)) is not None:
            insort(self._expiring, (expires, job.id))
        self._bytes += _job_bytes(job)

    def _remove(self, job_id: bytes) -> FinishedJob | None:
        if (known := self._jobs.pop(job_id, None)) is None:
            return None
        job, place = known
        shelf = self._shelves[shelf_of(job)]
        del shelf[bisect_left(shelf, (place, job_id))]
        del self._ids[bisect_left(self._ids, job_id)]
        if (expires := expires_ms(job)) is not None:
            del self._expiring[bisect_left(self._expiring, (expires, job_id))]
        self._bytes -= _job_bytes(job)
        return job

    def _newest(self, where: JobFilter, before: Any) -> Iterator[tuple[Place, bytes]]:
        """What lies below a place in the order that the filter's list has, the newest or highest first."""
        if where.ids is not None:
            ids = self._ids
            low, high = bisect_left(ids, where.ids[0]), bisect_left(ids, before)
            return ((ids[index], ids[index]) for index in range(high - 1, low - 1, -1))
        oldest, newest = bounds_of(where)
        shelves = (self._between(shelf, oldest, min(before, newest)) for shelf in shelves_of(where))
        return merge(*shelves, reverse=True)

    def _between(self, shelf: int, oldest: EndPlace, before: EndPlace) -> Iterator[_Entry]:
        """A shelf's jobs between two places, the newest first."""
        entries = self._shelves[shelf]
        begin, end = bisect_left(entries, (oldest, b"")), bisect_left(entries, (before, b""))
        return (entries[index] for index in range(end - 1, begin - 1, -1))

    def _too_old(self, now_ms: int, rows_max: int) -> Iterator[bytes]:
        """Jobs past their retention, up to `rows_max` of each kind."""
        for expires, job_id in islice(self._expiring, rows_max):
            if expires > now_ms:
                break
            yield job_id
        for shelf, keep_ms in ruled_shelves(self.keep):
            last: _Entry = ((now_ms - keep_ms + 1, -1, -1), b"")
            entries = self._shelves[shelf]
            yield from [job_id for _, job_id in entries[: min(rows_max, bisect_right(entries, last))]]

    def _oldest(self, count: int) -> list[bytes]:
        """The jobs that go first where room is needed."""
        for shelves in (SUCCEEDED_SHELVES, OTHER_SHELVES):
            if found := [job_id for _, job_id in islice(merge(*(self._shelves[shelf] for shelf in shelves)), count)]:
                return found
        return []

    def _forget(self, ids: Sequence[bytes], now_ms: int, rows_max: int) -> int:
        """Leave a tombstone of each job, as many as fit into `rows_max` rows with their runs; returns the rows."""
        removed = 0
        for job_id in ids:
            rows = 1 + len(self._runs.get(job_id, ()))
            if removed and removed + rows > rows_max:
                break
            job = self._remove(job_id)
            if job is None:
                continue
            self._bytes -= sum(map(_run_bytes, self._runs.pop(job_id, {}).values()))
            self._logs.pop(job_id, None)
            self._tombstones.pop(job_id, None)
            generation = kept_generation(job_id, job.generation)
            self._tombstones[job_id] = Tombstone(job_id, job.state, generation, now_ms)
            removed += rows
        return removed


def _job_bytes(job: FinishedJob) -> int:
    return ROW_BYTES + len(job.spec) + len(job.body) + len(job.args) + len(job.extra)


def _run_bytes(run: EndedRun) -> int:
    return ROW_BYTES + len(run.body)
