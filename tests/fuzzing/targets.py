"""What is fed with any bytes: each target makes of them what is promised, or the error that is promised, or fails.

A target gives whether the bytes were read, and not refused.
Used by `test_targets.py` (hypothesis and mutated golden bytes, in every run) and by `python -m tests.fuzzing TARGET`
(atheris, guided by coverage, in `nox -s fuzz`).
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterable
from typing import Final

from aioqueue.archive import rows
from aioqueue.core.machine import IllegalChange
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events, encode_events
from aioqueue.errors import AioqueueError, ArchiveFailed, HistoryLost, JournalDamaged, JournalNewer, PeerMisbehaved
from aioqueue.journal.batch import _HASHED, HEADER_BYTES, ChainReader, _batch_id, sound_header
from aioqueue.journal.pages import header_of, rows_of
from aioqueue.journal.wal import _scan, read_frames
from aioqueue.limits import MIB
from aioqueue.model.bodies import unpack_failure, unpack_headers
from aioqueue.model.spec import unpack_spec
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.frames import FrameReader, frame
from aioqueue.protocol.messages import Message

CODEC: Final = Codec()


def frames(data: bytes) -> bool:
    """The first byte says in which pieces the others come; any split finds the same payloads, or the same fault."""
    step = 1 + (data[0] if data else 0)
    stream = data[1:]
    whole = _fed(stream, [stream])
    assert whole == _fed(stream, [stream[at : at + step] for at in range(0, len(stream), step)])
    return not whole[1]


def _fed(stream: bytes, pieces: Iterable[bytes]) -> tuple[list[bytes], bool]:
    reader = FrameReader(1_000)
    found: list[bytes] = []
    try:
        for piece in pieces:
            found += reader.feed(piece)
    except PeerMisbehaved:
        # What stood before the fault is given out only where it came in another piece.
        return [], True
    assert sum(map(len, found)) <= len(stream)
    return found, False


def client_messages(data: bytes) -> bool:
    """A message of a client, which says the same when it is written again, or the peer's fault."""
    return _message(data, CODEC.decode_client)


def broker_messages(data: bytes) -> bool:
    """A message of a broker, likewise."""
    return _message(data, CODEC.decode_broker)


def _message(data: bytes, decode: Callable[[bytes], Message]) -> bool:
    try:
        message = decode(data)
    except PeerMisbehaved:
        return False
    assert decode(CODEC.encode(message)[4:]) == message or message != message
    assert FrameReader(4 * MIB).feed(frame(data)) == [data]
    return True


def records(data: bytes) -> bool:
    """Events that say the same when they are written again, or damage, or a newer version."""
    try:
        events = decode_events(data, "j.db")
    except (JournalDamaged, JournalNewer):
        return False
    assert decode_events(encode_events(events), "j.db") == events
    return True


def replay(data: bytes) -> bool:
    """Events of any bytes change the state as events do, or are refused as what this program did not write."""
    try:
        events = decode_events(data, "j.db")
        Partition().replay(events, b"", 1, 1_700_000_000_000)
    except (JournalDamaged, JournalNewer, IllegalChange, ValueError):
        return False
    return True


def batch(data: bytes) -> bool:
    """One batch of a journal; its hash and checksum are made to fit in every other one: noise would never pass them."""
    if len(data) > HEADER_BYTES and zlib.crc32(data) & 1:
        hashed = data[: _HASHED.size]
        head = hashed + _batch_id(hashed, data[HEADER_BYTES:])
        data = head + zlib.crc32(head).to_bytes(4, "big") + data[HEADER_BYTES:]
    header = sound_header(data)
    journal_id = header.journal_id if header is not None else bytes(16)
    position = header.position if header is not None else 1
    try:
        taken = ChainReader("j.db", journal_id, position, None).take(position, data)
    except (JournalDamaged, JournalNewer, HistoryLost):
        return False
    assert len(taken.events) + len(taken.bodies) == len(data) - HEADER_BYTES
    return True


def archive_rows(data: bytes) -> bool:
    """A row of the archive with a checksum that fits: a job or a run that its columns agree with, or damage."""
    row = zlib.crc32(data).to_bytes(4, "big") + data
    return _job_row(row) or _run_row(row)


def _job_row(row: bytes) -> bool:
    try:
        job = rows.job_of("j.db-archive", row)
    except ArchiveFailed:
        return False
    job_id, *told, _, again = rows.job_columns(job)
    cells = [job_id.hex().upper(), *map(str, told), again.hex().upper()]
    assert rows.read_job("j.db-archive", cells) == job
    return True


def _run_row(row: bytes) -> bool:
    try:
        run = rows.run_of("j.db-archive", row)
    except ArchiveFailed:
        return False
    job_id, *told, again = rows.run_columns(run)
    cells = [job_id.hex().upper(), *map(str, told), again.hex().upper()]
    assert rows.read_run("j.db-archive", cells) == run
    return True


def log(data: bytes) -> bool:
    """The scan of a write-ahead log says something of any bytes, and no more frames than they can hold."""
    scan = _scan(io.BytesIO(data), len(data))
    assert scan.committed <= scan.frames <= len(data) // 4_096
    assert len(list(read_frames(io.BytesIO(data)))) <= scan.frames
    return scan.committed > 0


def pages(data: bytes) -> bool:
    """The rows of a page of SQLite's, as far as any stand on it."""
    page = data[:4_096].ljust(4_096, b"\0")
    found = list(rows_of(page))
    for place, row in found:
        assert 0 <= place < len(page)
        header_of(row)
    return bool(found)


def nouns(data: bytes) -> bool:
    """What other records carry packed: specs, failures, headers. The last two are always read as something."""
    unpack_failure(data)
    unpack_headers(data)
    try:
        unpack_spec(data)
    except AioqueueError:
        return False
    return True


TARGETS: Final[dict[str, Callable[[bytes], bool]]] = {
    target.__name__: target
    for target in (
        frames, client_messages, broker_messages, records, replay, batch, archive_rows, log, pages, nouns,
    )
}  # fmt: skip

if __name__ == "__main__":
    print(*TARGETS)
