"""What messages are made of: bytes and numbers with their bounds, and records inside a message.

A bound is checked while a message is decoded, before room is made for what it bounds. The files of this room and
`extras` use them; who speaks the protocol imports messages from `aioqueue.protocol.messages`.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from aioqueue.limits import (
    BODY_BYTES_MAX,
    BULK_ID_BYTES,
    ERROR_BYTES_MAX,
    HEADERS_BYTES_MAX,
    ITEMS_A_FRAME_MAX,
    JOB_ID_BYTES,
    NAME_CHARACTERS_MAX,
    NUMBER_MAX,
    SPEC_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
)
from aioqueue.model.views import Run

SHORT: Final = 16
# A body's first byte is its codec, so the frame allows one byte more than a body's own limit.
JobId = Annotated[bytes, Meta(min_length=JOB_ID_BYTES, max_length=JOB_ID_BYTES)]
Body = Annotated[bytes, Meta(max_length=BODY_BYTES_MAX + ERROR_BYTES_MAX)]
Headers = Annotated[bytes, Meta(max_length=HEADERS_BYTES_MAX)]
BulkId = Annotated[bytes, Meta(min_length=BULK_ID_BYTES, max_length=BULK_ID_BYTES)]
SpecBytes = Annotated[bytes, Meta(max_length=SPEC_BYTES_MAX)]
Name = Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
Text = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)]
# What few jobs have costs the others no field: its key is a small number, its value packed msgpack (`extras`).
Extra = Annotated[dict[int, Annotated[bytes, Meta(max_length=SPEC_BYTES_MAX)]], Meta(max_length=SHORT)]
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Runs = Annotated[list[Run], Meta(max_length=ITEMS_A_FRAME_MAX)]
# An error's numbers and names; plain values only, so that a refusal cannot smuggle a tree of objects.
Fields = Annotated[dict[str, str | int | float | bool | None], Meta(max_length=SHORT)]


class Array(Struct, array_like=True, gc=False):
    """A record inside a message: an array without a kind."""
