"""A backup on its way: records, each with its length and checksum, in one stream that is cut into parts anywhere.

First a `BackupHead`; then the archive's rows; then the journal's batches in their order; then a `BackupEnd`, without
which it is not whole. What it means is said by `broker.backup`, who writes it, and the command that reads it. Pure.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import msgspec

from aioqueue.errors import MalformedFrame
from aioqueue.limits import BATCH_BYTES_MAX, MIB

FORMAT: Final = 1
# Length and CRC-32 of what follows.
_FRAME: Final = struct.Struct(">II")
# A batch, and what stands around it.
_RECORD_BYTES_MAX: Final = BATCH_BYTES_MAX + MIB


class BackupHead(msgspec.Struct, array_like=True, tag=1):
    """Whose copy this is; `synced` is up to which position of the journal the archive's rows are whole."""

    format: int
    journal_id: bytes
    synced: int


class BackupRow(msgspec.Struct, array_like=True, tag=2):
    """A row of the archive: what it tells of (`archive.base.Table`), and its bytes."""

    table: int
    data: bytes


class BackupBatch(msgspec.Struct, array_like=True, tag=3):
    """A batch of the journal, with its own place, time and kind (`journal.batch.BatchKind`)."""

    position: int
    epoch: int
    kind: int
    wall_ms: int
    events: bytes
    bodies: bytes


class BackupEnd(msgspec.Struct, array_like=True, tag=4):
    """How many rows and batches stand before this."""

    rows: int
    batches: int


Record = BackupHead | BackupRow | BackupBatch | BackupEnd

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def pack_record(record: Record) -> bytes:
    data = _encoder.encode(record)
    return _FRAME.pack(len(data), zlib.crc32(data)) + data


class RecordReader:
    """Takes parts as they come, and gives the records that are whole."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    @property
    def empty(self) -> bool:
        """Whether the stream ends with a whole record here."""
        return not self._waiting

    def feed(self, part: bytes) -> Iterator[Record]:
        """`MalformedFrame` for what nobody wrote."""
        waiting = self._waiting
        waiting += part
        at = 0
        while len(waiting) - at >= _FRAME.size:
            size, crc = _FRAME.unpack_from(waiting, at)
            if size > _RECORD_BYTES_MAX:
                raise MalformedFrame(reason=f"a record of a backup claims {size} bytes")
            end = at + _FRAME.size + size
            if end > len(waiting):
                break
            data = bytes(waiting[at + _FRAME.size : end])
            if zlib.crc32(data) != crc:
                raise MalformedFrame(reason="the checksum of a backup's record does not fit")
            try:
                record = _decoder.decode(data)
            except (ValueError, RecursionError) as error:
                raise MalformedFrame(reason=f"a record of a backup: {error}") from None
            at = end
            yield record
        del waiting[:at]
