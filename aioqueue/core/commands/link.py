"""What is said of a session's connection: what it can take, that it is gone, that something was heard."""

from __future__ import annotations

from msgspec import Struct


class DeclareOffer(Struct, gc=False):
    """A worker says what it knows: constants of its connection, said after a resume and before the first capacity.

    `tasks` are pairs of a name and the class of slots that its runs take (see `SlotClass`); None takes every task.
    With `all_queues` a capacity that names no queue is of every queue of the namespace.
    """

    session: int
    link: int = 0
    tasks: tuple[tuple[str, int], ...] | None = None
    labels: tuple[str, ...] = ()
    all_queues: bool = False


class OfferCapacity(Struct, gc=False):
    """A worker says how many runs it will hold, and of which queues: `slots` are those of coroutines and threads, and
    `process_slots` those of tasks that it declared to run in processes. Without a declaration all are `slots`.
    """

    session: int
    slots: int
    queues: tuple[str, ...]
    link: int = 0
    process_slots: int = 0


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
