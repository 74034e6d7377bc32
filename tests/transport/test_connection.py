from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import EndOfStream

from aioqueue.errors import (
    ConnectionLost,
    FrameTooLong,
    MalformedFrame,
    PayloadTooLarge,
    PeerMisbehaved,
    UnexpectedMessage,
)
from aioqueue.limits import BODY_BYTES_MAX, FRAME_BYTES_MAX, KIB, STRANGER_FRAME_BYTES_MAX
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side
from aioqueue.protocol.messages import (
    BrokerMessage,
    Capacity,
    ClientMessage,
    Goodbye,
    Hello,
    Message,
    Ping,
    Pong,
    Refusal,
    Role,
    Submit,
    SubmitItem,
    Submitted,
    Welcome,
)
from aioqueue.transport import connection as connection_module
from aioqueue.transport.connection import Connection
from aioqueue.transport.memory import memory_pair
from aioqueue.transport.stream import Stream

Pair = tuple[Stream, Stream]
Turns = Callable[[], Awaitable[None]]

CODEC = Codec()
HELLO = Hello(1, 1, Role.CLIENT, bytes(16))
WELCOME = Welcome(1, 1, True, b"", 1, 1, 10_000)


def broker_on(stream: Stream, **limits: int) -> Connection[ClientMessage]:
    return Connection(stream, decode=CODEC.decode_client, conversation=Conversation(Side.BROKER), **limits)


def client_on(stream: Stream, **limits: int) -> Connection[BrokerMessage]:
    return Connection(stream, decode=CODEC.decode_broker, conversation=Conversation(Side.CLIENT), **limits)


@asynccontextmanager
async def writing(*connections: Connection[Any]) -> AsyncIterator[None]:
    """The connections' writers run; each ends with its connection."""
    async with anyio.create_task_group() as tasks:
        for connection in connections:
            tasks.start_soon(connection.run_writer)
        yield
        for connection in connections:
            await connection.aclose()


@asynccontextmanager
async def welcomed(pair: Pair) -> AsyncIterator[tuple[Connection[BrokerMessage], Connection[ClientMessage]]]:
    """A client and a broker that have greeted each other."""
    client, broker = client_on(pair[0]), broker_on(pair[1])
    async with writing(client, broker):
        client.send_nowait(HELLO)
        assert await broker.receive() == [HELLO]
        broker.send_nowait(WELCOME)
        assert await client.receive() == [WELCOME]
        yield client, broker


def framed(*messages: Message) -> bytes:
    return b"".join(CODEC.encode(message) for message in messages)


async def receive_count(connection: Connection[Any], count: int) -> list[Any]:
    messages: list[Any] = []
    while len(messages) < count:
        messages += await connection.receive()
    return messages


async def test_what_one_side_sends_the_other_receives(pair: Pair) -> None:
    async with welcomed(pair) as (client, broker):
        client.send_nowait(Submit(1, []), Ping(5))
        assert await receive_count(broker, 2) == [Submit(1, []), Ping(5)]
        broker.send_nowait(Submitted(1, 7))
        broker.send_nowait(Pong(5))
        assert await receive_count(client, 2) == [Submitted(1, 7), Pong(5)]


async def test_all_that_is_queued_in_one_turn_leaves_in_one_write() -> None:
    near, far = memory_pair()
    client = client_on(near)
    async with writing(client):
        client.send_nowait(HELLO, Ping(1))
        client.send_nowait(Ping(2))
        client.send_nowait(Ping(3))
        assert await far.receive() == framed(HELLO, Ping(1), Ping(2), Ping(3))


async def test_the_messages_of_one_read_come_together() -> None:
    near, far = memory_pair()
    await far.send(framed(HELLO, Ping(1), Ping(2)) + b"\0\0")
    assert await broker_on(near).receive() == [HELLO, Ping(1), Ping(2)]


async def test_a_read_without_a_whole_message_is_waited_through(turns: Turns) -> None:
    near, far = memory_pair()
    broker = broker_on(near)
    receiving = asyncio.create_task(broker.receive())
    for byte in framed(HELLO)[:-1]:
        await far.send(bytes([byte]))
        await turns()
    assert not receiving.done()
    await far.send(framed(HELLO)[-1:])
    assert await receiving == [HELLO]


