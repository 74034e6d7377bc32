"""A backup: a broker's copy of itself, written and verified here. What leaves the broker is said by `broker.backup`.

It is made in a folder of its own beside its destination, and stands there when it is whole and a broker has started
from it. It is a journal of its own, with a new id: so clients that saw later positions of the other one do not take it
for a history that was lost. Runs that were on are given back in place, for their workers never heard of this journal.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from aioqueue.archive.base import Row, Table
from aioqueue.archive.fresh import FreshArchive, fresh_archive, verify_archive
from aioqueue.broker.opening import open_broker
from aioqueue.cli.outcome import DONE, FAILED, not_made, out, say
from aioqueue.cli.salvaging import replay_batch
from aioqueue.client.documents import document, json_text
from aioqueue.client.queue import Queue
from aioqueue.clock import SystemClock
from aioqueue.core.partition import Partition
from aioqueue.core.records import encode_events
from aioqueue.core.salvage import Rescue
from aioqueue.errors import AioqueueError, AlreadyThere, BackupFailed
from aioqueue.ground import Ground
from aioqueue.journal.batch import Batch, BatchKind
from aioqueue.journal.check import check_journal
from aioqueue.journal.files import real_path, sync_directory
from aioqueue.journal.fresh import FreshJournal, fresh_journal, refuse_taken
from aioqueue.journal.mark import SUFFIX as MARK_SUFFIX
from aioqueue.limits import FILE_MODE
from aioqueue.model.sizes import size_text
from aioqueue.monitor.text import plain
from aioqueue.protocol.backup import (
    FORMAT,
    BackupBatch,
    BackupEnd,
    BackupHead,
    BackupRow,
    Record,
    RecordReader,
)
from aioqueue.transport.address import SqliteAddress

_ARCHIVE: Final = "-archive"
_TABLES: Final = frozenset(Table)
_UNFINISHED: Final = ".unfinished"
_PROGRESS_NS: Final = 200_000_000


class BackupReport(msgspec.Struct):
    """What a backup holds. Ids of journals are hexadecimal; `at_ms` is the time of the last batch, in UTC.

    `jobs` live in it, `finished` have ended. `left_out` counts rows of the archive that do not verify where they were
    copied from; they are not in it.
    """

    path: str
    source_id: str
    journal_id: str
    position: int
    at_ms: int
    batches: int
    jobs: int
    finished: int = 0
    left_out: int = 0
    bytes: int = 0


async def backup_and_tell(queue: Queue, destination: str, *, json: bool) -> int:
    """Make a backup at `destination` and print what it holds; the exit code.

    Raises `AlreadyThere` for a destination where something stands, `BackupFailed`, and the errors of a journal or
    archive that cannot be written. Nothing is left then.
    """
    target = real_path(destination)
    _refuse_taken(target)
    with _folder(target) as folder:
        path = os.path.join(folder, os.path.basename(target))
        report = await _receive(queue, path)
        await _verify(report, path)
        report.path, report.bytes = target, _put_in_place(path, target)
    out(json_text(document(report), indent=2) if json else "\n".join(_lines(report)))
    if not report.left_out:
        return DONE
    say(f"the archive is damaged: {report.left_out} of its rows do not verify and are not in the backup")
    return FAILED


def _refuse_taken(target: str) -> None:
    refuse_taken(target)
    if os.path.lexists(target + _ARCHIVE):
        raise AlreadyThere(path=target + _ARCHIVE)


def _put_in_place(path: str, target: str) -> int:
    """Rename what stands at `path`, and tell how large it is. The journal last: without it the others are nobody's.

    `AlreadyThere` where something came to stand meanwhile. Of two backups that end at once one has the place, not each
    a part of it: whoever makes the mark.
    """
    _refuse_taken(target)
    try:
        os.close(os.open(target + MARK_SUFFIX, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    except FileExistsError:
        raise AlreadyThere(path=target + MARK_SUFFIX) from None
    size = 0
    placed = [target + MARK_SUFFIX]
    try:
        for suffix in (MARK_SUFFIX, _ARCHIVE, ""):
            size += os.path.getsize(path + suffix)
            os.rename(path + suffix, target + suffix)
            placed.append(target + suffix)
        sync_directory(target)
    except OSError:
        for each in placed:
            Path(each).unlink(missing_ok=True)
        raise
    return size


@contextmanager
def _folder(target: str) -> Iterator[str]:
    """A folder beside the target, removed at the end with all that is left in it, and locked as long as it is in use.

    What is left of a command that was killed is locked by nobody: the next backup to the same place removes it.
    """
    parent, name = os.path.split(target)
    folder = ""
    lock = -1
    try:
        for path in glob.iglob(f"{glob.escape(target)}.*{_UNFINISHED}"):
            _remove_left(path)
        folder = tempfile.mkdtemp(suffix=_UNFINISHED, prefix=f"{name}.", dir=parent)
        lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    except AioqueueError:
        # A broker that does not answer in time is an `OSError` too, as every `TimeoutError` is.
        raise
    except OSError as error:
        raise BackupFailed(reason=not_made(target, error)) from error
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


def _remove_left(path: str) -> None:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except OSError:
        # Another command's, which has just ended.
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        say(f"removing {path}, which a backup that was killed has left")
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


async def _receive(queue: Queue, path: str) -> BackupReport:
    reader, progress = RecordReader(), _Progress()
    with fresh_journal(path) as journal, fresh_archive(path + _ARCHIVE, journal.journal_id) as archive:
        copy = _Copy(path, journal, archive)
        try:
            async with queue, aclosing(queue.session().questions.backup()) as parts:
                async for part in parts:
                    progress.add(len(part))
                    for record in reader.feed(part):
                        copy.take(record)
        finally:
            progress.clear()
        return copy.finish(Ground().now().wall_ms)


class _Copy:
    """What has come so far. The journal is replayed as it comes: that tells whether a broker can go on from it."""

    def __init__(self, path: str, journal: FreshJournal, archive: FreshArchive) -> None:
        self._path = path
        self._journal = journal
        self._archive = archive
        self._partition = Partition()
        self._head: BackupHead | None = None
        self._rows = self._batches = self._at_ms = 0
        self._whole = False

    def take(self, record: Record) -> None:
        """Raises `BackupFailed` for what cannot follow what came before."""
        if self._whole or (self._head is None) != isinstance(record, BackupHead):
            raise BackupFailed(reason=f"the broker sent a {type(record).__name__} out of place")
        if isinstance(record, BackupHead):
            if record.format != FORMAT:
                raise BackupFailed(
                    reason=f"the broker sends format {record.format}, this side reads {FORMAT}; upgrade the older one"
                )
            self._head = record
        elif isinstance(record, BackupRow):
            self._rows += 1
            if record.table not in _TABLES:
                reason = (
                    f"the broker sends rows of table {record.table}, which this side does not know; upgrade this one"
                )
                raise BackupFailed(reason=reason)
            self._archive.add(Row(Table(record.table), record.data))
        elif isinstance(record, BackupBatch):
            self._take_batch(record)
        else:
            self._end(record)

    def _take_batch(self, record: BackupBatch) -> None:
        batch = Batch(
            record.position, record.epoch, BatchKind(record.kind), record.wall_ms, b"", record.events, record.bodies
        )
        if not self._batches:
            self._partition.start_at(record.position)
        elif record.position != self._journal.position + 1:
            raise BackupFailed(reason=f"batch {record.position} came behind batch {self._journal.position}")
        if problem := replay_batch(self._partition, batch, self._path):
            raise BackupFailed(reason=f"batch {record.position} of the journal is damaged: {problem}")
        self._journal.copy(batch)
        self._batches += 1
        self._at_ms = record.wall_ms

    def _end(self, record: BackupEnd) -> None:
        if (record.rows, record.batches) != (self._rows, self._batches):
            raise BackupFailed(
                reason=f"{self._rows} rows and {self._batches} batches came of {record.rows} and {record.batches}"
            )
        self._whole = True

    def finish(self, wall_ms: int) -> BackupReport:
        """Raises `BackupFailed` if the end did not come."""
        journal, head = self._journal, self._head
        if head is None or not self._whole:
            raise BackupFailed(reason="the broker ended it before it was whole")
        source_id, position = head.journal_id.hex(), journal.position
        journal.begin_epoch(f"backup of journal {source_id}", wall_ms)
        for batch in Rescue(self._partition).batches(journal.position, wall_ms):
            journal.append(batch.wall_ms, encode_events(batch.events), batch.bodies)
        self._archive.finish(head.synced)
        return BackupReport(
            self._path, source_id, journal.journal_id.hex(), position, self._at_ms, self._batches,
            len(self._partition.state.jobs), left_out=self._archive.left_out,
        )  # fmt: skip


async def _verify(report: BackupReport, path: str) -> None:
    """Read all of it again, and start a broker from it; that one also archives what the journal knows to be over."""
    found = await check_journal(path)
    if not found.ok:
        raise BackupFailed(reason=f"what was written cannot be read again: {found.problems[0]}")
    async with open_broker(SqliteAddress(path), ground=Ground(), disk_reserve=0) as broker:
        living = len(broker.engine.partition.state.jobs)
    if living != report.jobs:
        raise BackupFailed(reason=f"a broker that starts from it knows {living} living jobs, and not {report.jobs}")
    report.finished = verify_archive(path + _ARCHIVE)


class _Progress:
    """How much has come, on stderr, where that is a terminal."""

    def __init__(self) -> None:
        self._bytes = 0
        self._told_ns = 0

    def add(self, size: int) -> None:
        self._bytes += size
        if sys.stderr.isatty() and SystemClock.mono_ns() - self._told_ns >= _PROGRESS_NS:
            self._told_ns = SystemClock.mono_ns()
            sys.stderr.write(f"\r\x1b[Kreceived {size_text(self._bytes)}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._told_ns:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _lines(report: BackupReport) -> list[str]:
    return [
        f"backup:    {plain(report.path)}, {size_text(report.bytes)}",
        f"id:        {report.journal_id}, of journal {report.source_id} up to batch {report.position:,}",
        f"jobs:      {report.jobs:,} living, {report.finished:,} finished",
        f"verified; start a broker from it with: aioqueue serve --journal sqlite:{plain(report.path)}",
    ]
