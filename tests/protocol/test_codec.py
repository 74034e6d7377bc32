from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from msgspec import inspect

from aioqueue.errors import MalformedFrame, PayloadTooLarge, PeerMisbehaved, UnexpectedMessage
from aioqueue.limits import (
    ABOUT_BYTES_MAX,
    FRAME_BYTES_MAX,
    ITEMS_A_FRAME_MAX,
    MIB,
    NAME_CHARACTERS_MAX,
    NUMBER_MAX,
    PROCESS_ID_BYTES,
    SPEC_BYTES_MAX,
    STRANGER_FRAME_BYTES_MAX,
)
from aioqueue.protocol.codec import BROKER_KINDS, CLIENT_KINDS, KINDS, Codec, kind_of
from aioqueue.protocol.messages import (
    RESERVED_KINDS,
    BrokerMessage,
    ClientMessage,
    FindJobs,
    Goodbye,
    Hello,
    Message,
    Ping,
    Role,
    RunEnd,
    Settle,
    SettleItem,
    Submit,
    SubmitItem,
)
from tests.support.messages import broker_messages, client_messages, types_within

CODEC = Codec()
JOB = bytes(range(16))
HELLO = [10, 1, 1, 1, bytes(16), "default", "", b"", 0, 0, b"", 0]
LYING = b"\xdd\xff\xff\xff\xff"


def packed(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


@given(client_messages)
def test_no_client_message_changes_on_its_way(message: ClientMessage) -> None:
    frame = CODEC.encode(message)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert CODEC.decode_client(frame[4:]) == message


@given(broker_messages)
def test_no_broker_message_changes_on_its_way(message: BrokerMessage) -> None:
    assert CODEC.decode_broker(CODEC.encode(message)[4:]) == message


def test_frames_are_appended_to_a_buffer_that_holds_others() -> None:
    buffer = bytearray(b"before")
    CODEC.encode_into(Ping(1), buffer)
    CODEC.encode_into(Ping(2), buffer)
    assert buffer == b"before" + CODEC.encode(Ping(1)) + CODEC.encode(Ping(2))


def test_a_message_over_the_frame_limit_is_not_sent_and_leaves_the_buffer_as_it_was() -> None:
    buffer = bytearray(b"before")
    settle = Settle(1, [SettleItem(JOB, 1, RunEnd.SUCCEEDED, bytes(100))])
    with pytest.raises(PayloadTooLarge, match="a Settle message: 129 bytes, the limit is 100"):
        Codec(frame_bytes_max=100).encode_into(settle, buffer)
    assert buffer == b"before"


def test_a_message_that_cannot_be_said_leaves_the_buffer_as_it_was() -> None:
    buffer = bytearray(b"before")
    with pytest.raises(OverflowError):
        CODEC.encode_into(Ping(2**64), buffer)
    assert buffer == b"before"


def test_the_kinds_are_those_of_the_messages_and_none_is_reserved() -> None:
    assert KINDS[20] == "Submit"
    assert set(KINDS) == CLIENT_KINDS | BROKER_KINDS
    assert not KINDS.keys() & RESERVED_KINDS.keys()
    assert len(KINDS) == len({kind.__struct_config__.tag for kind in get_args(Message)})


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="a byte that msgpack does not use"),
        pytest.param(b"\x90", id="no kind"),
        pytest.param(b"\x01", id="no array"),
        pytest.param(b"\x81\x01\x01", id="a map"),
        pytest.param(packed(["20", 1, []]), id="a kind in words"),
        pytest.param(packed([-1]), id="a negative kind"),
        pytest.param(b"\x91\xcf\xff\xff", id="a kind that is cut off"),
        pytest.param(packed([20, 1]), id="a field is missing"),
        pytest.param(packed([20, -1, []]), id="a negative number"),
        pytest.param(packed([20, 1.0, []]), id="a float for a number"),
        pytest.param(packed([20, True, []]), id="a bool for a number"),
        pytest.param(packed([20, 1, {}]), id="a map for a list"),
        pytest.param(packed([20, 1, [[JOB[1:], b"", b""]]]), id="an id of 15 bytes"),
        pytest.param(packed([20, 1, [[JOB, bytes(SPEC_BYTES_MAX + 1), b""]]]), id="a spec over its limit"),
        pytest.param(packed([20, 1, [[JOB, "text", b""]]]), id="text for bytes"),
        pytest.param(packed([12, "x" * 4097]), id="text over its limit"),
        pytest.param(b"\x92\x0c\xa2\xff\xfe", id="text that is not UTF-8"),
        pytest.param(packed([10, 1, 1, 9, bytes(16)]), id="an unknown role"),
        pytest.param(packed([*HELLO, bytes(1025)]), id="a process that says more than 1 KiB of itself"),
        pytest.param(packed([*HELLO, {"version": "1"}]), id="what a process says of itself is not packed"),
        pytest.param(packed([*HELLO, b"", bytes(9)]), id="an identity of 9 bytes"),
        pytest.param(packed([*HELLO, b"", b"", -1]), id="a negative epoch"),
        pytest.param(packed([1, 1]) + b"\x01", id="bytes after the message"),
        pytest.param(packed([1, 1])[:-1], id="cut off"),
        pytest.param(b"\x92\x01\xc7\x01\x05\x00", id="an extension type"),
        pytest.param(b"\x93\x01\x01" + b"\x91" * 1_000_000, id="a tower of arrays in an unknown field"),
        pytest.param(b"\x93\x01\x01" + b"\x81\x01" * 1_000_000, id="a tower of maps in an unknown field"),
        pytest.param(b"\x93\x01\x01" + LYING, id="a lying length in an unknown field"),
        pytest.param(b"\x93\x14\x01" + LYING, id="a lying length of a list"),
        pytest.param(b"\x92\x01\xc6\xff\xff\xff\xff", id="a lying length of bytes"),
        pytest.param(b"\xdd\xff\xff\xff\xff\x14\x01", id="a lying length of the message"),
    ],
)
def test_bad_bytes_of_a_client_are_malformed_and_nothing_else(payload: bytes) -> None:
    with pytest.raises(MalformedFrame):
        CODEC.decode_client(payload)


