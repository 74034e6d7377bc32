"""Running a broker: what only who answers for its files asks."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from aioqueue.limits import FRAME_BYTES_MAX
from aioqueue.protocol.messages.base import Number


class ReadBackup(Struct, array_like=True, tag=67, gc=False):
    """The next part of a backup: part 0 begins one, and ends another that this connection may have begun."""

    request: Number
    part: Number


class BackupPart(Struct, array_like=True, tag=68, gc=False):
    """The answer to `ReadBackup`: bytes as `protocol.backup` makes them. `last` says that nothing follows."""

    request: Number
    data: Annotated[bytes, Meta(max_length=FRAME_BYTES_MAX)]
    last: bool = False
