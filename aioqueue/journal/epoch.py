"""The payload of an epoch record: who leads, for people to read, and what whoever reads on must know.

`owner`, in UTF-8; then, where there is more to say, a NUL and a msgpack map. Of the map `format` is the log's level; a
record without it states level 1, as do all that were written before there were levels. `renews` says that the leader is
that of the epoch before. Keys that are not known are passed over: whatever has to be known raises the level. Called by
whoever writes an epoch record, and by all who read a journal with the intention to understand it; what a level means is
the matter of `core.levels`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from aioqueue.errors import JournalDamaged
from aioqueue.model.growth import LEVEL_FIRST

_END_OF_OWNER: Final = b"\0"
_decoder: msgspec.msgpack.Decoder[dict[str, Any]] = msgspec.msgpack.Decoder(dict[str, Any])


def epoch_payload(owner: str, level: int, *, renews: bool = False) -> bytes:
    """The payload of a record; of level 1 nothing is said, so every version ever reads it.

    One that `renews` is by the leader of the epoch before, which goes on.
    """
    name = owner.replace("\0", " ").encode()
    if level == LEVEL_FIRST:
        return name
    return name + _END_OF_OWNER + msgspec.msgpack.encode({"format": level, **({"renews": True} if renews else {})})


def is_renewal(payload: bytes) -> bool:
    """Whether the leader of the epoch before wrote this record, and not another that took over."""
    _, _, more = payload.partition(_END_OF_OWNER)
    try:
        return bool(more) and _decoder.decode(more).get("renews") is True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # `stated_level` tells of it.
        return False


def stated_level(payload: bytes, path: str, position: int) -> int:
    """The level that a record states; `JournalDamaged` where what stands behind the owner's name is nothing of ours."""
    _, end, more = payload.partition(_END_OF_OWNER)
    if not end:
        return LEVEL_FIRST
    try:
        level = _decoder.decode(more).get("format", LEVEL_FIRST)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JournalDamaged(path=path, where=f"the epoch record {position}", reason=str(error)) from None
    if type(level) is not int or level < LEVEL_FIRST:
        raise JournalDamaged(path=path, where=f"the epoch record {position}", reason=f"{level!r} is no format level")
    return level
