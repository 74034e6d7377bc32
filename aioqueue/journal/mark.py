"""The mark: a small file beside the journal that says how far it had come, and so is the witness of a lost end.

A log whose last appends are cut off cleanly looks like one that never had them. The mark is written when an append is
durable and before anybody is told, and is never synced: after a killed process it is exact, after a power cut it may
be some seconds behind. So it never says too much: a journal that ends below its mark has lost history.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from typing import Final, NamedTuple

from aioqueue.errors import HistoryLost, JournalError
from aioqueue.limits import FILE_MODE

log = logging.getLogger(__name__)

SUFFIX: Final = ".mark"
_MAGIC: Final = b"AQMK"
_FORMAT: Final = 1
# Magic, format, three zero bytes, journal id, position; then their CRC.
_FIELDS: Final = struct.Struct(">4sB3x16sQ")
_CRC: Final = struct.Struct(">I")
MARK_BYTES: Final = _FIELDS.size + _CRC.size


class Mark(NamedTuple):
    """The last position that is known to have been durable in the journal of this id."""

    journal_id: bytes
    position: int


def read_mark(path: str) -> Mark | str | None:
    """The mark of the journal at `path`, why it cannot be read, or None if there is none."""
    try:
        with open(path + SUFFIX, "rb") as file:
            data = file.read(MARK_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if len(data) != MARK_BYTES:
        return f"it is not {MARK_BYTES} bytes long"
    magic, version, journal_id, position = _FIELDS.unpack_from(data)
    if _CRC.unpack_from(data, _FIELDS.size)[0] != zlib.crc32(data[: _FIELDS.size]):
        return "its CRC does not fit"
    if magic != _MAGIC or version != _FORMAT:
        return f"it begins with {magic!r} and format {version}"
    return Mark(journal_id, position)


def missing_by_mark(path: str, mark: Mark, journal_id: bytes, tail: int) -> str | None:
    """Why history is lost where the journal at `path` ends at `tail`; None where its mark does not say so."""
    if mark.journal_id != journal_id:
        return (
            f"{path + SUFFIX} belongs to journal {mark.journal_id.hex()}, which had {mark.position} batches, and not"
            f" to this one, {journal_id.hex()}; remove that file if this is the journal you mean"
        )
    if mark.position > tail:
        return f"batch {mark.position} was durable, as {path + SUFFIX} says, but the journal ends at {tail}"
    return None


def check_mark(path: str, journal_id: bytes, tail: int) -> None:
    """`HistoryLost` if the mark of the journal at `path` says that there was more, or that there was another one.

    A mark that cannot be read is no witness and no reason not to start: nothing synced it, so a power cut may have
    torn it. It is logged, and written anew by the next leader.
    """
    mark = read_mark(path)
    if isinstance(mark, str):
        log.warning("the mark %s is of no use: %s", path + SUFFIX, mark)
    elif mark is not None and (reason := missing_by_mark(path, mark, journal_id, tail)):
        raise HistoryLost(path=path, reason=reason)


def check_no_mark(path: str) -> None:
    """`HistoryLost` if a mark tells of a journal at `path` where none stands: a new one would take its place."""
    mark = read_mark(path)
    if isinstance(mark, Mark):
        raise HistoryLost(
            path=path,
            reason=f"there is no journal, but one of {mark.position} batches was here, as {path + SUFFIX} says;"
            " remove that file to begin a new journal",
        )


class MarkFile:
    """The writing end, held by the journal's leader."""

    def __init__(self, path: str, journal_id: bytes, descriptor: int) -> None:
        self._path = path
        self._journal_id = journal_id
        self._descriptor: int | None = descriptor

    @classmethod
    def open(cls, path: str, journal_id: bytes) -> MarkFile:
        """The mark of the journal at `path`, made if it is not there. `JournalError` if the system refuses."""
        try:
            descriptor = os.open(path + SUFFIX, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise JournalError(path=path, reason=f"its mark cannot be opened: {error.strerror}") from error
        # What is not of its length is no mark, and would be none with one written over its beginning.
        if os.fstat(descriptor).st_size != MARK_BYTES:
            os.ftruncate(descriptor, 0)
        return cls(path, journal_id, descriptor)

    def write(self, position: int) -> None:
        """Everything up to `position` is durable. 2-3 us: it goes into the page cache and nowhere else.

        A mark that cannot be written is given up, once and with a warning: what it said stays true.
        """
        if self._descriptor is None:
            return
        fields = _FIELDS.pack(_MAGIC, _FORMAT, self._journal_id, position)
        try:
            os.pwrite(self._descriptor, fields + _CRC.pack(zlib.crc32(fields)), 0)
        except OSError as error:
            log.warning("the mark %s is not kept any more: %s", self._path + SUFFIX, error.strerror)
            self.close()

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
