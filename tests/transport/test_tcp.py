from __future__ import annotations

import asyncio
import contextlib
import gc
import socket

import anyio
import pytest
from anyio import EndOfStream

from aioqueue.errors import BrokerUnavailable, PortTaken
from aioqueue.limits import READ_BYTES
from aioqueue.transport import tcp
from aioqueue.transport.stream import Stream
from tests.transport.conftest import tcp_pair


async def test_small_writes_do_not_wait_for_nagle() -> None:
    async with tcp_pair() as pair:
        for stream in pair:
            assert isinstance(stream, tcp.TcpStream)
            assert stream.raw_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_connecting_where_nobody_listens_says_so() -> None:
    listener = await tcp.listen("127.0.0.1", 0)
    await listener.aclose()
    with pytest.raises(BrokerUnavailable) as failed:
        await tcp.connect("127.0.0.1", listener.port)
    assert str(failed.value) == f"no broker answers at {listener.url}: connection refused"


# Nobody need ask a name server whether it is one, and wait for what may never answer.
NO_HOST = "no such host"


async def test_a_host_that_does_not_exist_is_told_as_such() -> None:
    with pytest.raises(BrokerUnavailable, match="the host's name cannot be resolved"):
        await tcp.connect(NO_HOST, 7411)


async def test_a_host_that_no_name_server_could_know_is_told_as_such() -> None:
    with pytest.raises(BrokerUnavailable):
        await tcp.connect("x" * 70 + ".invalid", 7411)


async def test_a_broker_that_never_answers_is_given_up() -> None:
    # A full backlog: the kernel leaves further callers waiting.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(silent.getsockname())
        with pytest.raises(BrokerUnavailable, match=r"no answer within 0\.01 s"):
            await tcp.connect(*silent.getsockname(), 0.01)
        for caller in callers:
            caller.close()


async def test_a_taken_port_is_refused_with_its_number() -> None:
    listener = await tcp.listen("127.0.0.1", 0)
    with pytest.raises(PortTaken) as refused:
        await tcp.listen("127.0.0.1", listener.port)
    await listener.aclose()
    assert str(refused.value) == (
        f"cannot listen on 127.0.0.1:{listener.port}: address already in use; choose another --port, or stop the "
        "program that holds it"
    )


@pytest.mark.parametrize(
    ("host", "port", "way_out"),
    [
        ("203.0.113.1", 0, "--host must be an address of this machine"),
        (NO_HOST, 7411, "--host must be an address of this machine"),
        ("127.0.0.1", 70_000, "choose one from 0 to 65535"),
    ],
)
async def test_an_address_that_cannot_be_listened_on_is_refused_with_the_way_out(
    host: str, port: int, way_out: str
) -> None:
    with pytest.raises(PortTaken) as refused:
        await tcp.listen(host, port)
    assert str(refused.value).endswith(way_out)


async def test_a_name_of_several_addresses_gets_one_port() -> None:
    listener = await tcp.listen("localhost", 0)
    assert listener.port > 0
    assert listener.url.endswith(f":{listener.port}")
    await listener.aclose()


async def test_each_connection_gets_its_own_handler() -> None:
    async def echo(stream: Stream) -> None:
        async with stream:
            await stream.send(await stream.receive())

    async with anyio.create_task_group() as tasks:
        listener = await tcp.listen("127.0.0.1", 0)
        tasks.start_soon(listener.serve, echo, tasks)
        streams = [await tcp.connect("127.0.0.1", listener.port) for _ in range(5)]
        for number, stream in enumerate(streams):
            await stream.send(bytes([number]))
        assert [await stream.receive() for stream in streams] == [bytes([number]) for number in range(5)]
        for stream in streams:
            await stream.aclose()
        await listener.aclose()
        await listener.aclose()


async def test_a_closed_listener_leaves_its_connections_alone() -> None:
    async with tcp_pair() as (near, far):
        # The pair's listener has been closed by now.
        await near.send(b"still here")
        assert await far.receive() == b"still here"


async def test_a_connection_that_nobody_took_ends_with_its_listener() -> None:
    listener = await tcp.listen("127.0.0.1", 0)
    stream = await tcp.connect("127.0.0.1", listener.port)
    await listener.aclose()
    with pytest.raises((EndOfStream, anyio.BrokenResourceError)):
        await stream.receive()
    await stream.aclose()


@pytest.mark.parametrize("turns", range(5))
async def test_a_connection_that_is_just_being_accepted_is_closed_with_its_listener(turns: int) -> None:
    listener = await tcp.listen("127.0.0.1", 0)
    with socket.create_connection((listener.host, listener.port)) as peer:
        # After some of these turns it has been accepted, and is no stream yet.
        for _ in range(turns):
            await asyncio.sleep(0)
        await listener.aclose()
        peer.setblocking(False)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(30):
                assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""
    # Whatever was left open would be told of now, and a warning is an error here.
    gc.collect()


async def test_what_a_peer_sends_unread_stays_bounded() -> None:
    async with tcp_pair() as (near, far):
        assert isinstance(far, tcp.TcpStream)
        sending = asyncio.create_task(near.send(bytes(32 * READ_BYTES)))
        sizes = []
        for _ in range(200):
            await far.receive(1)
            await asyncio.sleep(0)
            sizes.append(far._inbox.size)
        near.abort()
        await asyncio.gather(sending, return_exceptions=True)
    # One read may come on top of what was waiting.
    assert READ_BYTES <= max(sizes) <= 2 * READ_BYTES


async def test_a_send_does_not_return_before_the_system_has_everything() -> None:
    """What would stay in this process's buffer is lost by closing."""
    async with tcp_pair() as (near, _far):
        assert isinstance(near, tcp.TcpStream)
        while True:
            sending = asyncio.create_task(near.send(bytes(10_000)))
            for _ in range(20):
                await asyncio.sleep(0)
            if not sending.done():
                break
            assert near._transport.get_write_buffer_size() == 0
        assert near._transport.get_write_buffer_size() > 0
        near.abort()
        await asyncio.gather(sending, return_exceptions=True)


async def test_what_came_before_a_stream_broke_can_still_be_read() -> None:
    async with tcp_pair() as (near, far):
        await far.send(b"the reason")
        assert await near.receive(1) == b"t"
        await far.aclose()

        async def send_for_ever() -> None:
            while True:
                await near.send(b"x")
                await asyncio.sleep(0)

        with pytest.raises(anyio.BrokenResourceError):
            await send_for_ever()
        assert await near.receive() == b"he reason"


async def test_nothing_comes_in_over_a_stream_that_is_held_and_all_of_it_later() -> None:
    async with tcp_pair() as (near, far):
        came: list[int] = []
        far.on_input = came.append
        far.hold(True)
        await near.send(b"held back")
        for _ in range(50):
            await asyncio.sleep(0)
        assert (came, far.waiting_bytes) == ([], 0)
        far.hold(False)
        assert await far.receive() == b"held back"
        assert sum(came) == 9
        far.hold(True)
        await far.aclose()
        far.hold(False)
