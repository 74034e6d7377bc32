"""Where in the journal the items live that recovery needs: living jobs, and all else by name.

The **home** of an item is the batch that holds its whole record: a job's submit, a session's opening, a part's staging,
a task's setting, or where any of them was carried to. Everything that happened to it since stands behind its home, so
what lies below the lowest home is history. Jobs are counted by their homes, some positions at a time: a million
jobs in a million batches must not cost another record each. So the lowest home is known to a few batches, and never
said to be higher than it is. Who looks for the jobs themselves reads the batches (`broker.compaction`).

What is no job is rare, and stands here by its name: a range of the journal knows its items without a look at all of
them.

Only `apply` changes it.
"""

from __future__ import annotations

from collections.abc import Iterator

from aioqueue.core.named import Item
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
    """Counts of jobs by their homes, and the names of all other items by theirs."""

    __slots__ = ("_counts", "_rare")

    def __init__(self) -> None:
        # A new home is always the highest, so both stand in order.
        self._counts: dict[int, int] = {}
        self._rare: dict[int, dict[Item, None]] = {}

    def add(self, home: int) -> None:
        """A job has its home here now."""
        # Twice a job, and a call of `place_of` costs as much as the rest.
        place = home // HOME_POSITIONS
        self._counts[place] = self._counts.get(place, 0) + 1

    def remove(self, home: int) -> None:
        """A job is over, or has another home."""
        place = home // HOME_POSITIONS
        left = self._counts[place] - 1
        if left:
            self._counts[place] = left
        else:
            del self._counts[place]

    def settle(self, item: Item, home: int) -> None:
        """An item that is no job has its home here now."""
        self._rare.setdefault(place_of(home), {})[item] = None

    def leave(self, item: Item, home: int) -> None:
        """It is over, or has another home."""
        place = place_of(home)
        named = self._rare[place]
        del named[item]
        if not named:
            del self._rare[place]

    def oldest(self) -> int | None:
        """A position that no item has its home below; None where there is no item."""
        places = [place for each in (self._counts, self._rare) if (place := next(iter(each), None)) is not None]
        return min(places) * HOME_POSITIONS if places else None

    def below(self, position: int) -> Iterator[tuple[int, int]]:
        """The ranges of positions, first and last, that hold homes below `position`, lowest first.

        What changes in between is met or not; a range that was passed gets no new home.
        """
        last = -1
        while (place := self._next_behind(last)) is not None:
            if place * HOME_POSITIONS >= position:
                return
            yield place * HOME_POSITIONS, min(position, (place + 1) * HOME_POSITIONS) - 1
            last = place

    def _next_behind(self, last: int) -> int | None:
        places = [next((place for place in each if place > last), None) for each in (self._counts, self._rare)]
        return min((place for place in places if place is not None), default=None)

    def named_in(self, first: int, last: int) -> list[Item]:
        """The items that are no jobs and have their homes where these positions are counted."""
        return [item for place in range(place_of(first), place_of(last) + 1) for item in self._rare.get(place, ())]

    def counted(self) -> dict[int, int]:
        """How many jobs have their homes in each part of the journal; for whoever checks."""
        return dict(self._counts)

    def named(self) -> dict[int, list[Item]]:
        """The other items in each part of the journal; for whoever checks."""
        return {place: list(named) for place, named in self._rare.items()}
