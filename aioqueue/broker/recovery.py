"""How far a recovery is, for people: a line of the log for each second of a long one, and what it read in the end."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from aioqueue.core.partition import Partition
from aioqueue.ground import Ground
from aioqueue.model.sizes import count_text

log = logging.getLogger(__name__)


# How often a long recovery says how far it is.
TELL_MS: Final = 1_000


class Recovered(NamedTuple):
    """What recovery read, up to which position, and how long it took."""

    batches: int
    events: int
    position: int
    took_ms: int


class Progress:
    """A line of the log for each second."""

    def __init__(self, path: str, tail: int, partition: Partition, ground: Ground) -> None:
        self.batches = 0
        self.events = 0
        self._path = path
        self._tail = tail
        self._partition = partition
        self._ground = ground
        self._began_ms = self._told_ms = ground.now().mono_ms

    @property
    def took_ms(self) -> int:
        return self._ground.now().mono_ms - self._began_ms

    def add(self, position: int, events: int) -> None:
        """A batch was replayed."""
        self.batches += 1
        self.events += events
        now_ms = self._ground.now().mono_ms
        if now_ms - self._told_ms >= TELL_MS:
            self._told_ms = now_ms
            log.info(
                "recovering %s: position %d of %d (%d %%), %s, %s alive so far, %.1f s",
                self._path, position, self._tail, 100 * position // self._tail,
                count_text(self.events, "event"), count_text(len(self._partition.state.jobs), "job"),
                self.took_ms / 1000,
            )  # fmt: skip

    def end(self, first: int, tail: int) -> Recovered:
        """All of it was replayed, from the batch at `first` up to `tail`."""
        state, took_ms = self._partition.state, self.took_ms
        log.info(
            "recovered %s in %.1f s: %s, sessions with leases: %d; positions %d to %d, with %d events",
            self._path, took_ms / 1000, count_text(len(state.jobs), "job"), len(state.sessions), first, tail,
            self.events,
        )  # fmt: skip
        return Recovered(self.batches, self.events, tail, took_ms)
