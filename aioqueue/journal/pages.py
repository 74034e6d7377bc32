"""The rows of `batches` on SQLite's pages, read without SQLite: by the scan of a log, and by salvage.

Rows begin on leaf pages of the table's tree and go on in a list of overflow pages (the SQLite file format, "B-tree
pages" and "Cell payload overflow pages"). Nothing here is trusted: a place that makes no sense yields nothing, and a
batch that is found vouches for itself by its hash. Pages of payload cannot pass for leaf pages: they begin with the
number of the next page, and the first byte of a leaf would make that page 0x0D000000, in a file of 890 GB.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from aioqueue.journal.batch import HEADER_BYTES, Header, sound_header
from aioqueue.limits import BATCH_BYTES_MAX, JOURNAL_PAGE_BYTES

_LEAF: Final = 0x0D
_CELLS_AT: Final = 3
_POINTERS_AT: Final = 8
_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
# What of a row stands on its leaf: all of it up to `_LOCAL_MAX`, else between `_LOCAL_MIN` and that.
_LOCAL_MAX: Final = JOURNAL_PAGE_BYTES - 35
_LOCAL_MIN: Final = (JOURNAL_PAGE_BYTES - 12) * 32 // 255 - 23
_OVERFLOW_BYTES: Final = JOURNAL_PAGE_BYTES - 4
# A batch, and the few bytes of a row around it.
_ROW_BYTES_MAX: Final = BATCH_BYTES_MAX + 64
# Serial types of SQLite's records: the bytes of an integer, and from where on a blob of (type - 12) / 2 bytes.
_INTEGER_BYTES: Final = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
_BLOB: Final = 12

# Gives the bytes of a page by its number, or fewer if it is not there.
ReadPage = Callable[[int], bytes]


class Row(NamedTuple):
    """One row as its leaf page tells it. `local` is what of it stands there, `overflow` the page it goes on (0: none).

    `position` is the row's key: the position that the batch should have.
    """

    position: int
    size: int
    local: bytes
    overflow: int


def rows_of(page: bytes) -> Iterator[tuple[int, Row]]:
    """The rows that begin on a page, with their places on it; none if it is no leaf of a table."""
    if len(page) != JOURNAL_PAGE_BYTES or page[0] != _LEAF:
        return
    count = _U16.unpack_from(page, _CELLS_AT)[0]
    for pointer in range(_POINTERS_AT, min(_POINTERS_AT + 2 * count, JOURNAL_PAGE_BYTES - 1), 2):
        place = _U16.unpack_from(page, pointer)[0]
        row = row_at(page, place)
        if row is not None:
            yield place, row


def row_at(page: bytes, place: int) -> Row | None:
    """The row that begins at `place`; None if nothing sensible stands there."""
    try:
        size, at = _varint(page, place)
        position, at = _varint(page, at)
        if size > _ROW_BYTES_MAX:
            return None
        local = _local_bytes(size)
        overflow = _U32.unpack_from(page, at + local)[0] if local < size else 0
    except (IndexError, struct.error):
        return None
    row = Row(position, size, page[at : at + local], overflow)
    return row if len(row.local) == local else None


def header_of(row: Row) -> Header | None:
    """The header of the batch in a row, by what stands on the leaf alone; None if its CRC or position do not fit."""
    blob = _blob_of(row.local)
    if blob is None:
        return None
    header = sound_header(row.local[blob[0] : blob[0] + HEADER_BYTES])
    return header if header is not None and header.position == row.position else None


def batch_of(row: Row, read: ReadPage) -> bytes | None:
    """The blob of a row, put together from its pages; None if they do not hold it."""
    parts = [row.local]
    missing, page = row.size - len(row.local), row.overflow
    while missing > 0:
        data = read(page) if page else b""
        if len(data) != JOURNAL_PAGE_BYTES:
            return None
        page = _U32.unpack_from(data)[0]
        parts.append(data[4 : 4 + min(missing, _OVERFLOW_BYTES)])
        missing -= _OVERFLOW_BYTES
    payload = b"".join(parts)
    blob = _blob_of(payload)
    if blob is None:
        return None
    at, size = blob
    return payload[at : at + size] if at + size == len(payload) else None


def _local_bytes(size: int) -> int:
    if size <= _LOCAL_MAX:
        return size
    fitting = _LOCAL_MIN + (size - _LOCAL_MIN) % _OVERFLOW_BYTES
    return fitting if fitting <= _LOCAL_MAX else _LOCAL_MIN


def _blob_of(payload: bytes) -> tuple[int, int] | None:
    """Where the blob of a record (key, `bodies_at`, `data`) begins, and how long it is."""
    try:
        header, at = _varint(payload, 0)
        _, at = _varint(payload, at)
        number, at = _varint(payload, at)
        blob, at = _varint(payload, at)
        begin = header + _INTEGER_BYTES[number]
    except (IndexError, KeyError):
        return None
    return (begin, (blob - _BLOB) // 2) if at == header and blob >= _BLOB and not blob % 2 else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """SQLite's number of one to nine bytes, and where it ends."""
    value = 0
    for index in range(at, at + 8):
        byte = data[index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, index + 1
    return value << 8 | data[at + 8], at + 9
