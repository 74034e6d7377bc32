"""`check --salvage`: what verifies of a journal, as a new one. `docs/reference/journal.md` says what is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from aioqueue.archive.adopt import adopt_archive
from aioqueue.archive.base import Tombstone
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.broker.opening import open_broker
from aioqueue.cli.outcome import DONE, FAILED, out, say
from aioqueue.client.documents import document, json_text
from aioqueue.clock import Clock, SystemClock
from aioqueue.core import levels
from aioqueue.core.events import BaseMoved
from aioqueue.core.machine import IllegalChange
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events, encode_events
from aioqueue.core.salvage import Rescue
from aioqueue.errors import AlreadyThere, ArchiveFailed, BadOption, JournalDamaged, NotAJournal
from aioqueue.ground import Ground
from aioqueue.journal.batch import Batch, BatchKind
from aioqueue.journal.epoch import stated_level
from aioqueue.journal.files import real_path
from aioqueue.journal.fresh import FreshJournal, fresh_journal
from aioqueue.journal.salvage import Gap, Remains, remains
from aioqueue.model.ids import id_text, is_own_id
from aioqueue.model.sizes import count_text
from aioqueue.monitor.text import plain
from aioqueue.transport.address import SqliteAddress

_ARCHIVE: Final = "-archive"
_LOOK_JOBS: Final = 1_000
# Lost jobs that are listed by id in the text; `--json` lists all.
_LISTED_JOBS: Final = 20


class SalvageReport(msgspec.Struct):
    """What became of a salvaged journal. Ids of journals are hexadecimal.

    `kept` batches are as they were, at the same positions; `behind` were read behind the first gap, and only their
    submits and ends are used. `lost` are sentences on batches, `lost_jobs` the ids of jobs whose submit is lost.
    `jobs` live now; `resubmitted` of them were submitted behind the gap. `ended` jobs were living at the gap, are known
    to be over, and do not run again. `archive` says what became of the archive beside the journal.
    """

    path: str
    salvaged: str
    old_id: str = ""
    journal_id: str = ""
    kept: int = 0
    behind: int = 0
    jobs: int = 0
    resubmitted: int = 0
    ended: int = 0
    lost: list[str] = []
    lost_jobs: list[str] = []
    archive: str = "there is none"
    ok: bool = True


async def salvage_and_tell(path: str, destination: str, *, json: bool) -> int:
    """Salvage and print; the exit code: 0 if nothing was lost.

    Raises `AlreadyThere`, `BadOption` where the folder is missing, what `remains` raises, and `JournalError` or
    `ArchiveFailed` if `destination` cannot be made.
    """
    report = await salvage(path, destination, SystemClock())
    out(json_text(document(report), indent=2) if json else "\n".join(_lines(report)))
    if report.ok:
        return DONE
    say(f"{report.path} is damaged: what verifies is in {report.salvaged}, what is lost is listed")
    return FAILED


async def salvage(path: str, destination: str, clock: Clock) -> SalvageReport:
    """Make a new journal at `destination`, and its archive, of what verifies at `path`; see `salvage_and_tell`."""
    source, target = real_path(path), real_path(destination)
    wall_ms = clock.now().wall_ms
    _check_place(target, destination)
    report = SalvageReport(path=source, salvaged=target)
    with (
        remains(source, wall_ms) as found,
        _removed_after_an_error(target + _ARCHIVE),
        fresh_journal(target) as fresh,
    ):
        report.old_id, report.journal_id = found.journal_id.hex(), fresh.journal_id.hex()
        rescue, partition = _read(found, fresh, report)
        if _adopt_archive(found, fresh, report):
            await _drop_what_ended(rescue, target + _ARCHIVE, fresh.journal_id)
        before = set(partition.state.jobs)
        fresh.begin_epoch(f"salvage of journal {found.journal_id.hex()}", wall_ms)
        for batch in rescue.batches(fresh.position, wall_ms):
            fresh.append(batch.wall_ms, encode_events(batch.events), batch.bodies)
        living = partition.state.jobs.keys()
        report.jobs, report.resubmitted = len(living), len(rescue.submitted)
        report.ended = len(before - (living - rescue.submitted.keys()))
        report.lost_jobs = [id_text(job_id) for job_id in sorted(rescue.lost)]
    # Once as a broker: it proves that one starts from this, and brings the archive up to the journal's end before
    # anybody asks. An end that only the archive knows is then told as it was, and not as the cancellation made for it.
    async with open_broker(SqliteAddress(target), ground=Ground(clock), disk_reserve=0):
        pass
    report.ok = not report.lost
    return report


def _check_place(target: str, destination: str) -> None:
    if os.path.lexists(target + _ARCHIVE):
        raise AlreadyThere(path=target + _ARCHIVE)
    if not os.path.isdir(folder := os.path.dirname(target)):
        reason = f"the folder {folder} does not exist; make it first"
        raise BadOption(option="salvage", value=destination, reason=reason)


def _read(found: Remains, fresh: FreshJournal, report: SalvageReport) -> tuple[Rescue, Partition]:
    """Copy what is whole up to the first gap, and take what stands behind it."""
    first = _begin(found, report.path)
    partition = _partition(first)
    rescue: Rescue | None = None
    for item in found.read(first):
        if isinstance(item, Gap):
            report.lost.append(str(item))
            rescue = rescue or Rescue(partition)
            continue
        problem = ""
        if rescue is None:
            problem = replay_batch(partition, item, report.path)
            if not problem:
                fresh.copy(item)
                report.kept += 1
                continue
            # The state is of no use after a batch that does not replay: once more, up to that one.
            partition = _again(found, first, fresh.position, report.path)
            rescue = Rescue(partition)
        else:
            try:
                report.behind += _take_behind(rescue, fresh, item, report.path)
            except JournalDamaged as error:
                problem = f"its events cannot be read: {error.reason}"
        if problem:
            report.lost.append(str(Gap(item.position, item.position, problem)))
    return rescue or Rescue(partition), partition


def _take_behind(rescue: Rescue, fresh: FreshJournal, batch: Batch, path: str) -> int:
    """Take a batch that stands behind the gap; how many of events that is. What it needs, the new journal states."""
    if batch.kind is not BatchKind.EVENTS:
        needed = levels.refuse_newer(stated_level(batch.events, path, batch.position), path)
    else:
        events = decode_events(batch.events, path)
        needed = levels.KNOWN.needed_by(events)
        rescue.take(events, batch.bodies, batch.wall_ms)
    fresh.level = max(fresh.level, needed)
    return int(batch.kind is BatchKind.EVENTS)


def replay_batch(partition: Partition, batch: Batch, path: str) -> str:
    """Why a batch cannot be replayed; empty if it was. `JournalNewer` for a later version's records or level."""
    try:
        if batch.kind is not BatchKind.EVENTS:
            levels.refuse_newer(stated_level(batch.events, path, batch.position), path)
            return ""
        partition.replay(decode_events(batch.events, path), batch.bodies, batch.position, batch.wall_ms)
    except JournalDamaged as error:
        return f"its events cannot be read: {error.reason}"
    except (IllegalChange, KeyError, ValueError) as error:
        return f"it cannot be replayed: {error}"
    return ""


