"""Events as the bytes of the journal, and back.

A batch's events are one msgpack array of records `[kind, field, ...]`. A kind that is not known here, or a record with
more fields than are known here, was written by a newer aioqueue: that is `JournalNewer`, and nothing is touched.
Anything else that does not read is damage. What was read is looked at once more on that path, to tell the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgpack
import msgspec

from aioqueue.core import events as e
from aioqueue.errors import JournalDamaged, JournalNewer
from aioqueue.limits import BATCH_BYTES_MAX

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[list[e.JournaledEvent]] = msgspec.msgpack.Decoder(list[e.JournaledEvent])

# How a whole number begins in msgpack, and how an array does.
_NUMBERS: Final = frozenset((*range(0x80), *range(0xCC, 0xD4), *range(0xE0, 0x100)))
_FIXARRAY: Final = 0x90
_ARRAY_16: Final = 0xDC
_ARRAY_32: Final = 0xDD

_INFOS = [
    info
    for kind in e.JournaledEvent.__args__
    if isinstance(info := msgspec.inspect.type_info(kind), msgspec.inspect.StructType)
]
# kind -> how many elements its longest known record has, the kind itself included.
_KNOWN = {info.tag: 1 + len(info.fields) for info in _INFOS if isinstance(info.tag, int)}
# The same for records within records, by kind and place.
_KNOWN_WITHIN = {
    (info.tag, place): len(inner.fields)
    for info in _INFOS
    for place, field in enumerate(info.fields, 1)
    for inner in (field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else ())
    if isinstance(inner, msgspec.inspect.StructType)
}


def encode_events(events: Sequence[e.Event]) -> bytes:
    """The records of one batch."""
    return _encoder.encode(events)


def decode_events(data: bytes, path: str) -> list[e.JournaledEvent]:
    """The events of one batch; raises `JournalNewer` or `JournalDamaged`, which name `path`."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        newer = _newer_record(data)
        if newer:
            raise JournalNewer(path=path, found=newer, known=f"kind {max(_KNOWN)}") from None
        raise JournalDamaged(path=path, where="an event record", reason=str(error)) from None


def _newer_record(data: bytes) -> str:
    """What of these records is of a newer version; empty where nothing is, or where no records can be made out.

    Nothing is unpacked but the few numbers that tell: what is damaged may claim any size and any depth.
    """
    records = msgpack.Unpacker(read_size=max(1, len(data)), max_buffer_size=BATCH_BYTES_MAX)
    try:
        records.feed(data)
        for _ in range(records.read_array_header()):
            length = records.read_array_header()
            kind = records.unpack() if data[records.tell()] in _NUMBERS else None
            if kind is None:
                return ""
            if kind not in _KNOWN:
                return f"a record of kind {kind}"
            if length > _KNOWN[kind]:
                return f"a record of kind {kind} with {length} elements"
            for place in range(1, length):
                within = _array_length(data, records.tell())
                if within > _KNOWN_WITHIN.get((kind, place), within):
                    return f"a record of kind {kind} with {within} elements at place {place}"
                records.skip()
    except (ValueError, IndexError, msgpack.exceptions.UnpackException):
        pass
    return ""


def _array_length(data: bytes, at: int) -> int:
    """How many elements the array that begins there claims to have; -1 where none begins."""
    head = data[at]
    if head >> 4 == _FIXARRAY >> 4:
        return head & 0x0F
    width = {_ARRAY_16: 2, _ARRAY_32: 4}.get(head, 0)
    return int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else -1