async def test_a_stranger_gets_small_frames_only() -> None:
    near, far = memory_pair()
    await far.send((STRANGER_FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(FrameTooLong) as refused:
        await broker_on(near).receive()
    assert refused.value.limit == STRANGER_FRAME_BYTES_MAX


async def test_a_welcomed_peer_gets_large_frames(pair: Pair) -> None:
    async with welcomed(pair) as (client, broker):
        large = Submit(1, [SubmitItem(bytes(16), b"", bytes(BODY_BYTES_MAX))])
        client.send_nowait(large)
        assert await broker.receive() == [large]


async def test_a_welcomed_peer_has_a_limit_too(pair: Pair) -> None:
    client, broker = client_on(pair[0]), broker_on(pair[1], frame_bytes_max=5 * KIB)
    async with writing(client, broker):
        client.send_nowait(HELLO)
        await broker.receive()
        broker.send_nowait(WELCOME)
        await client.receive()
        client.send_nowait(Submit(1, [SubmitItem(bytes(16), b"", bytes(5 * KIB))]))
        with pytest.raises(FrameTooLong, match="5155 bytes was announced, the limit is 5120"):
            await broker.receive()


async def test_bytes_that_are_no_message_are_the_peers_fault_for_ever() -> None:
    near, far = memory_pair()
    broker = broker_on(near)
    await far.send(b"\0\0\0\x01\xc1" + framed(HELLO))
    for _ in range(2):
        with pytest.raises(MalformedFrame):
            await broker.receive()


async def test_a_message_out_of_turn_is_the_peers_fault() -> None:
    near, far = memory_pair()
    await far.send(framed(Capacity(1)))
    with pytest.raises(UnexpectedMessage, match="Capacity is not allowed before Hello"):
        await broker_on(near).receive()


async def test_a_peer_at_fault_can_still_be_told_why(pair: Pair) -> None:
    client, broker = client_on(pair[0]), broker_on(pair[1])
    async with writing(client, broker):
        await pair[0].send(framed(Capacity(1)))
        with pytest.raises(PeerMisbehaved) as fault:
            await broker.receive()
        refusal = Refusal(0, fault.value.code, str(fault.value))
        broker.send_nowait(refusal)
        await broker.flush()
        await broker.aclose()
        assert await client.receive() == [refusal]


async def test_a_peer_that_ends_between_frames_ended_in_good_order(pair: Pair) -> None:
    async with welcomed(pair) as (client, broker):
        client.send_nowait(Goodbye())
        await client.flush()
        await client.aclose()
        assert await broker.receive() == [Goodbye()]
        with pytest.raises(EndOfStream):
            await broker.receive()


async def test_a_peer_that_ends_inside_a_frame_is_lost() -> None:
    near, far = memory_pair()
    await far.send(framed(HELLO)[:-1])
    await far.aclose()
    with pytest.raises(ConnectionLost, match="it ended inside a frame"):
        await broker_on(near).receive()


async def test_a_peer_that_breaks_off_is_lost_to_reader_and_writer(pair: Pair) -> None:
    async with welcomed(pair) as (client, broker):
        pair[0].abort()
        # Over a Unix socket an abort may look like an end in good order.
        with pytest.raises((ConnectionLost, EndOfStream)) as told:
            await broker.receive()
        if isinstance(told.value, ConnectionLost):
            assert "the peer went away" in str(told.value)
            assert broker.closed
        with pytest.raises(ConnectionLost, match="it was closed on this side"):
            await client.receive()


async def test_closing_wakes_the_reader_and_ends_the_writer(pair: Pair, turns: Turns) -> None:
    near, _far = pair
    client = client_on(near)
    receiving = asyncio.create_task(client.receive())
    writer = asyncio.create_task(client.run_writer())
    await turns()
    await client.aclose()
    with pytest.raises(ConnectionLost, match="it was closed on this side"):
        await receiving
    await writer


async def test_a_mistake_of_this_side_does_not_leave_it() -> None:
    near, far = memory_pair()
    client = client_on(near)
    async with writing(client):
        with pytest.raises(UnexpectedMessage):
            client.send_nowait(HELLO, Submit(1, []), Ping(1))
        client.send_nowait(Ping(2))
        assert await far.receive() == framed(HELLO, Ping(2))


async def test_a_message_that_the_peer_would_refuse_does_not_leave(pair: Pair) -> None:
    async with welcomed(pair) as (client, broker):
        items = [SubmitItem(bytes(16), b"", bytes(BODY_BYTES_MAX))] * 5
        with pytest.raises(PayloadTooLarge) as refused:
            client.send_nowait(Submit(1, items))
        assert refused.value.limit == FRAME_BYTES_MAX
        client.send_nowait(Submit(1, []))
        assert await broker.receive() == [Submit(1, [])]


async def test_flush_returns_when_everything_is_handed_over(pair: Pair, turns: Turns) -> None:
    near, far = pair
    client = client_on(near)
    async with writing(client):
        client.send_nowait(HELLO)
        assert client.outbox_bytes == len(framed(HELLO))
        await client.flush()
        assert client.outbox_bytes == 0
        await client.flush()
        assert await far.receive() == framed(HELLO)


async def test_what_is_sent_lazily_waits_for_the_next_message_or_a_flush(
    pair: Pair, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "ANSWER_DELAY_SECONDS", 3_600.0)
    near, far = pair
    client = client_on(near)
    async with writing(client):
        client.send_nowait(HELLO)
        assert await far.receive() == framed(HELLO)
        client.send_nowait(Ping(1), lazily=True)
        await turns()
        assert client.outbox_bytes == len(framed(Ping(1)))
        client.send_nowait(Ping(2))
        assert await far.receive() == framed(Ping(1), Ping(2))
        client.send_nowait(Ping(3), lazily=True)
        await client.flush()
        assert await far.receive() == framed(Ping(3))


async def test_what_is_sent_lazily_leaves_by_itself_if_nothing_follows(pair: Pair) -> None:
    near, far = pair
    client = client_on(near)
    async with writing(client):
        client.send_nowait(HELLO)
        assert await far.receive() == framed(HELLO)
        for number in (1, 2):
            client.send_nowait(Ping(number), lazily=True)
            assert await far.receive() == framed(Ping(number))


async def test_flush_on_a_connection_that_ends_is_told_so(turns: Turns) -> None:
    near, _far = memory_pair(buffer_bytes_max=10)
    client = client_on(near)
    async with writing(client):
        client.send_nowait(HELLO)
        flushing = asyncio.create_task(client.flush())
        await turns()
        assert not flushing.done()
        await client.aclose()
        with pytest.raises(ConnectionLost):
            await flushing
        with pytest.raises(ConnectionLost):
            await client.flush()


async def test_flush_on_a_closed_connection_is_refused_with_nothing_queued() -> None:
    client = client_on(memory_pair()[0])
    await client.aclose()
    with pytest.raises(ConnectionLost):
        await client.flush()


async def test_a_connection_whose_writer_was_cancelled_takes_nothing_more(turns: Turns) -> None:
    client = client_on(memory_pair()[0])
    writer = asyncio.create_task(client.run_writer())
    await turns()
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    assert client.closed


async def test_what_is_sent_after_the_end_is_dropped() -> None:
    near, _far = memory_pair()
    client = client_on(near)
    await client.aclose()
    client.send_nowait(HELLO)
    assert client.closed
    assert client.outbox_bytes == 0


async def test_a_peer_that_does_not_read_is_cut_off_at_the_limit(pair: Pair, turns: Turns) -> None:
    near, far = pair
    limit = 8 * FRAME_BYTES_MAX
    client, broker = client_on(near), broker_on(far, outbox_bytes_max=limit)
    refusal = Refusal(1, "refused", "x" * (FRAME_BYTES_MAX // 2))
    async with writing(client, broker):
        client.send_nowait(HELLO)
        await broker.receive()
        broker.send_nowait(WELCOME)
        client.send_nowait(Ping())
        await client.receive()
        client.send_nowait(Submit(1, []))
        await receive_count(broker, 2)
        sent = 0
        while not broker.closed:
            broker.send_nowait(refusal)
            sent += FRAME_BYTES_MAX // 2
            await turns()
            assert broker.outbox_bytes <= limit
        assert sent >= limit
        with pytest.raises(ConnectionLost, match=rf"it does not read: \d+ bytes waited for it, the limit is {limit}"):
            await broker.receive()
        with pytest.raises(ConnectionLost):
            await receive_count(client, 1_000)


async def test_a_slow_sender_costs_what_it_sent_and_no_more(turns: Turns) -> None:
    near, far = memory_pair()
    broker = broker_on(near)
    receiving = asyncio.create_task(broker.receive())
    await far.send(STRANGER_FRAME_BYTES_MAX.to_bytes(4, "big") + b"x")
    await turns()
    assert not receiving.done()
    assert len(broker._reader._partial) == 5
    await broker.aclose()
    with pytest.raises(ConnectionLost):
        await receiving
