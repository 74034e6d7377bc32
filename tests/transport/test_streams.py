"""What every stream promises: one suite for the one in memory and those over real sockets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest
from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError, EndOfStream

from aioqueue.limits import MIB
from aioqueue.transport.stream import Stream

Pair = tuple[Stream, Stream]
Turns = Callable[[], Awaitable[None]]


async def receive_all(stream: Stream) -> bytes:
    data = bytearray()
    while True:
        try:
            data += await stream.receive()
        except EndOfStream:
            return bytes(data)


async def test_bytes_arrive_in_order_in_both_directions(pair: Pair) -> None:
    near, far = pair
    await near.send(b"one")
    await near.send(bytearray(b"two"))
    await far.send(b"three")
    await near.send_eof()
    await far.send_eof()
    assert await receive_all(far) == b"onetwo"
    assert await receive_all(near) == b"three"


async def test_receive_gives_no_more_than_it_was_asked_for(pair: Pair) -> None:
    near, far = pair
    await near.send(b"abcdef")
    assert await far.receive(4) == b"abcd"
    assert await far.receive(4) == b"ef"


async def test_more_than_fits_any_buffer_arrives_whole(pair: Pair) -> None:
    near, far = pair
    data = bytes(range(256)) * (8 * MIB // 256)

    async def send() -> None:
        await near.send(data)
        await near.send_eof()

    sending = asyncio.create_task(send())
    assert await receive_all(far) == data
    await sending


async def test_a_sender_waits_while_its_peer_does_not_read(pair: Pair, turns: Turns) -> None:
    near, far = pair
    sending = asyncio.create_task(near.send(bytes(32 * MIB)))
    await turns()
    assert not sending.done()
    left = 32 * MIB
    while left:
        left -= len(await far.receive())
    await sending


async def test_half_of_a_closed_stream_still_works(pair: Pair) -> None:
    near, far = pair
    await near.send_eof()
    with pytest.raises(EndOfStream):
        await far.receive()
    await far.send(b"answer")
    assert await near.receive() == b"answer"
    with pytest.raises(ClosedResourceError):
        await near.send(b"more")


async def test_the_end_of_a_stream_is_told_as_often_as_it_is_asked_for(pair: Pair) -> None:
    near, far = pair
    await near.send_eof()
    await near.send_eof()
    for _ in range(3):
        with pytest.raises(EndOfStream):
            await far.receive()


async def test_what_was_sent_before_closing_arrives(pair: Pair) -> None:
    near, far = pair
    await near.send(b"last words")
    await near.aclose()
    assert await receive_all(far) == b"last words"


async def test_closing_right_after_a_large_send_loses_nothing(pair: Pair) -> None:
    near, far = pair

    async def send() -> None:
        await near.send(bytes(16 * MIB))
        await near.aclose()

    sending = asyncio.create_task(send())
    assert len(await receive_all(far)) == 16 * MIB
    await sending


async def test_a_closed_stream_neither_sends_nor_receives(pair: Pair) -> None:
    near, far = pair
    await far.send(b"unread")
    await near.aclose()
    await near.aclose()
    with pytest.raises(ClosedResourceError):
        await near.receive()
    with pytest.raises(ClosedResourceError):
        await near.send(b"x")


async def test_closing_wakes_this_sides_receiver(pair: Pair, turns: Turns) -> None:
    near, _far = pair
    receiving = asyncio.create_task(near.receive())
    await turns()
    await near.aclose()
    with pytest.raises(ClosedResourceError):
        await receiving


@pytest.mark.parametrize("end", ["aclose", "abort"])
async def test_ending_wakes_this_sides_sender(pair: Pair, turns: Turns, end: str) -> None:
    near, _far = pair
    sending = asyncio.create_task(near.send(bytes(32 * MIB)))
    await turns()
    if end == "abort":
        near.abort()
    else:
        await near.aclose()
    with pytest.raises(ClosedResourceError):
        await sending


async def test_sending_to_a_peer_that_is_gone_ends_as_broken(pair: Pair, turns: Turns) -> None:
    near, far = pair
    await far.aclose()

    async def send_for_ever() -> None:
        while True:
            await near.send(b"x" * 1000)
            await turns()

    with pytest.raises(BrokenResourceError):
        await send_for_ever()


async def test_a_sender_that_waits_learns_that_its_peer_is_gone(pair: Pair, turns: Turns) -> None:
    near, far = pair
    sending = asyncio.create_task(near.send(bytes(32 * MIB)))
    await turns()
    await far.aclose()
    with pytest.raises(BrokenResourceError):
        await sending


async def test_an_aborted_stream_is_broken_for_the_peer_and_closed_here(pair: Pair) -> None:
    near, far = pair
    near.abort()
    near.abort()
    # Over a Unix socket there is no reset.
    over = (BrokenResourceError, EndOfStream) if far.peer.startswith("unix:") else BrokenResourceError
    with pytest.raises(over):
        await far.receive()
    with pytest.raises(ClosedResourceError):
        await near.receive()
    with pytest.raises(ClosedResourceError):
        await near.send(b"x")


async def test_a_second_receiver_or_sender_is_refused(pair: Pair, turns: Turns) -> None:
    near, _far = pair
    receiving = asyncio.create_task(near.receive())
    sending = asyncio.create_task(near.send(bytes(32 * MIB)))
    await turns()
    with pytest.raises(BusyResourceError):
        await near.receive()
    with pytest.raises(BusyResourceError):
        await near.send(b"x")
    near.abort()
    await asyncio.gather(receiving, sending, return_exceptions=True)


async def test_a_cancelled_receive_loses_nothing(pair: Pair, turns: Turns) -> None:
    near, far = pair
    receiving = asyncio.create_task(far.receive())
    await turns()
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    await near.send(b"kept")
    assert await far.receive() == b"kept"


async def test_a_stream_names_its_peer(pair: Pair) -> None:
    assert all(stream.peer.startswith(("tcp://127.0.0.1:", f"unix:{os.getpid()}", "memory:")) for stream in pair)
