"""Events as the bytes of the journal, and back.

A batch's events are one msgpack array of records `[kind, field, ...]`. A kind that is not known here, or a record with
more fields than are known here, was written by a newer aioqueue: that is `JournalNewer`, and nothing is touched.
Anything else that does not read is damage. The generic reader is only asked on that path, to tell the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
import msgspec

from aioqueue.core import events as e
from aioqueue.errors import JournalDamaged, JournalNewer
from aioqueue.limits import BATCH_BYTES_MAX

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[list[e.JournaledEvent]] = msgspec.msgpack.Decoder(list[e.JournaledEvent])

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
    try:
        records: Any = msgpack.unpackb(
            data, max_array_len=BATCH_BYTES_MAX, max_str_len=BATCH_BYTES_MAX, max_bin_len=BATCH_BYTES_MAX
        )
        for record in records if isinstance(records, list) else ():
            if not isinstance(record, list) or type(record[0]) is not int:
                return ""
            kind, length = record[0], len(record)
            if kind not in _KNOWN:
                return f"a record of kind {kind}"
            if length > _KNOWN[kind]:
                return f"a record of kind {kind} with {length} elements"
            for place, inner in enumerate(record):
                if isinstance(inner, list) and len(inner) > _KNOWN_WITHIN.get((kind, place), len(inner)):
                    return f"a record of kind {kind} with {len(inner)} elements at place {place}"
    except (ValueError, TypeError, IndexError, msgpack.exceptions.UnpackException):
        pass
    return ""
