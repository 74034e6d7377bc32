"""Where a broker keeps its jobs, as one thing: what `opening` makes of an address, and a `Follower` replays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from aioqueue.archive.base import Archive
from aioqueue.broker.room import Room
from aioqueue.journal.base import Journal
from aioqueue.limits import BODY_CACHE_BYTES, JOURNAL_BOUND_BYTES, JOURNAL_HISTORY_BYTES


class JournalBounds(NamedTuple):
    """How long the log may be (or twice what lives), and how much more the file may have of what lies below it."""

    log_bytes: int = JOURNAL_BOUND_BYTES
    history_bytes: int = JOURNAL_HISTORY_BYTES


USUAL_BOUNDS: Final = JournalBounds()


class Storage(NamedTuple):
    """A journal that is open and not led, and how its archive is opened, by the journal's id.

    `name` is what people call it, for errors and logs: a path, or an address. `room` watches over the space that is
    left, None where nobody looks. `body_cache_bytes` bounds what is held of the arguments of living jobs; it is None
    where the journal `keeps` nothing that could be read again, and then there is nothing to trim or to back up either.
    `created` is the path of a journal that was not there before.
    """

    name: str
    journal: Journal
    open_archive: Callable[[bytes], Awaitable[Archive]]
    room: Room | None = None
    body_cache_bytes: int | None = BODY_CACHE_BYTES
    bounds: JournalBounds | None = USUAL_BOUNDS
    keeps: bool = True
    created: str = ""
