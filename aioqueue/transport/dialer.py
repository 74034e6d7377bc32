"""`Dialer`: how a client reaches its broker, over whichever of the broker's addresses answers.

It tries the addresses in turn, beginning with the one that answered last, and gives each one's reason if none answers.
It makes one round and never waits: a link and a heartbeat have their own back-off. A broker in this process is not
dialed; it is a `Dials` of its own.

Queues, workers, heartbeats and supervisors all connect through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from anyio import BrokenResourceError, EndOfStream

from aioqueue.errors import BrokerUnavailable
from aioqueue.limits import CONNECT_SECONDS
from aioqueue.protocol.frames import foreign_protocol
from aioqueue.transport import tcp
from aioqueue.transport.address import SqliteAddress, TcpAddress
from aioqueue.transport.stream import Stream
from aioqueue.transport.unix import connect_beside, socket_beside

# A `sqlite:` path must be a real one; whoever owns that journal listens beside it.
Dialable = TcpAddress | SqliteAddress

# Most that wait for a line answer this one: Redis, HTTP and memcached do, each in its own way.
_LINE: Final = b"PING\r\n\r\n"
_QUESTION_SECONDS: Final = 1.0


class Dials(Protocol):
    """Who opens streams to one broker: a `Dialer`, or a broker that runs in this process."""

    @property
    def url(self) -> str:
        """Where the broker is, for people."""
        ...

    async def open_stream(self) -> Stream:
        """A new connection. Raises `BrokerUnavailable`, or what ended the broker where that is known."""
        ...


class Dialer:
    """Connects to the first of `addresses` that answers. Threads may share one."""

    def __init__(self, addresses: Sequence[Dialable]) -> None:
        if not addresses:
            raise ValueError("a dialer needs an address")
        self._addresses = tuple(addresses)
        # All are tried in the time that one would be given, and the broker's Welcome needs its share of that.
        shares = len(self._addresses) + (len(self._addresses) > 1)
        self._seconds = CONNECT_SECONDS / shares
        # Which of them answered last.
        self._last = 0

    @property
    def url(self) -> str:
        """The addresses, for people."""
        return ",".join(map(str, self._addresses))

    async def open_stream(self) -> Stream:
        """A stream to the broker. Raises `BrokerUnavailable` with each address's reason if none answers in time."""
        troubles: list[BrokerUnavailable] = []
        for place, address in self._in_turn():
            try:
                stream = await self._stream_to(address)
            except BrokerUnavailable as trouble:
                troubles.append(trouble)
            else:
                self._last = place
                return stream
        raise self._unavailable(troubles)

    async def foreign(self) -> str:
        """The protocol that is spoken where a Hello was not answered, such as HTTP; nothing if that cannot be told."""
        for _, address in self._in_turn():
            for question in (_LINE, _tls_hello()) if isinstance(address, TcpAddress) else ():
                if protocol := foreign_protocol(await self._answer_of(address, question)):
                    return protocol
        return ""

    async def _answer_of(self, address: Dialable, question: bytes) -> bytes:
        try:
            async with asyncio.timeout(_QUESTION_SECONDS):
                stream = await self._stream_to(address)
                try:
                    await stream.send(question)
                    return await stream.receive()
                finally:
                    await stream.aclose()
        except (BrokerUnavailable, TimeoutError, EndOfStream, BrokenResourceError):
            return b""

    def open_socket(self) -> socket.socket:
        """The same for a thread without an event loop: a socket that blocks for at most `CONNECT_SECONDS`."""
        troubles: list[BrokerUnavailable] = []
        for place, address in self._in_turn():
            try:
                connection = self._socket_to(address)
            except BrokerUnavailable as trouble:
                troubles.append(trouble)
            else:
                self._last = place
                return connection
        raise self._unavailable(troubles)

    def _in_turn(self) -> Iterator[tuple[int, Dialable]]:
        first, count = self._last, len(self._addresses)
        for place in range(first, first + count):
            yield place % count, self._addresses[place % count]

    async def _stream_to(self, address: Dialable) -> Stream:
        if isinstance(address, SqliteAddress):
            return (await connect_beside(address.path))[0]
        return await tcp.connect(address.host, address.port, self._seconds)

    def _socket_to(self, address: Dialable) -> socket.socket:
        if isinstance(address, SqliteAddress):
            return socket_beside(address.path)[0]
        return tcp.connect_socket(address.host, address.port, self._seconds)

    def _unavailable(self, troubles: list[BrokerUnavailable]) -> BrokerUnavailable:
        if len(troubles) == 1:
            return troubles[0]
        reasons = [f"{trouble.fields['url']}: {trouble.fields['reason']}" for trouble in troubles]
        return BrokerUnavailable(url=self.url, reason="; ".join(reasons))


def _tls_hello() -> bytes:
    """How a TLS client begins: servers that speak TLS answer nothing else, and close."""
    outgoing = ssl.MemoryBIO()
    session = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()
