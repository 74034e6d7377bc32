"""Events as the bytes of the journal, and back.

A batch's events are one msgpack array of records `[kind, field, ...]`. A kind that is not known here, or a record with
more fields than are known here, at any depth and in a job's spec too, was written by a newer aioqueue: that is
`JournalNewer`, and nothing is touched. Anything else that does not read is damage. What was read is looked at once more
on that path, to tell the two apart. What was appended to a record and is not used is not written: see `levels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from aioqueue.core import events as e
from aioqueue.core import levels
from aioqueue.errors import JournalDamaged, JournalNewer
from aioqueue.model.growth import Shapes
from aioqueue.model.records import newer_extra
from aioqueue.model.spec import newer_spec

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[list[e.JournaledEvent]] = msgspec.msgpack.Decoder(list[e.JournaledEvent])
_shapes = Shapes(list[e.JournaledEvent])
_WITH_SPEC: Final = frozenset({e.JobSubmitted, e.JobCarried})


def encode_events(events: Sequence[e.Event]) -> bytes:
    """The records of one batch."""
    return _encoder.encode(levels.KNOWN.cut(events) if levels.KNOWN.grown else events)


def decode_events(data: bytes, path: str) -> list[e.JournaledEvent]:
    """The events of one batch; raises `JournalNewer` or `JournalDamaged`, which name `path`."""
    try:
        events = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if newer := _shapes.newer_in(data):
            raise _newer(path, newer) from None
        raise JournalDamaged(path=path, where="an event record", reason=str(error)) from None
    _refuse_newer_parts(events, path)
    return events


def _refuse_newer_parts(events: Sequence[e.Event], path: str) -> None:
    """What is packed within a record is not read here, and would be read later without what is not known."""
    # Few specs are many jobs'; a replay asks for each of them again, by the hash that is taken here.
    whole: list[Any] = [event for event in events if type(event) in _WITH_SPEC]
    for event in whole:
        if event.extra is not None and (newer := newer_extra(event.extra)):
            raise _newer(path, f"{newer} in what goes with a job")
    for spec in {event.spec for event in whole}:
        if newer := newer_spec(spec):
            raise _newer(path, f"{newer} in a job's spec")


def _newer(path: str, found: str) -> JournalNewer:
    return JournalNewer(path=path, found=found, known=f"level {levels.KNOWN.highest}")
