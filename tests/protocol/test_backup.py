"""A backup's stream: whole records, however it is cut, and nothing of what was damaged."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.errors import MalformedFrame
from aioqueue.protocol.backup import BackupBatch, BackupEnd, BackupHead, BackupRow, Record, RecordReader, pack_record

RECORDS = [
    BackupHead(1, b"j" * 16, 41),
    BackupRow(1, b"a row"),
    BackupRow(3, b""),
    BackupBatch(40, 2, 1, 1_700_000_000_000, b"events" * 50, b"bodies" * 50),
    BackupEnd(2, 1),
]
STREAM = b"".join(map(pack_record, RECORDS))


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_records_come_whole_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    reader = RecordReader()
    found = []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(STREAM)], strict=True):
        found += list(reader.feed(STREAM[start:end]))
    assert found == RECORDS
    assert reader.empty


def test_a_stream_that_ends_too_early_is_not_empty() -> None:
    reader = RecordReader()
    assert list(reader.feed(STREAM[:-1])) == RECORDS[:-1]
    assert not reader.empty


@given(st.integers(0, len(STREAM) * 8 - 1))
def test_a_flipped_bit_is_never_read_as_something_else(bit: int) -> None:
    damaged = bytearray(STREAM)
    damaged[bit // 8] ^= 1 << bit % 8
    reader = RecordReader()
    found: list[Record] = []
    with suppress(MalformedFrame):
        found.extend(reader.feed(bytes(damaged)))
    assert found == RECORDS[: len(found)]
    assert len(found) < len(RECORDS)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff" + bytes(8), pack_record(RECORDS[0])[:8] + bytes(60)])
def test_what_nobody_wrote_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        list(RecordReader().feed(data))
