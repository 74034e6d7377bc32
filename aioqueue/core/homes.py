"""Where in the journal the items live that recovery needs: living jobs, and sessions that are journaled.

The **home** of an item is the batch that holds its whole record: a job's submit, a session's opening, or where either
was carried to. Everything that happened to it since stands behind its home, so what lies below the lowest home is
history. Homes are counted, some positions at a time: a million jobs in a million batches must not cost another record
each. So the lowest home is known to a few batches, and never said to be higher than it is.

Only `apply` changes it. Who looks for the items themselves reads the batches (`broker.compaction`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from aioqueue.limits import HOME_POSITIONS, ITEM_BYTES

if TYPE_CHECKING:
    from aioqueue.core.state import Job

SESSION_BYTES: Final = ITEM_BYTES
# A part of a bulk is no more than its place in the journal: it is never carried, and is over when the bulk is.
PART_BYTES: Final = ITEM_BYTES


def job_bytes(job: Job) -> int:
    """What the job's record weighs in the journal, its arguments included; about, and always the same."""
    return ITEM_BYTES + len(job.spec.packed) + job.body_bytes + len(job.extra or b"")


def place_of(home: int) -> int:
    """Where a home is counted."""
    return home // HOME_POSITIONS


class Homes:
    """Counts of items by their homes. `items_bytes` is what all of them weigh."""

    __slots__ = ("_counts", "items_bytes")

    def __init__(self) -> None:
        # A new home is always the highest, so the counts stand in order.
        self._counts: dict[int, int] = {}
        self.items_bytes = 0

    def add(self, home: int, item_bytes: int) -> None:
        """An item has its home here now."""
        place = place_of(home)
        self._counts[place] = self._counts.get(place, 0) + 1
        self.items_bytes += item_bytes

    def remove(self, home: int, item_bytes: int) -> None:
        """An item is over, or has another home."""
        place = place_of(home)
        left = self._counts[place] - 1
        if left:
            self._counts[place] = left
        else:
            del self._counts[place]
        self.items_bytes -= item_bytes

    def oldest(self) -> int | None:
        """A position that no item has its home below; None where there is no item."""
        place = next(iter(self._counts), None)
        return None if place is None else place * HOME_POSITIONS

    def below(self, position: int) -> Iterator[tuple[int, int]]:
        """The ranges of positions, first and last, that hold homes below `position`, lowest first.

        What changes in between is met or not; a range that was passed gets no new home.
        """
        last = -1
        while (place := next((place for place in self._counts if place > last), None)) is not None:
            if place * HOME_POSITIONS >= position:
                return
            yield place * HOME_POSITIONS, min(position, (place + 1) * HOME_POSITIONS) - 1
            last = place

    def counted(self) -> dict[int, int]:
        """How many items have their homes in each part of the journal; for whoever checks."""
        return dict(self._counts)
