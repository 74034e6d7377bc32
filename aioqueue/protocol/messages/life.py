"""Beginning, keeping and ending a connection, and what either side may say at any time.

Until a connection is welcomed nothing but these is said on it, in frames of at most `STRANGER_FRAME_BYTES_MAX`.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Annotated, Final

from msgspec import Meta, Struct

from aioqueue.limits import ABOUT_BYTES_MAX, PROCESS_ID_BYTES
from aioqueue.protocol.messages.base import Fields, Name, Number, Text

PROTOCOL_VERSION: Final = 1
PROTOCOL_VERSION_MIN: Final = 1


class Role(IntEnum):
    """What a connection is for."""

    CLIENT = 1
    WORKER = 2
    HEARTBEAT = 3


class Capability(IntFlag):
    """What a broker may be able to do beyond the beginnings of version 1.

    `FILTERS`: pages by time, id and error, and pages that are short and not the last. `RUNS`: tells all runs of a job.
    `BACKUP`: gives a copy of journal and archive. `CONTROL`: hears what workers declare, and gives them no other jobs.
    """

    FILTERS = 1
    RUNS = 2
    BACKUP = 4
    CONTROL = 8


class Ping(Struct, array_like=True, tag=1, gc=False):
    """Answer `Pong` with the same number, at once."""

    number: int = 0


class Pong(Struct, array_like=True, tag=2, gc=False):
    number: int = 0


class Refusal(Struct, array_like=True, tag=3, gc=False):
    """The answer to a request that was refused; with request 0 it is about the connection, which then closes."""

    request: Number
    code: Name
    message: str
    fields: Fields = {}


class Hello(Struct, array_like=True, tag=10, gc=False):
    """The first message of a client. `secret` is the session's 16 random bytes; the same secret resumes the session.

    `required` are capability bits without which the client cannot work; `capabilities` those it would use. `about` is
    a packed map of str to str, as headers are, and `process` the same in every Hello of a process. `epoch_seen` is the
    epoch in which `position_seen` was told; 0 is a client that keeps none.
    """

    version_min: Number
    version_max: Number
    role: Role
    secret: Annotated[bytes, Meta(min_length=16, max_length=16)]
    namespace: Name = "default"
    name: Name = ""
    credentials: Annotated[bytes, Meta(max_length=1024)] = b""
    capabilities: Number = 0
    required: Number = 0
    journal_id: Annotated[bytes, Meta(max_length=16)] = b""
    position_seen: Number = 0
    about: Annotated[bytes, Meta(max_length=ABOUT_BYTES_MAX)] = b""
    process: Annotated[bytes, Meta(max_length=PROCESS_ID_BYTES)] = b""
    epoch_seen: Number = 0


class Welcome(Struct, array_like=True, tag=11, gc=False):
    """The broker's answer to `Hello`. `fresh` says that no session was known by this secret before."""

    version: Number
    session: Number
    fresh: bool
    journal_id: bytes
    epoch: Number
    position: Number
    session_ttl_ms: Number
    partitions: Number = 1
    hash_version: Number = 1
    capabilities: Number = 0


class Goodbye(Struct, array_like=True, tag=12, gc=False):
    """The session ends in good order: its leases are given back in place, nothing of it is kept."""

    reason: Text = ""


class Closing(Struct, array_like=True, tag=13, gc=False):
    """The broker stops: finish reading, then connect again, to it or its successor."""

    reason: Text = ""
