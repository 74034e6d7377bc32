"""The seam between the broker and the bytes at rest: eight calls, three facts, and what they promise.

One instance is one partition. Errors are facts, or say that they are not:

* `Fenced`: another epoch owns the position; nothing was written. Step down.
* `JournalUnavailable`: nothing was written. Append the same bytes at the same position again, effects held.
* `AppendUnknown`: the batch may or may not be there. The instance is finished; a new one, its `lead` and its `read`
  tell.
* `HistoryLost`, `JournalDamaged`: confirmed data is missing, or not what was written. Never go on by itself.
* `JournalFailed`: the instance failed before, or was closed. Every later call says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from aioqueue.journal.batch import Batch, Chain
from aioqueue.journal.handle import Hold
from aioqueue.model.growth import LEVEL_FIRST


class Leadership(NamedTuple):
    """The right to append. `position` is the journal's last, that of this epoch's own record.

    `owner` and `level` are what that record says; see `Journal.lead`.
    """

    journal_id: bytes
    epoch: int
    position: int
    chain: Chain
    owner: str = ""
    level: int = LEVEL_FIRST


class Extent(NamedTuple):
    """`length` bytes from `offset` in the bodies of the batch at `position`."""

    position: int
    offset: int
    length: int


class Journal(Protocol):
    """An append-only list of batches, positions 1, 2, 3, ... without gaps."""

    @property
    def journal_id(self) -> bytes:
        """Which journal it is: its archive carries the same id, and no other journal has it."""
        ...

    @property
    def batch_bytes_max(self) -> int:
        """How many bytes a batch may have, its header included, and no more than `Chain.encode` ever makes."""
        ...

    @property
    def tail(self) -> int:
        """The last position that this instance knows to be durable; 0 for none."""
        ...

    async def lead(self, owner: str, wall_ms: int, level: int = LEVEL_FIRST) -> Leadership:
        """Take the next epoch by appending its record; every older epoch is fenced for ever.

        `owner` is kept for people to read and must differ between contenders (host, process, start). `level` is the
        format level that the record states: what there is and what follows needs no higher one to be read.
        """
        ...

    async def append(self, data: bytes, expected: int) -> int:
        """Make a batch of the leadership's chain durable behind position `expected`; returns `expected + 1`.

        The epoch record of `Chain.renew` is such a batch: who leads goes on in the next epoch, and it is compared like
        any other, so a leader that was deposed does not come back by it.

        Exactly one append is in flight. When it returns, a power cut does not take the batch. A caller that is
        cancelled neither stops nor repeats it: the same bytes at the same position are one batch, however often they
        are appended. Raises the errors above; a batch that is not the next one is a `JournalFailed`.
        """
        ...

    def read(self, after: int, last: int | None = None) -> AsyncIterator[Batch]:
        """All batches behind position `after`, ascending, gapless, each verified; 0 is from the first one kept.

        Ends at position `last`, or at the last batch that was durable when it got there. `HistoryLost` if `after` lies
        beyond the journal's end, below what was trimmed, or is overtaken by a trim.
        """
        ...

    async def get(self, position: int, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` in the bodies of one batch, as stored: the caller holds their CRC.

        No trim takes the batch while it is read. `HistoryLost` if it is not there, `JournalDamaged` if it is shorter.
        """
        ...

    async def get_many(self, extents: Sequence[Extent]) -> list[bytes]:
        """The same for many, in their order, in one go: a writer waits for all of it, so ask for little at a time."""
        ...

    def hold(self) -> Hold:
        """Keep all that is kept now, and what follows, from every trim, until `Hold.release`; for a long reading."""
        ...

    async def trim(self, before: int, keep_bytes: int = 0) -> None:
        """Batches below position `before` are needed no more; only the leader says so, else it is `Fenced`.

        From here on the first one kept is `before`: that is on the disk when this returns, and reading begins there.
        Those below it may stay for people and for salvage, the newest of them, while all that is stored is no more
        than about `keep_bytes`. Advisory, repeatable; the last batch always stays.
        """
        ...

    async def aclose(self) -> None:
        """Wait for what is in flight and let go of the files; never raises for a journal that failed."""
        ...
