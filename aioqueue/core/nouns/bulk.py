"""A bulk: jobs that are accepted together, in parts that came one after the other."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from msgspec import Struct

from aioqueue.limits import JOB_ID_BYTES
from aioqueue.model.states import BulkPhase


class Part(Struct, gc=False):
    """Jobs of a bulk that were staged together: their ids, 16 bytes each, and the place of the first in the bulk.
    `home` is the position of the batch that tells of it.
    """

    first: int
    ids: bytes
    home: int

    @property
    def end(self) -> int:
        """The place behind the last."""
        return self.first + len(self.ids) // JOB_ID_BYTES


class Bulk:
    """Jobs that are accepted together, in more parts than a batch can hold. Of the `total` that were staged in `staged`
    parts the first `freed` wait for it no more; `parts` are those with jobs that do, in their order.
    """

    __slots__ = ("closed_at", "freed", "heard_ms", "id", "namespace", "parts", "phase", "staged", "total")

    def __init__(self, bulk_id: bytes, namespace: str) -> None:
        self.id = bulk_id
        self.namespace = namespace
        self.phase = BulkPhase.OPEN
        self.staged = 0
        self.total = 0
        self.freed = 0
        # The batch that committed or dropped it: in that order bulks are worked off.
        self.closed_at = 0
        self.parts: list[Part] = []
        # Of this process only, like a session's.
        self.heard_ms = 0

    def waiting(self) -> Iterator[bytes]:
        """The ids of the jobs that were not freed, in their order; some of them may be over."""
        for part in self.parts:
            begin = max(0, self.freed - part.first) * JOB_ID_BYTES
            for start in range(begin, len(part.ids), JOB_ID_BYTES):
                yield part.ids[start : start + JOB_ID_BYTES]

    def place_of(self, first: int) -> int:
        """The index among `parts` of the one that begins with this job, or would."""
        return bisect_left(self.parts, first, key=_first_of)

    def part_at(self, first: int) -> Part | None:
        """The part that begins with this job, while any of its jobs waits."""
        index = self.place_of(first)
        return self.parts[index] if index < len(self.parts) and self.parts[index].first == first else None


def _first_of(part: Part) -> int:
    return part.first
