"""The seam between a broker and the space that its storage has left: three facts, and what they promise.

`disk` looks at files. Whatever else a journal may lie on has a look of its own; the broker only wants to know whether
new jobs may come in.
"""

from __future__ import annotations

from typing import Protocol

from aioqueue.errors import DiskLow, Refused


class Room(Protocol):
    """What the last `look` saw: `free` bytes, `needed` of which must stay free, and `low` while they are fewer."""

    free: int
    needed: int
    low: DiskLow | None

    @property
    def shut(self) -> Refused | None:
        """Why new jobs are not taken; None while they are."""
        ...

    def look(self) -> bool:
        """Look; whether `shut` has changed. It may wait for the storage, so it belongs into a thread."""
        ...

    def close(self) -> None:
        """The broker ends in good order: leave nothing behind that was laid down for it."""
        ...
