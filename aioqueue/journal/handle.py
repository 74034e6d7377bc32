"""What every open journal knows of itself: where it begins and ends, who leads, and whether it may still be used.

Pure bookkeeping shared by all that implement the seam, so that they refuse the same calls with the same words.
"""

from __future__ import annotations

from typing import Final, TypeVar

from aioqueue.errors import Fenced, HistoryLost, JournalError, JournalFailed
from aioqueue.journal.batch import NO_BATCH, BatchKind, Chain, ChainReader, Header
from aioqueue.journal.epoch import epoch_payload

CLOSED: Final = "it was closed"

_Error = TypeVar("_Error", bound=JournalError)


class Hold:
    """Keeps all that a journal has now from being trimmed, until `release`."""

    def __init__(self, handle: Handle) -> None:
        self.first = handle.first
        self._handle = handle
        handle.holds.add(self)

    def release(self) -> None:
        """Let go; a second call does nothing."""
        self._handle.holds.discard(self)


class Handle:
    """One open journal.

    `first` is the lowest position kept and `before` the id of the batch below it; `tail` and `tail_id` are the last
    batch's, `epoch` its epoch, `own_epoch` the one this instance leads (0 for none). `failed` is whether `fail` was
    called.
    """

    __slots__ = (
        "_broken",
        "before",
        "epoch",
        "failed",
        "first",
        "holds",
        "journal_id",
        "own_epoch",
        "path",
        "tail",
        "tail_id",
    )

    def __init__(self, path: str, journal_id: bytes) -> None:
        self.path = path
        self.journal_id = journal_id
        self.first = 1
        self.before = NO_BATCH
        self.tail = 0
        self.tail_id = NO_BATCH
        self.epoch = 0
        self.own_epoch = 0
        self.failed = False
        self.holds: set[Hold] = set()
        self._broken: str | None = None

    def held(self, before: int) -> int:
        """Up to where a trim may go that would go up to `before`."""
        return min((before, *(hold.first for hold in self.holds)))

    def check_usable(self) -> None:
        """`JournalFailed` if this instance failed before or was closed."""
        if self._broken is not None:
            raise JournalFailed(path=self.path, reason=self._broken)

    def check_leads(self) -> None:
        """`Fenced` if this instance does not lead, or another one does since; `JournalFailed` if it is finished."""
        self.check_usable()
        if not 0 < self.own_epoch == self.epoch:
            raise Fenced(path=self.path, epoch=self.epoch, own_epoch=self.own_epoch)

    def fail(self, error: _Error) -> _Error:
        """No later call gets through; the error is handed back, to be raised. The first failure is remembered."""
        self.failed = True
        if self._broken is None:
            self._broken = str(error.fields.get("reason", error))
        return error

    def close(self) -> None:
        """Later calls are told that the journal was closed, unless it failed before."""
        if self._broken is None:
            self._broken = CLOSED

    def next_epoch(self, owner: str, wall_ms: int, level: int) -> tuple[Chain, bytes]:
        """The chain of a new leadership, and the bytes of its epoch record."""
        chain = Chain(self.journal_id, self.epoch, self.tail, self.tail_id)
        return chain, chain.renew(wall_ms, epoch_payload(owner, level))

    def is_repeat(self, head: Header, expected: int) -> bool:
        """Whether the batch is already the journal's last one; False if it is the next one.

        `Fenced` if another epoch owns the journal; `JournalFailed`, for good, if it is neither.
        """
        # A leader's own next epoch begins behind its last batch like any batch.
        begins = head.kind == BatchKind.EPOCH and head.position == self.tail + 1
        own = head.epoch - begins == self.own_epoch == self.epoch
        if not own:
            raise Fenced(path=self.path, epoch=self.epoch, own_epoch=head.epoch)
        if head.position == expected + 1:
            if expected == self.tail and head.previous == self.tail_id:
                return False
            if expected + 1 == self.tail and head.batch_id == self.tail_id:
                return True
        raise self.fail(
            JournalFailed(
                path=self.path,
                reason=f"batch {head.position} was appended behind {expected}, but the journal ends at {self.tail}",
            )
        )

    def found(self, first: int, before: bytes, tail: int, data: bytes) -> None:
        """What the storage holds: its lowest and last position, and the last batch's bytes (both empty for none).

        A storage that ends below the tail known here changes nothing: reading then tells what is missing. Raises as
        `ChainReader.take`, and `HistoryLost` for a journal that was trimmed and holds nothing.
        """
        self.first = first
        self.before = before
        if tail < first and first > 1:
            raise HistoryLost(path=self.path, reason=f"all batches from {first} on are missing")
        if tail > self.tail:
            batch = ChainReader(self.path, self.journal_id, tail, None).take(tail, data)
            self.tail = tail
            self.tail_id = batch.batch_id
            self.epoch = batch.epoch

    def landed(self, head: Header) -> None:
        """The batch is durable, and is the tail now."""
        if self.own_epoch == self.epoch:
            self.own_epoch = head.epoch
        self.tail = head.position
        self.tail_id = head.batch_id
        self.epoch = head.epoch

    def check_kept(self, position: int) -> None:
        """`HistoryLost` if the journal does not hold the position."""
        if not self.first <= position <= self.tail:
            raise HistoryLost(
                path=self.path, reason=f"batch {position} is asked for, kept are {self.first} to {self.tail}"
            )

    def reader(self, after: int) -> ChainReader:
        """A reader for the batches behind `after`; it begins at `after` itself where that is kept, to check the link.

        `HistoryLost` if `after` is beyond the tail or below what is kept; 0 is from the first one kept.
        """
        if self.first <= after:
            self.check_kept(after)
            return ChainReader(self.path, self.journal_id, after, None)
        if 0 < after < self.first - 1:
            self.check_kept(after)
        return ChainReader(self.path, self.journal_id, self.first, self.before)
