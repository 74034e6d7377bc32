from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.errors import ForeignProtocol, FrameTooLong, PayloadTooLarge
from aioqueue.limits import FRAME_BYTES_MAX, KIB, MIB
from aioqueue.protocol import frames
from aioqueue.protocol.frames import FrameReader, frame
from tests.support.messages import splits


def test_one_read_that_is_one_frame_gives_its_payload() -> None:
    assert FrameReader(100).feed(b"\0\0\0\x03abc") == [b"abc"]


def test_one_read_of_many_frames_gives_all_in_order() -> None:
    assert FrameReader(100).feed(frame(b"a") + frame(b"") + frame(b"bcd")) == [b"a", b"", b"bcd"]


@given(st.data(), st.lists(st.binary(max_size=200), max_size=8))
def test_no_split_of_the_stream_changes_what_is_found(data: st.DataObject, payloads: list[bytes]) -> None:
    reader = FrameReader(200)
    found: list[bytes] = []
    for piece in data.draw(splits(b"".join(frame(payload) for payload in payloads))):
        found += reader.feed(piece)
    assert found == payloads
    assert not reader.inside_frame


def test_a_frame_that_comes_byte_by_byte_is_found() -> None:
    reader = FrameReader(10)
    pieces = [reader.feed(bytes([byte])) for byte in frame(b"abc") + frame(b"d")]
    assert [found for found in pieces if found] == [[b"abc"], [b"d"]]


def test_a_length_over_the_limit_is_refused_with_both_numbers() -> None:
    with pytest.raises(FrameTooLong) as refused:
        FrameReader(10).feed(b"\0\0\0\x0b")
    assert refused.value.fields == {"size": 11, "limit": 10}


@pytest.mark.parametrize(
    ("beginning", "protocol"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"<!DOCTYPE HTML>", "HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "TLS"),
        (b"-ERR unknown command\r\n", "Redis"),
        (b"*1\r\n$4\r\nPING\r\n", "Redis"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    ],
)
def test_what_begins_as_another_protocol_is_called_by_its_name(beginning: bytes, protocol: str) -> None:
    with pytest.raises(ForeignProtocol, match=f"it speaks {protocol}, not the protocol of aioqueue"):
        FrameReader(FRAME_BYTES_MAX).feed(beginning)
    reader = FrameReader(FRAME_BYTES_MAX)
    for byte in beginning[:3]:
        assert reader.feed(bytes([byte])) == []
    with pytest.raises(ForeignProtocol):
        reader.feed(beginning[3:])


def test_no_length_that_is_allowed_is_taken_for_another_protocol() -> None:
    for prefix, _ in frames._FOREIGN:
        assert int.from_bytes(prefix.ljust(4, b"\0"), "big") > FRAME_BYTES_MAX


def test_a_length_over_the_limit_is_refused_when_its_last_byte_comes() -> None:
    reader = FrameReader(10)
    reader.feed(b"\0\0\0")
    with pytest.raises(FrameTooLong):
        reader.feed(b"\x0b")


def test_a_length_over_the_limit_behind_a_good_frame_is_refused() -> None:
    with pytest.raises(FrameTooLong):
        FrameReader(10).feed(frame(b"abc") + b"\xff\xff\xff\xff")


def test_a_frame_of_exactly_the_limit_is_taken() -> None:
    assert FrameReader(3).feed(frame(b"abc")) == [b"abc"]


def test_a_raised_limit_holds_from_the_next_read_on() -> None:
    reader = FrameReader(3)
    assert reader.feed(frame(b"abc")) == [b"abc"]
    reader.raise_limit(5)
    assert reader.feed(frame(b"abcde")) == [b"abcde"]


def test_a_stream_that_ends_inside_a_frame_is_noticed() -> None:
    reader = FrameReader(10)
    reader.feed(b"\0\0")
    assert reader.inside_frame


def test_a_long_announced_frame_costs_only_what_has_come_of_it() -> None:
    reader = FrameReader(FRAME_BYTES_MAX)
    tracemalloc.start()
    try:
        reader.feed(FRAME_BYTES_MAX.to_bytes(4, "big") + bytes(10))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * KIB


def test_a_large_frame_in_small_slices_is_never_held_twice_while_it_comes() -> None:
    reader = FrameReader(FRAME_BYTES_MAX)
    data = frame(bytes(MIB))
    tracemalloc.start()
    try:
        for start in range(0, len(data) - 1_000, 1_000):
            assert reader.feed(data[start : start + 1_000]) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * MIB


def test_a_payload_over_the_limit_is_not_framed() -> None:
    with pytest.raises(PayloadTooLarge):
        frame(bytes(11), 10)
