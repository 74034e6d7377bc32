"""What is asked of a session: begin, go on after a connection was lost, end."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from aioqueue.core.commands.jobs import EndRun
from aioqueue.model.states import SessionEnd


class OpenSession(Struct, gc=False):
    """A connection says who it is. Answered by `(session number, fresh)`.

    `attach` is a heartbeat connection: it leaves the session's capacity alone, and opens none; 0 is its number where
    there is none, and it may ask again. `link` is the
    connection's number; the latest speaks for the session, and what an older one said is passed over when it comes.
    `about` is what the process says of itself, such as its version, for people.
    """

    secret_hash: bytes
    namespace: str
    name: str
    attach: bool = False
    link: int = 0
    about: str = ""


class HeldRun(Struct, gc=False):
    id: bytes
    fence: int


class ResumeSession(Struct, gc=False):
    """What a returning worker still holds. Answered by `(list of RunVerdict, list of SettleOutcome)`."""

    session: int
    held: list[HeldRun]
    settles: list[EndRun]


class RunVerdict(IntEnum):
    KEEP = 1
    CANCEL = 2
    STALE = 3


class EndSession(Struct, gc=False):
    session: int
    cause: SessionEnd
