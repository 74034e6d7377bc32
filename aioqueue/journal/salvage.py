"""What is left of a damaged journal: every batch that vouches for itself, wherever in file and log it stands.

SQLite is not asked, for it sees nothing behind a bad frame, and nothing below a bad page of its tree. Each page of the
file and each frame of the log is looked at, rows that begin on it are put together, and a batch counts if its hash
fits: nothing that passes can be anything but what was written. `aioqueue check --salvage` calls this, never a broker.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import BinaryIO, Final, NamedTuple

from aioqueue.errors import HistoryLost, JournalDamaged, JournalError, NotAJournal
from aioqueue.journal.batch import NO_BATCH, Batch, ChainReader
from aioqueue.journal.files import look, real_path
from aioqueue.journal.lock import OwnerLock
from aioqueue.journal.mark import Mark, read_mark
from aioqueue.journal.pages import batch_of, header_of, row_at, rows_of
from aioqueue.journal.wal import FRAME_BYTES, HEADER_BYTES, SUFFIX, read_frames
from aioqueue.limits import JOURNAL_PAGE_BYTES

_NOTHING: Final = "nothing of it was found"


class Gap(NamedTuple):
    """Batches that are lost, from the first position to the last, and why."""

    first: int
    last: int
    reason: str

    def __str__(self) -> str:
        what = f"batch {self.first}" if self.first == self.last else f"batches {self.first} to {self.last}"
        return f"{what}: {self.reason}"


class _Place(NamedTuple):
    """Where a row begins: the number of its page, or minus that of its frame, and the offset in that page."""

    page: int
    offset: int


class _Pages:
    """The pages of the file, and those in the log. A page may stand in several places; any of them may be bad."""

    def __init__(self, file: BinaryIO, log: BinaryIO | None) -> None:
        self._file = file
        self._log = log
        self._count = os.fstat(file.fileno()).st_size // JOURNAL_PAGE_BYTES
        self.frames = 0 if log is None else max(0, os.fstat(log.fileno()).st_size - HEADER_BYTES) // FRAME_BYTES
        # The newest frame of each page: of those that verify, and of all.
        self.sound: dict[int, int] = {}
        self.any: dict[int, int] = {}
        if log is not None:
            for number in range(1, self.frames + 1):
                log.seek(HEADER_BYTES + (number - 1) * FRAME_BYTES)
                self.any[int.from_bytes(log.read(4), "big")] = number
            self.sound = {frame.page: frame.number for frame in read_frames(log) if frame.sound}

    def all(self) -> Iterator[tuple[int, bytes]]:
        """Every page of the file by its number, then every page of the log by minus its frame's."""
        for number in range(1, self._count + 1):
            yield number, self.at(number)
        for number in range(1, self.frames + 1):
            yield -number, self.at(-number)

    def at(self, number: int) -> bytes:
        """A page of the file, or, by minus the frame's number, of the log; short if none is there or can be read."""
        file, end = self._file, number * JOURNAL_PAGE_BYTES
        if number < 0 and self._log is not None:
            file, end = self._log, HEADER_BYTES - number * FRAME_BYTES
        try:
            return os.pread(file.fileno(), JOURNAL_PAGE_BYTES, end - JOURNAL_PAGE_BYTES) if end > 0 else b""
        except OSError:
            # A sector that the disk gives no more is one page that is lost.
            return b""

    def row(self, place: _Place) -> Iterator[bytes]:
        """What the row at a place may be, by each set of versions that its other pages may have."""
        row = row_at(self.at(place.page), place.offset)
        if row is not None:
            for newest in (self.sound, {}, self.any):
                data = batch_of(row, partial(self._version, newest))
                if data is not None:
                    yield data

    def _version(self, newest: dict[int, int], page: int) -> bytes:
        return self.at(-newest[page] if page in newest else page)


class Remains:
    """A damaged journal that nobody holds; nothing of it is changed.

    `journal_id` is that of most batches found. `last` is the highest position found, or the mark's if that is higher.
    """

    def __init__(self, path: str, pages: _Pages) -> None:
        found: dict[bytes, dict[int, list[_Place]]] = {}
        for number, page in pages.all():
            for offset, row in rows_of(page):
                header = header_of(row)
                if header is not None:
                    places = found.setdefault(header.journal_id, {})
                    places.setdefault(header.position, []).append(_Place(number, offset))
        if not found:
            raise NotAJournal(path=path, what="journal", reason="no batch of a journal was found in it")
        self.path = path
        self.journal_id = max(found, key=lambda journal_id: len(found[journal_id]))
        self._pages = pages
        self._places = found[self.journal_id]
        mark = read_mark(path)
        marked = mark.position if isinstance(mark, Mark) and mark.journal_id == self.journal_id else 0
        self.last = max(*self._places, marked)

    def read(self, first: int = 1) -> Iterator[Batch | Gap]:
        """All positions from `first` to `last` in their order: batches that vouch for themselves, and the gaps between.

        A batch that does not follow the one before it is lost too.
        """
        waiting: Gap | None = None
        for item in self._items(first):
            if isinstance(item, Gap) and waiting is not None and item.reason == waiting.reason:
                waiting = waiting._replace(last=item.last)
                continue
            if waiting is not None:
                yield waiting
            waiting = item if isinstance(item, Gap) else None
            if waiting is None:
                yield item
        if waiting is not None:
            yield waiting

    def _items(self, first: int) -> Iterator[Batch | Gap]:
        reader = ChainReader(self.path, self.journal_id, first, NO_BATCH if first == 1 else None)
        for position in sorted(place for place in self._places if place >= first):
            if position > reader.expected:
                yield Gap(reader.expected, position - 1, _NOTHING)
                reader.resume(position)
            found = self._batch(reader, position)
            if isinstance(found, Gap):
                reader.resume(position + 1)
            yield found
        if reader.expected <= self.last:
            yield Gap(reader.expected, self.last, _NOTHING)

    def _batch(self, reader: ChainReader, position: int) -> Batch | Gap:
        reason = "its pages do not hold it"
        # What stands in the log is newer than what stands in the file.
        for place in reversed(self._places[position]):
            for data in self._pages.row(place):
                try:
                    return reader.take(position, data)
                except (JournalDamaged, HistoryLost) as error:
                    reason = str(error.reason)
        return Gap(position, position, reason)


@contextmanager
def remains(path: str | os.PathLike[str], wall_ms: int) -> Iterator[Remains]:
    """What is left of the journal at `path`, with its lock held as its owner would; `wall_ms` is written into that.

    Raises `JournalInUse`, `JournalNewer`, `NotAJournal` where no batch is found, and `JournalError` for what the
    system refuses.
    """
    name = real_path(path)
    if not os.path.isfile(name):
        raise NotAJournal(path=name, what="journal", reason="there is no such file")
    with suppress(NotAJournal, HistoryLost):
        # The first page may be damaged; if it is not, it tells of a newer format.
        look(name)
    lock = OwnerLock.acquire(name, wall_ms)
    try:
        with ExitStack() as files:
            file = files.enter_context(open(name, "rb"))
            log = files.enter_context(open(name + SUFFIX, "rb")) if os.path.exists(name + SUFFIX) else None
            yield Remains(name, _Pages(file, log))
    except OSError as error:
        raise JournalError(path=name, reason=f"it cannot be read: {error.strerror}") from error
    finally:
        lock.release()