def test_a_hello_with_every_field_at_its_limit_is_still_a_strangers_frame() -> None:
    name = "\N{GRINNING FACE}" * NAME_CHARACTERS_MAX
    hello = Hello(
        NUMBER_MAX, NUMBER_MAX, Role.CLIENT, bytes(16), name, name, bytes(1024), NUMBER_MAX, NUMBER_MAX, bytes(16),
        NUMBER_MAX, bytes(ABOUT_BYTES_MAX), bytes(PROCESS_ID_BYTES), NUMBER_MAX,
    )  # fmt: skip
    assert len(CODEC.encode(hello)) <= STRANGER_FRAME_BYTES_MAX


def test_a_malformed_frame_names_its_message_and_the_field() -> None:
    with pytest.raises(MalformedFrame, match=r"Submit: Expected `array` of length <= 10000 - at `\$\[2\]`"):
        CODEC.decode_client(b"\x93\x14\x01" + LYING)


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (packed([11, 1]), "Welcome is not allowed from a client"),
        (packed([127]), "kind 127 is not allowed from a client: no message has this number"),
        (packed([2**63]), f"kind {2**63} is not allowed from a client: no message has this number"),
        (packed([60, 1]), "kind 60 is not allowed from a client: it is reserved for a later version"),
        (packed([120]), "kind 120 is not allowed from a client: it is reserved for a later version"),
        (b"\xdc\x00\x01\xcc\xc8", "kind 200 is not allowed from a client: no message has this number"),
        (b"\xdd\x00\x00\x00\x01\x3f", "kind 63 is not allowed from a client: it is reserved for a later version"),
    ],
)
def test_a_kind_that_clients_do_not_send_is_named(payload: bytes, sentence: str) -> None:
    with pytest.raises(UnexpectedMessage) as refused:
        CODEC.decode_client(payload)
    assert str(refused.value) == sentence


def test_a_client_does_not_take_what_only_clients_say() -> None:
    with pytest.raises(UnexpectedMessage, match="Goodbye is not allowed from a broker"):
        CODEC.decode_broker(CODEC.encode(Goodbye())[4:])


