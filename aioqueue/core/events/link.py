"""What is so in this process only, and is never journaled: connections, monotonic time, the state of the disk."""

from __future__ import annotations

from msgspec import Struct

from aioqueue.core.events.sessions import SessionOpened
from aioqueue.errors import Refused


class LinkChanged(Struct, gc=False):
    """Not journaled: a session's connection and capacity. `opened` is there when the session is new.

    `since_fence` is the next fence where a connection begins, 0 where it only changes. One that begins has declared
    nothing yet; `about` is what its process says of itself.
    """

    number: int
    connected: bool
    slots: int
    queues: tuple[str, ...]
    heard_ms: int
    opened: SessionOpened | None = None
    since_fence: int = 0
    link: int = 0
    process_slots: int = 0
    about: str = ""


class LinkDeclared(Struct, gc=False):
    """Not journaled: what the session takes for as long as this connection lasts."""

    number: int
    tasks: tuple[tuple[str, int], ...] | None
    labels: frozenset[str]
    all_queues: bool


class LinkThrottled(Struct, gc=False):
    """Not journaled: the session's connection takes no more runs for now, or takes them again."""

    number: int
    throttled: bool


class TaskReopened(Struct, gc=False):
    """Not journaled: the session may get jobs of this task again, for nobody else is left who takes them."""

    number: int
    task: str


class SessionHeard(Struct, gc=False):
    """Not journaled: the session was heard of at this monotonic time."""

    number: int
    heard_ms: int


class BulkHeard(Struct, gc=False):
    """Not journaled: the client that stages the bulk was heard of it at this monotonic time."""

    bulk: bytes
    heard_ms: int


class SessionForgotten(Struct, gc=False):
    """Not journaled: a session that never held a lease is over."""

    number: int


class AdmissionChanged(Struct):
    """Not journaled: what is on the disk allows no new jobs, or does again."""

    shut: Refused | None
