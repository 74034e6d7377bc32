"""SQLite's write-ahead log, read by its own bytes before SQLite sees it (the SQLite file format, "The WAL File").

SQLite takes the log up to the last commit before the first frame that does not verify, and drops the rest without a
word: one flipped bit, and every later append is gone from a file that then calls itself whole. Here the rest is looked
at. An append is acknowledged when its frames are synced, and the next one is written after that, so of all that lies
behind the first bad frame only one append can be a torn one that nobody was told of. A trace of a second one means
that the first was acknowledged: that is lost history.

Frames of older generations, with other salts, lie behind the newest one's in a log that was begun again; they were
folded into the file before that, and mean nothing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from operator import mul
from typing import BinaryIO, Final, NamedTuple

from aioqueue.errors import JournalError
from aioqueue.journal.pages import header_of, rows_of
from aioqueue.limits import JOURNAL_PAGE_BYTES

SUFFIX: Final = "-wal"
HEADER_BYTES: Final = 32
FRAME_BYTES: Final = 24 + JOURNAL_PAGE_BYTES
_HEADER: Final = struct.Struct(">IIII8sII")
_FRAME: Final = struct.Struct(">II8sII")
# The last bit is the byte order of the words that checksums are made of.
_MAGIC: Final = 0x377F0682
_ORDERS: Final = ("<", ">")
# What of header and frame the checksums cover.
_HEADER_SUMMED: Final = 24
_FRAME_SUMMED: Final = 8
_MASK: Final = 0xFFFFFFFF

_Sum = tuple[int, int]


class Frame(NamedTuple):
    """One frame: a page, and whether it is one of the newest generation's.

    `number` counts from 1. `size` is the file's size in pages after the commit that this frame ends, 0 within one.
    `own` is whether it has the generation's salts, `follows` whether its checksum goes on from that of the frame before
    it as that stands there.
    """

    number: int
    page: int
    size: int
    own: bool
    follows: bool
    data: bytes

    @property
    def sound(self) -> bool:
        """Whether it is what was written; SQLite also asks that all frames before it are."""
        return self.own and self.follows and self.page > 0


class WalScan(NamedTuple):
    """What the log holds. `frames` are the whole ones, `committed` those that SQLite takes, `torn` the generation's
    behind them. `log_bytes` is the log's size.

    `lost` says why acknowledged history is missing, None where nothing shows it. `beyond` are the highest positions
    that batches have behind what SQLite takes, by journal id: more than one above the journal's end is lost history.
    """

    log_bytes: int = 0
    frames: int = 0
    committed: int = 0
    torn: int = 0
    lost: str | None = None
    beyond: dict[bytes, int] = {}

    def missing(self, journal_id: bytes, tail: int) -> str | None:
        """Why history is lost where SQLite says that the journal ends at `tail`; None where nothing shows it.

        A batch at `tail + 1` may be an append that was never acknowledged; one behind that was appended after it was.
        """
        highest = self.beyond.get(journal_id, 0)
        if self.lost is not None or highest <= tail + 1:
            return self.lost
        return f"the log holds a trace of batch {highest}, but what verifies of it ends at batch {tail}"


class _Generation(NamedTuple):
    """What frames are compared with: their salts, the order of words in checksums, and the sums the first may go on
    from; `whole` is whether the header itself verifies."""

    salts: bytes
    order: str
    seeds: tuple[_Sum, ...]
    whole: bool


def scan_log(path: str) -> WalScan:
    """Scan the log of the journal at `path`; a missing one is an empty one. `JournalError` if it cannot be read.

    0.1 to 0.2 ms a frame, so 0.2 s for a log of 1,000; after a clean end there is none.
    """
    try:
        with open(path + SUFFIX, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return _scan(file, size)
    except FileNotFoundError:
        return WalScan()
    except OSError as error:
        raise JournalError(path=path, reason=f"its log cannot be read: {error.strerror}") from error


def read_frames(file: BinaryIO) -> Iterator[Frame]:
    """All whole frames of a log, in the order of the file; none if no generation can be made out."""
    generation = _generation(file)
    if generation is not None:
        yield from _frames(file, generation)


def _scan(file: BinaryIO, size: int) -> WalScan:
    generation = _generation(file)
    if generation is None:
        return WalScan(size, max(0, size - HEADER_BYTES) // FRAME_BYTES, beyond=_beyond(file))
    committed = last = number = bad = 0
    ended = False
    lost: str | None = None
    beyond: dict[bytes, int] = {}
    if not generation.whole:
        lost = "the log's header does not verify, but frames behind it do"
    for frame in _frames(file, generation):
        number = frame.number
        if frame.own:
            last = number
        if not bad and generation.whole and frame.sound:
            if frame.size:
                committed = number
            continue
        bad = bad or number
        _note(beyond, frame.data)
        if not frame.own:
            continue
        if ended and lost is None:
            lost = f"frame {bad} of the log does not verify, but frames of a later append stand behind its own"
        ended = ended or frame.size > 0
    return WalScan(size, number, committed, max(0, last - committed), lost, beyond)


def _generation(file: BinaryIO) -> _Generation | None:
    """The newest generation as the header tells it; where that does not verify, as the frames agree on it."""
    file.seek(0)
    header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    magic, _, page_bytes, _, salts, *told = _HEADER.unpack(header)
    stored = (told[0], told[1])
    summed = [(order, _checksum(order, (0, 0), header[:_HEADER_SUMMED])) for order in _ORDERS]
    order = _ORDERS[magic & 1]
    if magic & ~1 == _MAGIC and page_bytes == JOURNAL_PAGE_BYTES and (order, stored) in summed:
        return _Generation(salts, order, (stored,), True)
    # The first frame goes on from what the header's checksum was, or should have been; each later one from the one
    # before it. So whatever of the header is bad, two neighbours that fit tell the salts of their generation.
    for order, made in summed:
        for frame in _frames(file, _Generation(b"", order, (stored, made), False)):
            if frame.follows and frame.page:
                file.seek(HEADER_BYTES + (frame.number - 1) * FRAME_BYTES)
                salts = _FRAME.unpack(file.read(_FRAME.size))[2]
                return _Generation(salts, order, (stored, made), False)
    return None


def _frames(file: BinaryIO, generation: _Generation) -> Iterator[Frame]:
    seeds = generation.seeds
    number = 0
    at = HEADER_BYTES
    while True:
        file.seek(at)
        frame = file.read(FRAME_BYTES)
        if len(frame) < FRAME_BYTES:
            return
        number += 1
        at += FRAME_BYTES
        page, size, salts, *told = _FRAME.unpack_from(frame)
        stored = (told[0], told[1])
        data = frame[_FRAME.size :]
        summed = frame[:_FRAME_SUMMED] + data
        follows = any(stored == _checksum(generation.order, seed, summed) for seed in seeds)
        yield Frame(number, page, size, salts == generation.salts, follows, data)
        seeds = (stored,)


def _beyond(file: BinaryIO) -> dict[bytes, int]:
    """The batches in a log of which nothing verifies."""
    found: dict[bytes, int] = {}
    file.seek(HEADER_BYTES)
    while len(frame := file.read(FRAME_BYTES)) == FRAME_BYTES:
        _note(found, frame[_FRAME.size :])
    return found


def _note(found: dict[bytes, int], page: bytes) -> None:
    for _, row in rows_of(page):
        header = header_of(row)
        if header is not None:
            found[header.journal_id] = max(found.get(header.journal_id, 0), header.position)


def _checksum(order: str, seed: _Sum, data: bytes) -> _Sum:
    """SQLite's: for each pair of words, `one += first + two; two += second + one`, in 32 bits.

    That is linear, so each word has a factor in the end of either sum. Two products in C take a third of the loop.
    """
    count = len(data) // 4
    (one_one, one_two), (two_one, two_two), ones, twos = _factors(count)
    words = struct.unpack(f"{order}{count}I", data)
    one, two = seed
    return (
        (one * one_one + two * one_two + sum(map(mul, words, ones))) & _MASK,
        (one * two_one + two * two_two + sum(map(mul, words, twos))) & _MASK,
    )


@cache
def _factors(count: int) -> tuple[_Sum, _Sum, Sequence[int], Sequence[int]]:
    """What of the sums before, and of each of `count` words, is in the first sum in the end, and in the second."""
    (a, b), (c, d) = (1, 0), (0, 1)
    ones: list[int] = []
    twos: list[int] = []
    # From the last pair backwards: the second word of a pair is in `two` only, the first in both.
    for _ in range(count // 2):
        ones += (b, (a + b) & _MASK)
        twos += (d, (c + d) & _MASK)
        a, b, c, d = (a + b) & _MASK, (a + 2 * b) & _MASK, (c + d) & _MASK, (c + 2 * d) & _MASK
    return (a, b), (c, d), ones[::-1], twos[::-1]