def test_fields_that_a_newer_peer_appended_are_passed_over() -> None:
    assert CODEC.decode_client(packed([1, 7, {"new": [1, 2]}, b"x"])) == Ping(7)
    item = [JOB, b"s", b"a", 0, 0, 0, b"", "", None, "new"]
    assert CODEC.decode_client(packed([20, 1, [item], "new"])) == Submit(1, [SubmitItem(JOB, b"s", b"a")])


def test_fields_that_an_older_peer_does_not_know_have_their_defaults() -> None:
    assert CODEC.decode_client(packed([34, 5])) == FindJobs(5)


@pytest.mark.parametrize("union", [ClientMessage, BrokerMessage])
def test_no_list_or_map_of_the_wire_is_without_a_bound(union: object) -> None:
    """A list is allocated by the length its peer claims, so a list without a limit would be a bomb."""
    for kind in get_args(union):
        for part in types_within(inspect.type_info(kind)):
            if isinstance(part, inspect.ListType):
                assert part.max_length is not None, kind.__name__
            assert not isinstance(part, inspect.AnyType | inspect.RawType), kind.__name__


@pytest.mark.parametrize("kind", [kind_of(b"\xdc\x00"), kind_of(b"\x91"), kind_of(b"\x91\xc0"), kind_of(b"\x80")])
def test_no_kind_is_read_from_what_has_none(kind: int | None) -> None:
    assert kind is None


def peak_of(decode: Callable[[bytes], object], payload: bytes) -> int:
    """The most memory that decoding took, result included, in bytes."""
    tracemalloc.start()
    try:
        try:
            kept = decode(payload)
        except PeerMisbehaved:
            kept = None
        _, peak = tracemalloc.get_traced_memory()
        del kept
    finally:
        tracemalloc.stop()
    return peak


def many_small_extras() -> bytes:
    """The costliest valid frame of a client that was found: small dicts of small values."""
    extra = dict.fromkeys(range(16), b"xy")
    items = [SubmitItem(JOB, b"", b"", extra=extra) for _ in range(ITEMS_A_FRAME_MAX)]
    return CODEC.encode(Submit(1, items))[4:]


def many_small_refusals() -> bytes:
    """The costliest valid frame of a broker that was found."""
    fields = {f"{key:x}": 300 for key in range(16)}
    return packed([22, 1, 1, [], [[1, "c", "m", fields]] * ITEMS_A_FRAME_MAX])


@pytest.mark.parametrize(
    ("payload", "most"),
    [
        pytest.param(b"\x93\x14\x01" + LYING, 0.1, id="a lying length"),
        pytest.param(b"\x93\x01\x01" + b"\xdd\x00\x3f\xff\xf0" + b"\x80" * 0x3FFFF0, 0.1, id="4 MiB of empty maps"),
        pytest.param(packed([30, [b""] * 1_000_000]), 0.1, id="a million ids"),
        pytest.param(packed([52, 1, ["q"] * 500_000]), 0.1, id="half a million queues"),
        pytest.param(b"\x93\x01\x01" + b"\x91" * (FRAME_BYTES_MAX - 10), 0.1, id="4 MiB of nested arrays"),
        pytest.param(packed([50, 1, [[JOB, 2**40]] * 100_000]), 20, id="a hundred thousand held runs"),
        pytest.param(many_small_extras(), 25, id="the most expensive Submit"),
    ],
)
def test_no_frame_of_a_client_takes_more_memory_than_this(payload: bytes, most: float) -> None:
    assert len(payload) <= FRAME_BYTES_MAX
    assert peak_of(CODEC.decode_client, payload) < most * MIB


@pytest.mark.parametrize(
    ("payload", "most"),
    [
        pytest.param(b"\x94\x33\x01" + LYING, 0.1, id="a lying length of verdicts"),
        pytest.param(b"\x92\x29\x98\x00\x00\x00\x00" + LYING, 0.1, id="a lying length of queues"),
        pytest.param(many_small_refusals(), 25, id="the most expensive Submitted"),
    ],
)
def test_no_frame_of_a_broker_takes_more_memory_than_this(payload: bytes, most: float) -> None:
    assert len(payload) <= FRAME_BYTES_MAX
    assert peak_of(CODEC.decode_broker, payload) < most * MIB
