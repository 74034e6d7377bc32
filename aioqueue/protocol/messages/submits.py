"""Submitting jobs: one by one, all or none, and in parts that are committed together."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Annotated

from msgspec import Meta, Struct

from aioqueue.limits import (
    BULK_PART_JOBS_MAX,
    ITEMS_A_FRAME_MAX,
    OWN_ID_CHARACTERS_MAX,
)
from aioqueue.protocol.messages.base import Array, Body, BulkId, Extra, Fields, Headers, JobId, Name, Number, SpecBytes


class SubmitFlag(IntFlag):
    """`RESEND`: this item may have been accepted before. `WANT_RESULT`: tell me its end. `OWN_ID`: the caller's id."""

    RESEND = 1
    WANT_RESULT = 2
    OWN_ID = 4


class Outcome(IntEnum):
    """What became of one submitted item."""

    ACCEPTED = 1
    EXISTS = 2
    REFUSED = 3


class SubmitItem(Array):
    """One job to be. `args` is a body; `at_ms` is UTC, 0 means none; `extra` is what few jobs have (`extras`)."""

    job: JobId
    spec: SpecBytes
    args: Body
    flags: Number = 0
    delay_ms: Number = 0
    at_ms: Number = 0
    headers: Headers = b""
    own_id: Annotated[str, Meta(max_length=OWN_ID_CHARACTERS_MAX)] = ""
    extra: Extra | None = None


class Submit(Struct, array_like=True, tag=20, gc=False):
    """Independent items, each with an outcome of its own."""

    request: Number
    items: Annotated[list[SubmitItem], Meta(max_length=ITEMS_A_FRAME_MAX)]


class SubmitAtomic(Struct, array_like=True, tag=21, gc=False):
    """All items or none."""

    request: Number
    items: Annotated[list[SubmitItem], Meta(max_length=ITEMS_A_FRAME_MAX)]


class ItemRefused(Array):
    """Why the item at `index` was refused."""

    index: Number
    code: Name
    message: str
    fields: Fields = {}


class Submitted(Struct, array_like=True, tag=22, gc=False):
    """The answer to both. `outcomes` is empty when every item was accepted, which is nearly always."""

    request: Number
    position: Number
    outcomes: Annotated[list[Outcome], Meta(max_length=ITEMS_A_FRAME_MAX)] = []
    refused: Annotated[list[ItemRefused], Meta(max_length=ITEMS_A_FRAME_MAX)] = []


class BulkStage(Struct, array_like=True, tag=64, gc=False):
    """The part number `part`, from 0 on, of a bulk: jobs that wait until the whole bulk is committed.

    `bulk` is 16 random bytes. Parts are said in their order; one that came before is answered and adds nothing. The
    answer is `Submitted`, without outcomes.
    """

    request: Number
    bulk: BulkId
    part: Number
    items: Annotated[list[SubmitItem], Meta(max_length=BULK_PART_JOBS_MAX)]


class BulkCommit(Struct, array_like=True, tag=65, gc=False):
    """All `parts` of the bulk are there: accept its jobs. `first` is the first of them. Answered by `Submitted`."""

    request: Number
    bulk: BulkId
    parts: Number
    first: JobId


class BulkDrop(Struct, array_like=True, tag=66, gc=False):
    """The bulk will not be committed; there is no answer."""

    bulk: BulkId
