"""Where in the journal the items live that recovery needs: living jobs, journaled sessions, and parts of bulks.

The **home** of an item is the batch that holds its whole record: a job's submit, a session's opening, a part's staging,
or where any of them was carried to. Everything that happened to it since stands behind its home, so what lies below the
lowest home is history. Homes are counted, some positions at a time: a million
jobs in a million batches must not cost another record each. So the lowest home is known to a few batches, and never
said to be higher than it is.

Only `apply` changes it. Who looks for the items themselves reads the batches (`broker.compaction`).
"""

from __future__ import annotations

from collections.abc import Iterator

from aioqueue.core.nouns import Job
from aioqueue.core.places import length_in
from aioqueue.limits import HOME_POSITIONS, ITEM_BYTES


def job_bytes(job: Job) -> int:
    """About what the job's record takes in the journal, its arguments included."""
    size = ITEM_BYTES + len(job.spec.packed) + length_in(job.place)
    return size if job.rare is None else size + len(job.rare.extra or b"")


def place_of(home: int) -> int:
    """Where a home is counted."""
    return home // HOME_POSITIONS


class Homes:
    """Counts of items by their homes."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        # A new home is always the highest, so the counts stand in order.
        self._counts: dict[int, int] = {}

    def add(self, home: int) -> None:
        """An item has its home here now."""
        # Twice a job, and a call of `place_of` costs as much as the rest.
        place = home // HOME_POSITIONS
        self._counts[place] = self._counts.get(place, 0) + 1

    def remove(self, home: int) -> None:
        """An item is over, or has another home."""
        place = home // HOME_POSITIONS
        left = self._counts[place] - 1
        if left:
            self._counts[place] = left
        else:
            del self._counts[place]

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
