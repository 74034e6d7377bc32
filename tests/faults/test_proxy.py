"""The proxy itself: what the fault tests rely on it to do, between a scripted broker and a plain socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.frames import FrameReader
from tests.support.fake_broker import FakeBroker, FakePeer
from tests.support.proxy import HOLE, Cut, Proxy, Toward, Weather

CODEC = Codec()
SECRET = b"s" * 16


class Caller:
    """A peer by hand: `sizes` are those of the reads it took to hear what it heard."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.sizes: list[int] = []
        self._frames = FrameReader(1_000_000)

    def say(self, *messages: m.ClientMessage) -> None:
        self.writer.write(b"".join(map(CODEC.encode, messages)))

    def close(self) -> None:
        self.writer.transport.abort()

    async def hear(self) -> m.Message:
        """The next message, alone in its reads; `EOFError` at the end."""
        while True:
            data = await self.reader.read(65_536)
            if not data:
                raise EOFError
            self.sizes.append(len(data))
            for payload in self._frames.feed(data):
                return CODEC.decode_broker(payload)


class Road:
    """A proxy before a scripted broker."""

    def __init__(self, proxy: Proxy, broker: FakeBroker, stack: AsyncExitStack) -> None:
        self.proxy, self.broker = proxy, broker
        self._stack = stack

    async def join(self, role: m.Role = m.Role.CLIENT) -> tuple[Caller, FakePeer]:
        """A peer that was welcomed, and the broker's end."""
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.proxy.port))
        self._stack.callback(caller.close)
        caller.say(m.Hello(1, 1, role, SECRET))
        peer = await self.broker.accept()
        await peer.welcome()
        assert isinstance(await caller.hear(), m.Welcome)
        return caller, peer


@pytest.fixture
async def road() -> AsyncIterator[Road]:
    async with AsyncExitStack() as stack:
        broker = await FakeBroker().start()
        stack.push_async_callback(broker.stop)
        proxy = await stack.enter_async_context(Proxy(broker.port))
        yield Road(proxy, broker, stack)


async def silent(awaitable: asyncio.Task[m.Message]) -> bool:
    """Whether nothing comes, as far as a short look can tell; a slow machine makes it no less true."""
    await asyncio.wait([awaitable], timeout=0.05)
    return not awaitable.done()


async def test_fair_weather_changes_nothing(road: Road) -> None:
    caller, peer = await road.join()
    caller.say(m.Watch())
    assert await peer.expect(m.Watch) == m.Watch()
    peer.send(m.Pong(7))
    assert await caller.hear() == m.Pong(7)


async def test_a_frame_in_slices_of_one_byte_comes_in_many_reads(road: Road) -> None:
    caller, peer = await road.join()
    road.proxy.spoil(Weather(slice_bytes=1), toward=[Toward.PEER])
    caller.sizes.clear()
    message = m.Closing("the broker is stopping for a while")
    peer.send(message)
    assert await caller.hear() == message
    assert len(caller.sizes) > 5


async def test_a_delay_keeps_the_order_and_takes_its_time(road: Road) -> None:
    caller, peer = await road.join()
    road.proxy.spoil(Weather(delay_seconds=0.05), toward=[Toward.BROKER])
    began = asyncio.get_running_loop().time()
    caller.say(m.GetJob(1, bytes(16)), m.GetJob(2, bytes(16)))
    assert [(await peer.expect(m.GetJob)).request for _ in range(2)] == [1, 2]
    assert asyncio.get_running_loop().time() - began >= 0.05


async def test_a_narrow_way_takes_the_time_that_its_bytes_need(road: Road) -> None:
    caller, peer = await road.join()
    road.proxy.spoil(Weather(slice_bytes=100, bytes_a_second=10_000), toward=[Toward.PEER])
    began = asyncio.get_running_loop().time()
    peer.send(m.Closing("x" * 500))
    await caller.hear()
    assert asyncio.get_running_loop().time() - began >= 0.03


async def test_what_was_said_into_a_hole_comes_when_it_closes(road: Road) -> None:
    caller, peer = await road.join()
    road.proxy.spoil(HOLE)
    peer.send(m.Pong(7))
    hearing = asyncio.create_task(caller.hear())
    assert await silent(hearing)
    road.proxy.clear()
    assert await hearing == m.Pong(7)


async def test_a_hole_in_one_direction_leaves_the_other_open(road: Road) -> None:
    caller, peer = await road.join()
    road.proxy.spoil(HOLE, toward=[Toward.BROKER])
    caller.say(m.Watch())
    peer.send(m.Pong(7))
    assert await caller.hear() == m.Pong(7)
    reading = asyncio.create_task(peer.read())
    assert await silent(reading)
    road.proxy.clear()
    assert await reading == m.Watch()


async def test_a_hole_for_one_role_is_fair_weather_for_the_others(road: Road) -> None:
    worker, _ = await road.join(m.Role.WORKER)
    heartbeat, beaten = await road.join(m.Role.HEARTBEAT)
    road.proxy.spoil(HOLE, roles=[m.Role.WORKER])
    heartbeat.say(m.Beat(3))
    assert await beaten.expect(m.Beat) == m.Beat(3)
    assert road.proxy.standing(m.Role.WORKER) == 1
    assert not worker.reader.at_eof()


async def test_a_new_connection_is_accepted_into_a_hole_and_hears_nothing(road: Road) -> None:
    road.proxy.spoil(HOLE)
    joining = asyncio.create_task(road.join())
    await asyncio.wait([joining], timeout=0.05)
    assert not joining.done()
    road.proxy.clear()
    await joining


async def test_no_end_passes_a_hole(road: Road) -> None:
    caller, peer = await road.join()
    road.proxy.spoil(HOLE)
    peer.close()
    hearing = asyncio.create_task(caller.hear())
    assert await silent(hearing)
    road.proxy.clear()
    with pytest.raises(EOFError):
        await hearing


async def test_a_severed_connection_ends_in_good_order_on_both_sides(road: Road) -> None:
    caller, peer = await road.join()
    road.proxy.sever(m.Role.CLIENT)
    with pytest.raises(EOFError):
        await caller.hear()
    with pytest.raises(EOFError):
        await peer.read()


async def test_a_reset_connection_is_reset_on_both_sides(road: Road) -> None:
    caller, peer = await road.join()
    road.proxy.reset(m.Role.CLIENT)
    with pytest.raises(ConnectionResetError):
        await caller.hear()
    with pytest.raises(ConnectionResetError):
        await peer.read()


async def test_a_half_closed_connection_still_carries_the_other_direction(road: Road) -> None:
    caller, peer = await road.join()
    road.proxy.half_close(Toward.BROKER, m.Role.CLIENT)
    with pytest.raises(EOFError):
        await peer.read()
    peer.send(m.Pong(7))
    assert await caller.hear() == m.Pong(7)


@pytest.mark.parametrize("before", [True, False])
async def test_a_cut_loses_its_message_or_all_after_it(road: Road, before: bool) -> None:
    caller, peer = await road.join()
    cut = Cut(m.Watch, m.Role.CLIENT, before=before)
    road.proxy.cut(cut)
    caller.say(m.Watch(), m.GetJob(1, bytes(16)))
    await cut.done.wait()
    assert [type(message) for message in await peer.until_closed()] == ([] if before else [m.Watch])
