"""What an archive promises to the broker: one bulk commit at a time, whole pages out, small steps of retention.

Core forgets a job at its terminal event; from then on the archive is where it is known. The journal can say every end
again, so an archive never needs to be more than repeatable: it keeps the journal's position up to which it has
everything (`synced`) in the same commit as the rows, and the broker replays from there. Two implementations pass one
conformance suite: `MemoryArchive` and `SqliteArchive`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

from msgspec import Struct

from aioqueue.limits import ARCHIVE_BYTES_MAX, KEEP_DEAD_MS, KEEP_SUCCEEDED_MS
from aioqueue.model.records import Act, EndedRun, FinishedJob, LogPart
from aioqueue.model.states import JobState


class Tombstone(Struct, frozen=True, gc=False):
    """What is left of a job after its retention: that it was, how it ended, and since when nothing more is left.

    `generation` is that of its last life, for an id that a caller or a parent may say again; of others it is 0.
    """

    id: bytes
    state: JobState
    generation: int = 0
    since_ms: int = 0


class JobFilter(Struct, frozen=True, gc=False):
    """Which jobs a page is about; an empty field means any.

    `since_ms` and `until_ms` (not itself included) are about the moment that a list is ordered by: the end of a
    finished job, the submit of a living one. `ids` are the lowest and highest id wanted; `tail` are the last bytes of
    one, which are asked for with `ids` only. `error` is text that stands in the last failure, written as `Type: text`,
    in this very case.
    """

    namespace: str
    states: tuple[JobState, ...] = ()
    queue: str = ""
    task: str = ""
    since_ms: int = 0
    until_ms: int = 0
    ids: tuple[bytes, bytes] | None = None
    error: str = ""
    tail: bytes = b""


class KeepRule(Struct, frozen=True, gc=False):
    """How long a job is kept after its end where it does not say so itself (`keep_ms` of -1), in milliseconds.

    `bytes_max` is what all jobs and their runs may have of the disk, whatever they say.
    """

    succeeded_ms: int = KEEP_SUCCEEDED_MS
    dead_ms: int = KEEP_DEAD_MS
    cancelled_ms: int = KEEP_DEAD_MS
    expired_ms: int = KEEP_DEAD_MS
    bytes_max: int = ARCHIVE_BYTES_MAX


class Table(IntEnum):
    """What a row tells of. The numbers are in backups on their way and are never reused."""

    JOB = 1
    RUN = 2
    TOMBSTONE = 3
    ACT = 4
    LOG = 5


class Row(NamedTuple):
    """A row as it is kept, for a copy of the archive: the table it stands in, and its bytes with their own checksum."""

    table: Table
    data: bytes


class Archive(Protocol):
    """The end of jobs, at rest. Every call raises `ArchiveFailed` where storage does, and after `aclose`."""

    @property
    def synced(self) -> int:
        """The journal's position up to which everything is durably here; never falls."""

    @property
    def keep(self) -> KeepRule:
        """How long it was told to keep what it has, for those who call `retain`."""

    async def write(
        self,
        finished: Sequence[FinishedJob],
        runs: Sequence[EndedRun],
        requeued: Sequence[bytes],
        position: int,
        acts: Sequence[Act] = (),
        logs: Sequence[LogPart] = (),
    ) -> None:
        """Store one bulk in one commit; returns when it is durable and `synced` is at least `position`.

        All or nothing of it is stored. The same rows again change nothing; a job of a newer generation replaces the
        older, never the other way. `requeued` jobs leave before `finished` ones are stored, so a bulk may hold a
        requeue and the end that followed it (an end that was requeued later in the same bulk must be left out by the
        caller). The runs and logs of a requeued job stay: they are its history.
        The first `acts` or `logs` bring an archive's file to the version that has their tables, before the commit;
        until then a release that knows of neither opens it.
        After a failure nothing more is written: whether this bulk is durable is only known to the next opening.
        """

    async def get(self, ids: Sequence[bytes]) -> dict[bytes, FinishedJob | Tombstone]:
        """What is known of these jobs, in one fetch; an unknown one is absent. `ArchiveFailed` for a damaged row."""

    async def runs(self, job_id: bytes) -> list[EndedRun]:
        """The job's archived runs in their order, of all generations."""

    async def logs(self, job_id: bytes) -> list[LogPart]:
        """What the job's runs logged, in its order, of all generations."""

    async def acts(self, limit: int, after: bytes) -> tuple[list[Act], bytes]:
        """Up to `limit` acts, the newest first, and the cursor for the next page; an empty cursor ends the list.

        `after` is as that of `page`.
        """

    async def page(self, where: JobFilter, limit: int, after: bytes) -> tuple[list[FinishedJob], bytes]:
        """Up to `limit` jobs, the newest end first, and the cursor for the next page; an empty cursor ends the list.

        With `where.ids` the highest id comes first instead: generated ids begin with the time of the submit.
        `after` is the cursor of the page before, or empty for the first; `BadOption` for what no page gave. However
        many jobs there are, only a bounded number of them is looked at: a page may be shorter than `limit`, and empty,
        and still not the last. So it is too where its jobs are large. Jobs that end while pages are read appear in none
        of the later ones.
        """

    async def retain(self, now_ms: int, rows_max: int, bytes_max: int) -> int:
        """One small step of retention; returns how many rows were removed, 0 when nothing is left to do.

        First by age: jobs past their own `keep_ms` or the archive's rule, then tombstones older than `TOMBSTONE_MS`.
        Then by size while jobs and runs have more than `bytes_max`: the oldest succeeded jobs, then the oldest others.
        Tombstones are not counted: their own time bounds them, and no job is forgotten early to remember others.
        Acts go when they are older than `KEEP_ACTS_MS`, or the oldest of more than `ACTS_MAX`.
        At most `rows_max` rows go in one step (one job goes with all its runs, however many, and with its logs, which
        are not counted). A removed job leaves a `Tombstone`.
        """

    async def copy(self, after: bytes) -> tuple[list[Row], bytes]:
        """Some more of all rows there are, and the cursor for the next call; an empty one ends them.

        `after` is empty for the first call. The rows are not those of one moment. But with the value that `synced` had
        before the first call, and the journal from there on, they are the archive: what is written meanwhile may be
        missing or be there, and is in the journal; a job that is forgotten meanwhile is there as a job or a tombstone.
        """

    async def shrink(self) -> bool:
        """Give a few pages that nothing needs back to the disk; whether more are to be given back at once."""

    async def aclose(self) -> None:
        """Close the file; waits for a write in progress. May be called twice."""
