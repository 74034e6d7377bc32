"""The archive in a file: one connection that writes, one that only reads.

The writer alone commits and checkpoints, one bulk at a time; the reader takes short looks at what was committed, so no
question stands before an append. Both live on threads of their own (`hop`); the work they do there is in `commits`,
`retention` and `lookup`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from aioqueue.archive.base import JobFilter, KeepRule, Row, Tombstone
from aioqueue.archive.commits import Writer
from aioqueue.archive.copying import copy_rows
from aioqueue.archive.hop import Hop
from aioqueue.archive.lookup import find_acts, find_jobs, find_logs, find_runs
from aioqueue.archive.pages import look, looks_of
from aioqueue.archive.schema import prepare_reader, prepare_writer, refuse_foreign
from aioqueue.archive.shelves import Place, pack_act_cursor, pack_cursor, unpack_act_cursor, unpack_cursor
from aioqueue.model.records import Act, EndedRun, FinishedJob, LogPart


class SqliteArchive:
    """An `Archive` in an SQLite file (WAL, every commit synced); see there for what each call promises."""

    def __init__(self, path: str, keep: KeepRule, writer: Writer, write_hop: Hop, read_hop: Hop) -> None:
        self.keep = keep
        self._path = path
        self._writer = writer
        self._write_hop = write_hop
        self._read_hop = read_hop

    @classmethod
    async def open(
        cls, path: str | os.PathLike[str], *, journal_id: bytes, keep: KeepRule | None = None
    ) -> SqliteArchive:
        """Open the archive of a journal at `path`, or make it.

        Raises `NotAJournal` for another program's file or another journal's archive, `JournalNewer` for a later
        version's (all left untouched), and `ArchiveFailed` where the file is damaged or cannot be used.
        """
        name = os.fspath(path)
        refuse_foreign(name)
        write_hop = await Hop.open(name)
        try:
            synced = await write_hop.run(prepare_writer, name, journal_id)
            read_hop = await Hop.open(name)
            try:
                await read_hop.run(prepare_reader)
            except BaseException:
                await read_hop.aclose()
                raise
        except BaseException:
            await write_hop.aclose()
            raise
        keep = keep or KeepRule()
        return cls(name, keep, Writer(name, journal_id, synced, keep), write_hop, read_hop)

    @property
    def synced(self) -> int:
        return self._writer.synced

    async def write(
        self,
        finished: Sequence[FinishedJob],
        runs: Sequence[EndedRun],
        requeued: Sequence[bytes],
        position: int,
        acts: Sequence[Act] = (),
        logs: Sequence[LogPart] = (),
    ) -> None:
        await self._write_hop.run(self._writer.commit, finished, runs, requeued, position, acts, logs)

    async def get(self, ids: Sequence[bytes]) -> dict[bytes, FinishedJob | Tombstone]:
        return await self._read_hop.run(find_jobs, self._path, ids)

    async def runs(self, job_id: bytes) -> list[EndedRun]:
        return await self._read_hop.run(find_runs, self._path, job_id)

    async def logs(self, job_id: bytes) -> list[LogPart]:
        return await self._read_hop.run(find_logs, self._path, job_id)

    async def acts(self, limit: int, after: bytes) -> tuple[list[Act], bytes]:
        below = unpack_act_cursor(after)
        found, following = await self._read_hop.run(find_acts, self._path, below, limit)
        return found, pack_act_cursor(following)

    async def page(self, where: JobFilter, limit: int, after: bytes) -> tuple[list[FinishedJob], bytes]:
        """As promised: one short look that serves most pages, and one that goes further."""
        place: Place | None = unpack_cursor(where, after)
        wanted = max(1, limit)
        jobs: list[FinishedJob] = []
        for entries in looks_of(where, wanted):
            assert place is not None
            found = await self._read_hop.run(look, self._path, where, place, wanted - len(jobs), entries)
            jobs += found.jobs
            place = found.place
            if place is None or found.full or len(jobs) >= wanted:
                break
        return jobs, pack_cursor(place) if place is not None else b""

    async def retain(self, now_ms: int, rows_max: int, bytes_max: int) -> int:
        return await self._write_hop.run(self._writer.retain, now_ms, rows_max, bytes_max)

    async def copy(self, after: bytes) -> tuple[list[Row], bytes]:
        return await self._read_hop.run(copy_rows, after)

    async def shrink(self) -> bool:
        return await self._write_hop.run(self._writer.shrink)

    async def aclose(self) -> None:
        # The last connection to close moves the WAL into the file, which is the writer's business alone.
        try:
            await self._read_hop.aclose()
        finally:
            await self._write_hop.aclose()
