"""Connecting to one of several addresses, over real listeners."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path

import anyio
import pytest

from aioqueue.errors import BrokerUnavailable
from aioqueue.limits import CONNECT_SECONDS
from aioqueue.transport import tcp
from aioqueue.transport.address import SqliteAddress, TcpAddress
from aioqueue.transport.dialer import Dialer
from aioqueue.transport.unix import listening_beside


class Listener:
    """Greets each connection with its own name, until it is closed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._server: asyncio.Server
        self.address: TcpAddress

    async def open(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._greet, "127.0.0.1", port)
        self.address = TcpAddress("127.0.0.1", self._server.sockets[0].getsockname()[1])

    async def _greet(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._name.encode())
        await writer.drain()
        writer.close()

    async def aclose(self) -> None:
        self._server.close()
        await self._server.wait_closed()


@pytest.fixture
async def listening() -> AsyncIterator[Callable[..., Awaitable[Listener]]]:
    async with AsyncExitStack() as stack:

        async def listen(name: str, port: int = 0) -> Listener:
            listener = Listener(name)
            await listener.open(port)
            stack.push_async_callback(listener.aclose)
            return listener

        yield listen


@pytest.fixture(params=["loop", "thread"])
def who(request: pytest.FixtureRequest) -> Callable[[Dialer], Awaitable[str]]:
    """The name of the listener that is reached, from an event loop and from a thread."""

    async def by_loop(dialer: Dialer) -> str:
        async with await dialer.open_stream() as stream:
            return (await stream.receive()).decode()

    def in_thread(dialer: Dialer) -> str:
        with closing(dialer.open_socket()) as connection:
            return connection.recv(100).decode()

    async def by_thread(dialer: Dialer) -> str:
        return await asyncio.to_thread(in_thread, dialer)

    return by_loop if request.param == "loop" else by_thread


Who = Callable[[Dialer], Awaitable[str]]
Listening = Callable[..., Awaitable[Listener]]


async def test_the_first_address_that_answers_is_taken(listening: Listening, who: Who) -> None:
    first, second = await listening("first"), await listening("second")
    dialer = Dialer([first.address, second.address])
    assert await who(dialer) == "first"


async def test_an_address_where_nobody_listens_is_passed_over(listening: Listening, who: Who) -> None:
    first, second = await listening("first"), await listening("second")
    dialer = Dialer([first.address, second.address])
    await first.aclose()
    assert await who(dialer) == "second"


async def test_the_address_that_answered_last_is_asked_first(listening: Listening, who: Who) -> None:
    first, second = await listening("first"), await listening("second")
    dialer = Dialer([first.address, second.address])
    await first.aclose()
    assert await who(dialer) == "second"
    await listening("first", first.address.port)
    assert await who(dialer) == "second"
    await second.aclose()
    assert await who(dialer) == "first"


async def test_where_nobody_answers_every_address_is_named_with_its_reason(listening: Listening, who: Who) -> None:
    first, second = await listening("first"), await listening("second")
    await first.aclose()
    await second.aclose()
    dialer = Dialer([first.address, second.address])
    with pytest.raises(BrokerUnavailable) as caught:
        await who(dialer)
    assert str(caught.value) == (
        f"no broker answers at {first.address},{second.address}: "
        f"{first.address}: connection refused; {second.address}: connection refused"
    )


async def test_a_single_address_is_named_once(listening: Listening, who: Who) -> None:
    only = await listening("only")
    await only.aclose()
    with pytest.raises(BrokerUnavailable) as caught:
        await who(Dialer([only.address]))
    assert str(caught.value) == f"no broker answers at {only.address}: connection refused"


async def test_an_address_that_says_nothing_leaves_time_for_the_next_one_and_for_its_welcome(
    listening: Listening, who: Who, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioqueue.transport.dialer.CONNECT_SECONDS", 0.03)
    second = await listening("second")
    # A full backlog: the kernel leaves further callers waiting.
    with socket.socket() as silent, ExitStack() as callers:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for _ in range(4):
            caller = callers.enter_context(closing(socket.socket()))
            caller.setblocking(False)
            caller.connect_ex(silent.getsockname())
        dialer = Dialer([TcpAddress(*silent.getsockname()), second.address])
        assert await who(dialer) == "second"
        await second.aclose()
        with pytest.raises(BrokerUnavailable) as caught:
            await who(dialer)
    assert f"{second.address}: connection refused; tcp://" in str(caught.value)
    assert "no answer within 0.01 s" in str(caught.value)


async def test_a_socket_blocks_no_longer_than_any_connection_may(listening: Listening) -> None:
    first, second = await listening("first"), await listening("second")
    with closing(Dialer([first.address, second.address]).open_socket()) as connection:
        assert connection.gettimeout() == CONNECT_SECONDS
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_whoever_owns_a_journal_is_found_beside_it(tmp_path: Path, who: Who) -> None:
    journal = str(tmp_path / "jobs.db")

    async def greet(stream: tcp.TcpStream) -> None:
        async with stream:
            await stream.send(b"owner")

    async with anyio.create_task_group() as tasks, listening_beside(journal, greet, tasks):
        assert await who(Dialer([SqliteAddress(journal)])) == "owner"


def test_a_dialer_without_an_address_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="needs an address"):
        Dialer([])
