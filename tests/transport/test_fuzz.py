"""Whatever a peer sends, however it is cut: messages, the end, or the peer's fault, and nothing else.

`AIOQUEUE_FUZZ_FRAMES=100000000 nox -s fuzz -- tests/transport` is the long run. A failure names its seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import tracemalloc
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from anyio import EndOfStream
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.errors import ConnectionLost, PeerMisbehaved
from aioqueue.limits import MIB
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side
from aioqueue.protocol.frames import FrameReader, frame
from aioqueue.protocol.messages import BrokerMessage, ClientMessage, Hello, Message, Role, Welcome
from aioqueue.transport.connection import Connection
from aioqueue.transport.memory import memory_pair
from tests.support.examples import EXAMPLES
from tests.support.messages import broker_messages, client_messages, splits

pytestmark = pytest.mark.fuzz

CODEC = Codec()
FRAMES = int(os.environ.get("AIOQUEUE_FUZZ_FRAMES", "200000"))
SEEDS = 20

# Something like msgpack: nested values under any kind, which gets further than noise does.
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.integers(0, 20) | st.text(max_size=3), inner),
    max_leaves=20,
)
likely = st.tuples(st.integers(0, 70), st.lists(values, max_size=10)).map(lambda it: [it[0], *it[1]])
payloads = st.binary(max_size=200) | likely.map(msgspec.msgpack.encode) | client_messages.map(
    lambda message: CODEC.encode(message)[4:]
)  # fmt: skip
streams = st.binary(max_size=300) | st.lists(payloads.map(frame), max_size=8).map(b"".join)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid frame with one byte changed, removed or added."""
    data = bytearray(CODEC.encode(draw(client_messages | broker_messages)))
    place = draw(st.integers(0, len(data) - 1))
    data[place : place + draw(st.integers(0, 1))] = draw(st.binary(max_size=1))
    return bytes(data)


async def converse(pieces: list[bytes], welcomed: Role | None) -> list[Any]:
    """What a broker makes of these pieces, until the end or the fault."""
    near, far = memory_pair(buffer_bytes_max=8 * MIB)
    conversation = Conversation(Side.BROKER)
    if welcomed is not None:
        conversation.received(Hello(1, 1, welcomed, bytes(16)))
        conversation.sent(Welcome(1, 1, True, b"", 1, 1, 1))
    broker: Connection[ClientMessage] = Connection(near, decode=CODEC.decode_client, conversation=conversation)
    received: list[Any] = []
    for piece in pieces:
        await far.send(piece)
    await far.aclose()
    try:
        while True:
            received += await broker.receive()
    except (EndOfStream, PeerMisbehaved, ConnectionLost):
        return received


@given(st.data(), streams | damaged(), st.sampled_from([None, *Role]))
def test_no_bytes_in_any_split_do_anything_else(data: st.DataObject, stream: bytes, role: Role | None) -> None:
    pieces = data.draw(splits(stream))
    for message in asyncio.run(converse(pieces, role)):
        assert isinstance(message, get_args(ClientMessage))


def decode_all(decode: Callable[[bytes], Message], pieces: list[bytes]) -> list[Message]:
    reader = FrameReader(MIB)
    return [decode(payload) for piece in pieces for payload in reader.feed(piece)]


@pytest.mark.parametrize(
    ("messages", "decode"), [(client_messages, CODEC.decode_client), (broker_messages, CODEC.decode_broker)]
)
@given(data=st.data())
def test_no_split_changes_valid_messages(
    messages: st.SearchStrategy[Any], decode: Callable[[bytes], Message], data: st.DataObject
) -> None:
    said = data.draw(st.lists(messages, max_size=5))
    stream = b"".join(CODEC.encode(message) for message in said)
    assert decode_all(decode, data.draw(splits(stream))) == said


@given(st.data(), streams | damaged())
def test_no_bytes_make_a_reader_and_codec_hold_much(data: st.DataObject, stream: bytes) -> None:
    pieces = data.draw(splits(stream))
    tracemalloc.start()
    try:
        for decode in (CODEC.decode_client, CODEC.decode_broker):
            try:
                decode_all(decode, pieces)
            except PeerMisbehaved:
                continue
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The stream's pieces, its messages, and the words of an error.
    assert peak < 64 * 1024 + 100 * len(stream)


def a_damaged_payload(chance: random.Random, originals: list[bytes]) -> bytes:
    """One of the known frames with some bytes changed, cut out, doubled or replaced by a length that lies."""
    data = bytearray(chance.choice(originals))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[place : place + 1] = chance.randbytes(1)
            case 1:
                del data[place : place + chance.randint(1, 8)]
            case 2:
                data[place:place] = data[place : place + chance.randint(1, 8)]
            case 3:
                data[place : place + 1] = chance.choice([b"\xdc", b"\xdd", b"\xde", b"\xdf", b"\xc6", b"\xdb", b"\xc9"])
            case _:
                data[place:place] = chance.randbytes(chance.randint(1, 8))
    return bytes(data)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_damaged_frame_does_anything_else(seed: int) -> None:
    chance = random.Random(seed)
    originals = [CODEC.encode(message)[4:] for message in EXAMPLES]
    for _ in range(FRAMES // SEEDS):
        payload = a_damaged_payload(chance, originals)
        for decode, side in ((CODEC.decode_client, ClientMessage), (CODEC.decode_broker, BrokerMessage)):
            try:
                message = decode(payload)
            except PeerMisbehaved:
                continue
            assert isinstance(message, get_args(side)), f"seed {seed}: {payload.hex()}"
