"""A journal in memory: for `memory:`, for tests, and for the simulator, with faults that can be asked for.

The `MemoryStore` holds what a disk would hold, and outlives the `MemoryJournal`s that open it one after another, or
at the same time where a fence is the subject. Its coroutines never suspend, unless a `delay` is asked for, so
`coroutine.send(None)` runs one to its end.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from enum import Enum
from typing import Final

from aioqueue.errors import AppendUnknown, Fenced, HistoryLost, JournalDamaged, JournalUnavailable
from aioqueue.journal.base import Extent, Leadership
from aioqueue.journal.batch import JOURNAL_ID_BYTES, NO_BATCH, Batch, bodies_at, peek_header
from aioqueue.journal.handle import Handle, Hold
from aioqueue.limits import BATCH_BYTES_MAX
from aioqueue.model.growth import LEVEL_FIRST

NAME = "memory:"


class MemoryStore:
    """The durable bytes: batches by position, and what `trim` notes of those that are gone."""

    def __init__(self, journal_id: bytes = b"\x01" * JOURNAL_ID_BYTES) -> None:
        self.journal_id = journal_id
        self.first = 1
        self.before = NO_BATCH
        self.batches: dict[int, bytes] = {}

    @property
    def tail(self) -> int:
        """The last position, 0 for none."""
        return next(reversed(self.batches), 0)

    def flip(self, position: int, index: int) -> None:
        """Damage: the lowest bit of the byte at `index` of a batch is the other one."""
        data = bytearray(self.batches[position])
        data[index] ^= 1
        self.batches[position] = bytes(data)

    def tear(self, position: int, length: int) -> None:
        """Damage: only the first `length` bytes of a batch are there."""
        self.batches[position] = self.batches[position][:length]

    def drop(self, position: int) -> None:
        """Damage: a batch is not there."""
        del self.batches[position]

    def swap(self, one: int, other: int) -> None:
        """Damage: two batches stand in each other's place."""
        self.batches[one], self.batches[other] = self.batches[other], self.batches[one]


class Loss(Enum):
    """What became of an append whose acknowledgement was lost."""

    WRITTEN = "written"
    NOT_WRITTEN = "not written"


class Faults:
    """What the next appends of a journal meet; an epoch record is an append too.

    `refuse` is how many are refused as `JournalUnavailable`; `lose` makes the next one an `AppendUnknown`; `delay` is
    awaited before the bytes are stored. `refuse` and `lose` are used up.
    """

    def __init__(
        self, refuse: int = 0, lose: Loss | None = None, delay: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self.refuse = refuse
        self.lose = lose
        self.delay = delay


class MemoryJournal:
    """`Journal` over a `MemoryStore`."""

    # See `Journal.batch_bytes_max`.
    batch_bytes_max: Final = BATCH_BYTES_MAX

    def __init__(self, store: MemoryStore, faults: Faults | None = None) -> None:
        self.faults = faults if faults is not None else Faults()
        self._store = store
        self._handle = Handle(NAME, store.journal_id)

    @property
    def journal_id(self) -> bytes:
        """See `Journal.journal_id`."""
        return self._handle.journal_id

    @property
    def tail(self) -> int:
        """See `Journal.tail`."""
        return self._current().tail

    async def lead(self, owner: str, wall_ms: int, level: int = LEVEL_FIRST) -> Leadership:
        """See `Journal.lead`."""
        handle = self._current()
        chain, data = handle.next_epoch(owner, wall_ms, level)
        await self._write(data)
        handle.own_epoch = chain.epoch
        return Leadership(handle.journal_id, chain.epoch, handle.tail, chain, owner, level)

    async def append(self, data: bytes, expected: int) -> int:
        """See `Journal.append`."""
        if not self._current().is_repeat(peek_header(data), expected):
            await self._write(data)
        return expected + 1

    async def read(self, after: int, last: int | None = None) -> AsyncIterator[Batch]:
        """See `Journal.read`."""
        handle = self._current()
        reader = handle.reader(after)
        while reader.expected <= min(tail := self._current().tail, last or tail):
            position = reader.expected
            data = self._store.batches.get(position)
            if data is None:
                raise HistoryLost(path=NAME, reason=f"batch {position} is missing")
            batch = reader.take(position, data)
            if position > after:
                yield batch

    async def get(self, position: int, offset: int, length: int) -> bytes:
        """See `Journal.get`."""
        self._current().check_kept(position)
        data = self._store.batches.get(position)
        if data is None:
            raise HistoryLost(path=NAME, reason=f"batch {position} is missing")
        start = bodies_at(data) + offset
        body = data[start : start + length]
        if len(body) != length:
            raise JournalDamaged(
                path=NAME, where=f"batch {position}", reason=f"it has no {length} bytes at {offset} in its bodies"
            )
        return body

    async def get_many(self, extents: Sequence[Extent]) -> list[bytes]:
        """See `Journal.get_many`."""
        return [await self.get(*extent) for extent in extents]

    def hold(self) -> Hold:
        """See `Journal.hold`."""
        return Hold(self._current())

    async def trim(self, before: int, keep_bytes: int = 0) -> None:
        """See `Journal.trim`; nothing is kept below."""
        before = self._handle.held(before)
        handle = self._current()
        handle.check_leads()
        before = min(before, handle.tail)
        if before <= handle.first:
            return
        store = self._store
        store.before = peek_header(store.batches[before]).previous
        for position in range(store.first, before):
            del store.batches[position]
        store.first = before

    async def aclose(self) -> None:
        """See `Journal.aclose`; the store keeps its bytes."""
        self._handle.close()

    def _current(self) -> Handle:
        """The handle, brought up to what the store holds: another journal may have led since."""
        handle = self._handle
        handle.check_usable()
        store = self._store
        handle.found(store.first, store.before, store.tail, store.batches.get(store.tail, b""))
        return handle

    async def _write(self, data: bytes) -> None:
        faults = self.faults
        if faults.refuse > 0:
            faults.refuse -= 1
            raise JournalUnavailable(path=NAME, reason="a fault was asked for")
        lose, faults.lose = faults.lose, None
        if faults.delay is not None:
            try:
                await faults.delay()
            except CancelledError:
                self._store_nowait(data, lose)
                raise
        self._store_nowait(data, lose)

    def _store_nowait(self, data: bytes, lose: Loss | None) -> None:
        """Compare and append; a batch whose caller was cancelled in the delay lands like one whose caller was not."""
        head = peek_header(data)
        if head.position != self._store.tail + 1:
            raise Fenced(path=NAME, epoch=self._current().epoch, own_epoch=head.epoch)
        if lose is not Loss.NOT_WRITTEN:
            self._store.batches[head.position] = data
            self._handle.landed(head)
        if lose is not None:
            raise self._handle.fail(AppendUnknown(path=NAME, reason="its acknowledgement was lost"))
