"""What is said of a session's connection: what it can take, that it is gone, that something was heard."""

from __future__ import annotations

from msgspec import Struct


class OfferCapacity(Struct, gc=False):
    """A worker says how many runs it will hold, and of which queues."""

    session: int
    slots: int
    queues: tuple[str, ...]
    link: int = 0


class LoseLink(Struct, gc=False):
    """The session's connection is gone. Its leases live on until its time is up."""

    session: int
    link: int = 0


class ThrottleLink(Struct, gc=False):
    """The session's connection has as many runs waiting to be sent as it may have, or has room again."""

    session: int
    throttled: bool
    link: int = 0


class HearSession(Struct, gc=False):
    """Something was heard of the session."""

    session: int
