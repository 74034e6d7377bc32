"""The log is cut while everything else happens: a compactor in miniature, which acts at the worst moments.

It is `broker.compaction` without its pace and its order: any items are carried, from any home that is on the disk, and
each of its steps (carry, see that a base is free, record it, trim) may be the last one before a crash.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

from aioqueue.broker import span
from aioqueue.broker.storage import USUAL_BOUNDS, JournalBounds
from aioqueue.core import commands as c
from aioqueue.core import homes
from aioqueue.core.named import Item, ItemKind
from aioqueue.core.places import unpack_place
from tests.simulator.broker import Broker, run

# The log is cut in every second world from this seed on; those below are as they were without.
CUTTING_SEEDS: Final = 1_000


def is_cutting(seed: int) -> bool:
    return seed >= CUTTING_SEEDS and seed % 2 == 1


def cutting_bounds(seed: int) -> JournalBounds:
    """How long the log of a real broker may be in this world."""
    return JournalBounds(4_000, 0) if is_cutting(seed) else USUAL_BOUNDS


@contextmanager
def homes_counted_by(positions: int) -> Iterator[None]:
    """Let the base move in steps of so few positions, for the worlds are small."""
    usual = homes.HOME_POSITIONS
    homes.HOME_POSITIONS = span.HOME_POSITIONS = positions  # type: ignore[misc, attr-defined]
    try:
        yield
    finally:
        homes.HOME_POSITIONS = span.HOME_POSITIONS = usual  # type: ignore[misc, attr-defined]


class Retention:
    """What one life of a broker has begun to cut."""

    def __init__(self, broker: Broker, rng: Random) -> None:
        self._broker = broker
        self._rng = rng
        # A base below which nothing lived any more, and a position at which that was so.
        self._seen: tuple[int, int] | None = None

    def act(self) -> None:
        """Any of its steps."""
        self._rng.choice((self.carry, self.carry, self.carry, self.see, self.record, self.trim))()

    def carry(self) -> None:
        """Some items, mostly the oldest; what becomes of them before this is decided is not known."""
        broker, rng = self._broker, self._rng
        state = broker.partition.state
        jobs = sorted((job for job in state.jobs.values() if job.home <= broker.durable), key=lambda job: job.home)
        sessions = [each for each in state.sessions.values() if 0 < each.home <= broker.durable]
        if rng.random() < 0.3:
            rng.shuffle(jobs)
        some = [c.CarriedJob(job.id, job.home, self._body(job.home, job.place)) for job in jobs[: rng.randint(0, 8)]]
        with_them = [
            c.CarriedItem(Item(ItemKind.SESSION, each.number), each.home) for each in sessions if rng.random() < 0.7
        ]
        parts = [
            c.CarriedItem(Item(ItemKind.PART, (bulk.id, part.first)), part.home)
            for bulk in state.bulks.values()
            for part in bulk.parts
            if part.home <= broker.durable and rng.random() < 0.7
        ]
        tasks = [
            c.CarriedItem(Item(ItemKind.TASK, task.key), task.home)
            for task in state.registry
            if task.home <= broker.durable and rng.random() < 0.7
        ]
        if some or with_them or parts or tasks:
            broker.post(c.CarryItems(some, [*with_them, *parts, *tasks]))

    def _body(self, home: int, place: int) -> bytes:
        where = unpack_place(place)
        return run(self._broker.journal.get(home, where.offset, where.length))

    def see(self) -> None:
        """Whether something may be cut, as far as is decided now."""
        broker = self._broker
        state = broker.partition.state
        oldest = state.homes.oldest()
        base = broker.durable if oldest is None else min(oldest, broker.durable)
        if base > state.base:
            self._seen = base, broker.position

    def record(self) -> None:
        """The base moves once the archive has all that ended until it was seen."""
        if self._seen is not None and self.is_archived(self._seen[1]):
            base, head = self._seen
            self._seen = None
            self._broker.post(c.MoveBase(base, head))

    def is_archived(self, position: int) -> bool:
        return self._broker.archive.synced >= position

    def trim(self) -> None:
        """What is behind a base whose record is durable goes, unless somebody reads there."""
        broker = self._broker
        if broker.store.first < self.base() and not self.is_read():
            run(broker.journal.trim(self.base()))

    def is_read(self) -> bool:
        """Whether arguments are read where they lay before they were carried."""
        oldest = self._broker.oldest_read()
        return oldest is not None and oldest < self.base()

    def base(self) -> int:
        return self._broker.base
