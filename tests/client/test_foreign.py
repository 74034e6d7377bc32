"""A port where no broker is: what answers there is named, and what asks a broker there too."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from aioqueue import BrokerUnavailable, Queue
from aioqueue.client import connecting
from aioqueue.transport import dialer as dialer_module
from aioqueue.transport.address import TcpAddress
from aioqueue.transport.dialer import Dialer

Answers = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(answer: Answers) -> AsyncIterator[str]:
    """The URL of a port where this is said to whoever connects."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def refusal_at(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(dialer_module, "_QUESTION_SECONDS", 30.0)
    with pytest.raises(BrokerUnavailable) as refused:
        await Queue(url).__aenter__()
    return str(refused.value)


def named(url: str, protocol: str) -> str:
    return f"no broker answers at {url}: it speaks {protocol}, not the protocol of aioqueue"


async def lines_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As Redis reads: until a line has ended."""
    await reader.readuntil(b"\r\n")
    writer.write(b"-ERR unknown command 'x'\r\n")
    await writer.drain()


async def at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    await writer.drain()


async def tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As a TLS server, by the library that most of them use: what is no TLS is not answered."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(incoming, outgoing, server_side=True)
    while True:
        incoming.write(await reader.read(100))
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError:
            writer.write(outgoing.read())
            return await writer.drain()


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


@pytest.mark.parametrize(("answer", "protocol"), [(lines_only, "Redis"), (at_once, "HTTP"), (tls, "TLS")])
async def test_what_answers_and_is_no_broker_is_named(
    answer: Answers, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with answering(answer) as url:
        assert await refusal_at(url, monkeypatch) == named(url, protocol)


@contextmanager
def web_server() -> Iterator[int]:
    """One that waits for a whole line before it answers."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


async def test_a_web_server_that_waits_for_a_line_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server() as port:
        url = f"tcp://127.0.0.1:{port}"
        assert await refusal_at(url, monkeypatch) == named(url, "HTTP")


async def test_what_closes_without_a_word_is_suspected(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(nothing) as url:
        assert "without a word, so it may be no broker of aioqueue" in await refusal_at(url, monkeypatch)


async def test_one_that_says_nothing_ever_is_only_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(100):
            pass

    async with answering(silent) as url:
        monkeypatch.setattr(connecting, "CONNECT_SECONDS", 0.5)
        monkeypatch.setattr(dialer_module, "_QUESTION_SECONDS", 0.1)
        with pytest.raises(BrokerUnavailable, match=r"no answer within 0\.5 s"):
            await Queue(url).__aenter__()


async def test_an_address_where_nobody_listens_speaks_no_protocol() -> None:
    assert await Dialer([TcpAddress("127.0.0.1", 1)]).foreign() == ""