def _begin(found: Remains, path: str) -> int:
    """Where to begin: at the first batch or at a base, whichever is followed by most before the next gap.

    A base counts if all is there from it to the batch that says so. What stands below it is history.
    """
    gaps: list[Gap] = []
    bases = [1]
    for item in found.read():
        if isinstance(item, Gap):
            gaps.append(item)
            continue
        with suppress(JournalDamaged):
            if item.kind is BatchKind.EPOCH:
                # What is newer is told by its level, not by the first record that does not read.
                levels.refuse_newer(stated_level(item.events, path, item.position), path)
            else:
                moved = [event.base for event in decode_events(item.events, path) if isinstance(event, BaseMoved)]
                bases += [base for base in moved if not gaps or base > gaps[-1].last]

    def reach(first: int) -> tuple[int, int]:
        return next((gap.first for gap in gaps if gap.last >= first), found.last + 1), first

    return max(bases, key=reach)


def _partition(first: int) -> Partition:
    partition = Partition()
    partition.start_at(first)
    return partition


def _again(found: Remains, first: int, last: int, path: str) -> Partition:
    partition = _partition(first)
    for item in found.read(first):
        if not isinstance(item, Batch) or item.position > last:
            break
        replay_batch(partition, item, path)
    return partition


@contextmanager
def _removed_after_an_error(path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise


def _adopt_archive(found: Remains, fresh: FreshJournal, report: SalvageReport) -> bool:
    """Copy the archive beside the journal, if there is one that goes with it; the report says what became of it."""
    if not os.path.exists(report.path + _ARCHIVE):
        return False
    try:
        adopted = adopt_archive(
            report.path + _ARCHIVE, report.salvaged + _ARCHIVE,
            old_id=found.journal_id, new_id=fresh.journal_id, position=fresh.position,
        )  # fmt: skip
    except (ArchiveFailed, NotAJournal) as error:
        report.archive = "left behind"
        report.lost.append(f"the archive: {error}")
        return False
    report.archive = f"copied, with {count_text(adopted.jobs, 'finished job')}"
    if adopted.left_out:
        report.lost.append(f"the archive: {adopted.left_out} rows do not verify")
    return True


async def _drop_what_ended(rescue: Rescue, path: str, journal_id: bytes) -> None:
    """Ask the archive which of the jobs that would live are over: it may know of ends that the journal lost."""
    living = rescue.living()
    ids = list(living)
    archive = await SqliteArchive.open(path, journal_id=journal_id)
    try:
        for start in range(0, len(ids), _LOOK_JOBS):
            known = await archive.get(ids[start : start + _LOOK_JOBS])
            rescue.drop(
                job_id
                for job_id, row in known.items()
                # A tombstone tells of the generation only where the id may be used again.
                if row.generation >= living[job_id] or (isinstance(row, Tombstone) and not is_own_id(job_id))
            )
    finally:
        await archive.aclose()


def _lines(report: SalvageReport) -> list[str]:
    lines = [
        f"salvaged:  {plain(report.path)} as {plain(report.salvaged)}",
        f"id:        {report.journal_id}, before {report.old_id}",
        f"batches:   {report.kept:,} as they were, {report.behind:,} read behind the first gap",
        f"jobs:      {report.jobs:,} living, {report.resubmitted:,} of them submitted behind the first gap",
        f"ended:     {report.ended:,} jobs that were living at the gap and do not run again",
        f"archive:   {report.archive}",
    ]
    lines.extend(f"lost:      {plain(sentence)}" for sentence in report.lost)
    lines.extend(f"lost job:  {job_id}" for job_id in report.lost_jobs[:_LISTED_JOBS])
    more = len(report.lost_jobs) - _LISTED_JOBS
    if more > 0:
        lines.append(f"lost job:  and {more:,} more; --json lists all")
    lines.append("nothing was lost" if report.ok else "what is listed above was lost")
    return lines
