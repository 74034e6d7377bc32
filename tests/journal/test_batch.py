"""The bytes of a batch, without any storage."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.errors import HistoryLost, JournalDamaged, JournalNewer
from aioqueue.journal.batch import HEADER_BYTES, NO_BATCH, BatchKind, Chain, ChainReader, bodies_at, peek_header

ID = bytes(range(16))


def chain(epoch=1, position=0, previous=NO_BATCH):
    return Chain(ID, epoch, position, previous)


def reader(expected=1, previous=NO_BATCH, epoch=None):
    return ChainReader("here", ID, expected, previous, epoch)


def epoch_record():
    return chain().encode(5, b"owner", kind=BatchKind.EPOCH)


def resealed(data, **changes):
    """A header with other fields and a CRC that fits them."""
    head = bytearray(data[:HEADER_BYTES])
    for at, value in changes.values():
        head[at : at + len(value)] = value
    head[-4:] = struct.pack(">I", zlib.crc32(bytes(head[:-4])))
    return bytes(head) + data[HEADER_BYTES:]


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=200), st.lists(st.binary(max_size=50))),
        max_size=5,
    )
)
def test_a_reader_gives_back_what_a_chain_encoded(payloads):
    writing, reading = chain(), reader()
    reading.take(1, writing.encode(1, b"", kind=BatchKind.EPOCH))
    for number, (wall_ms, events, bodies) in enumerate(payloads):
        data = writing.encode(wall_ms, events, bodies)
        batch = reading.take(2 + number, data)
        assert (batch.position, batch.wall_ms, batch.events) == (2 + number, wall_ms, events)
        assert batch.bodies == b"".join(bodies) == data[bodies_at(data) :]
        assert batch.batch_id == writing.previous == peek_header(data).batch_id


def test_every_flipped_bit_of_a_batch_is_noticed():
    data = epoch_record()
    reader().take(1, data)
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(JournalDamaged) as caught:
            reader().take(1, bytes(damaged))
        assert caught.value.where == "batch 1"


def test_every_shorter_and_every_longer_batch_is_noticed():
    data = epoch_record()
    for length in range(len(data)):
        with pytest.raises(JournalDamaged):
            reader().take(1, data[:length])
    with pytest.raises(JournalDamaged, match="its payload is 6 bytes, its header says 5"):
        reader().take(1, data + b"x")


@pytest.mark.parametrize("stored", ["text", None, 7])
def test_what_is_no_bytes_is_damage(stored):
    with pytest.raises(JournalDamaged, match="stored in its place"):
        reader().take(1, stored)


@pytest.mark.parametrize("change", [(4, b"\x02"), (5, b"\x03")], ids=["format", "kind"])
def test_a_newer_batch_is_told_from_a_damaged_one(change):
    with pytest.raises(JournalNewer, match="reads up to format 1"):
        reader().take(1, resealed(epoch_record(), change=change))


def test_a_newer_batch_with_a_longer_header_is_told_from_a_damaged_one():
    data = epoch_record()
    head = bytearray(data[: HEADER_BYTES - 4] + bytes(12))
    head[4] = 2
    head[6:8] = struct.pack(">H", len(head) + 4)
    longer = bytes(head) + struct.pack(">I", zlib.crc32(bytes(head))) + data[HEADER_BYTES:]
    with pytest.raises(JournalNewer):
        reader().take(1, longer)


def test_a_format_that_never_was_is_damage():
    with pytest.raises(JournalDamaged, match="never written"):
        reader().take(1, resealed(epoch_record(), change=(4, b"\x00")))


def test_a_header_that_was_sealed_again_over_other_fields_is_noticed():
    with pytest.raises(JournalDamaged, match="hash"):
        reader().take(1, resealed(epoch_record(), change=(56, b"\x01")))


def test_a_batch_of_another_journal_is_refused():
    data = Chain(bytes(16), 1, 0, NO_BATCH).encode(1, b"", kind=BatchKind.EPOCH)
    with pytest.raises(HistoryLost, match="another journal"):
        reader().take(1, data)


def test_a_batch_at_another_position_is_refused():
    data = chain(position=1).encode(1, b"")
    with pytest.raises(HistoryLost, match="at position 1 stands batch 2"):
        reader().take(1, data)


@pytest.mark.parametrize(
    ("position", "words"),
    [(2, "batch 1 is missing before batch 2"), (5, "batches 1 to 4 are missing before batch 5")],
)
def test_a_gap_is_named(position, words):
    with pytest.raises(HistoryLost, match=words):
        reader().take(position, b"")


def test_a_batch_that_comes_again_is_named():
    with pytest.raises(HistoryLost, match="batch 1 comes again where batch 2 is due"):
        reader(expected=2).take(1, b"")


@pytest.mark.parametrize(
    ("before", "epoch", "kind"),
    [
        (1, 2, BatchKind.EVENTS),  # an epoch without its record
        (2, 1, BatchKind.EVENTS),  # an older epoch comes back
        (1, 1, BatchKind.EPOCH),  # an epoch begins twice
        (1, 3, BatchKind.EPOCH),  # an epoch is left out
        (0, 0, BatchKind.EVENTS),  # epoch 0 is nobody's
    ],
)
def test_an_epoch_begins_with_its_record_and_is_one_more_than_the_last(before, epoch, kind):
    data = chain(epoch=epoch, position=4, previous=ID).encode(1, b"", kind=kind)
    with pytest.raises(HistoryLost, match="epoch"):
        reader(expected=5, previous=ID, epoch=before).take(5, data)


def test_a_journal_begins_with_an_epoch_record():
    with pytest.raises(HistoryLost, match="epoch"):
        reader().take(1, chain().encode(1, b""))


def test_a_reader_that_resumes_takes_the_next_batch_as_it_is():
    writing, reading = chain(), reader()
    batches = [writing.encode(1, b"%d" % n, kind=BatchKind.EPOCH if n == 0 else BatchKind.EVENTS) for n in range(4)]
    reading.take(1, batches[0])
    reading.resume(3)
    assert reading.take(3, batches[2]).events == b"2"
    assert reading.take(4, batches[3]).events == b"3"


def test_an_encoded_batch_is_the_same_bytes_every_time():
    assert epoch_record() == epoch_record()
