"""What the shell itself asks: to keep the journal short, and to know of the machine."""

from __future__ import annotations

from msgspec import Struct

from aioqueue.core.named import Item
from aioqueue.errors import Refused


class CarriedJob(Struct, gc=False):
    """A job that lived with its home at `home`, and its arguments as they stand there."""

    id: bytes
    home: int
    body: bytes


class CarriedItem(Struct, gc=False):
    """Another item that had its home at `home`."""

    item: Item
    home: int


class CarryItems(Struct, gc=False):
    """Write the records of these again, so that nobody needs the old ones. Answered by how many bytes that took.

    What is over, or has another home by now, is passed over: what was seen of it is not so any more.
    """

    jobs: list[CarriedJob]
    items: list[CarriedItem]


class MoveBase(Struct, gc=False):
    """Let recovery begin at `base`. Answered by whether it may: nothing has its home below.

    `head` is a position at which that was so already; the archive has all that ended up to there.
    """

    base: int
    head: int


class SkipTime(Struct, gc=False):
    """The partition itself was late by `gap_ms` (stopped, suspended, stalled): no session and no bulk is to blame."""

    gap_ms: int


class LimitAdmission(Struct):
    """The shell looked at its disk: no new jobs from now on, and why; None opens again."""

    shut: Refused | None
