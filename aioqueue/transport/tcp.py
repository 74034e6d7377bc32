"""Streams over TCP: connecting and listening, with what goes wrong told in the project's own errors.

The stream is its own asyncio protocol. anyio's stops and starts reading around every `receive`, two system calls a
message; here reading stops only when `READ_BYTES` wait to be taken. docs/adr/0004-own-tcp-stream.md has the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn, cast

from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError, EndOfStream
from anyio.abc import TaskGroup

from aioqueue.errors import BrokerUnavailable, PortTaken
from aioqueue.forked import close_in_child, in_child
from aioqueue.limits import CONNECT_SECONDS, READ_BYTES
from aioqueue.transport.address import PORT_MAX, tcp_url
from aioqueue.transport.stream import Inbox, Stream

# Workers of a whole cluster connect again at once after a restart of their broker.
ACCEPT_BACKLOG: Final = 1024
# asyncio accepts as many in one turn of its loop as it was told the backlog is. It takes some six turns until the first
# word of one that was accepted is read; so many a turn are far fewer than the strangers that a broker has room for.
ACCEPTED_A_TURN: Final = 64
# Closing with a reset: the kernel drops what it still holds for a peer that does not read.
_LINGER_RESET: Final = struct.pack("ii", 1, 0)


class TcpStream(Stream, asyncio.Protocol):
    """One TCP connection; made by `connect` and `TcpListener`. Event loops set `TCP_NODELAY` themselves."""

    def __init__(self, accepted: Callable[[TcpStream], None] | None = None) -> None:
        self._accepted = accepted
        self._inbox = Inbox()
        self._transport: asyncio.Transport
        self._reading = True
        self._held = False
        self._closed = False
        self._lost = False
        self._said_eof = False
        self._sending = False
        self._writable = True
        self._drained: asyncio.Future[None] | None = None

    # --- what the event loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # `send` returns when the kernel has everything, so that closing after it loses nothing.
        self._transport.set_write_buffer_limits(0)
        self.peer = self.peer_name(transport)
        close_in_child(self, self.raw_socket.fileno())
        if self._accepted is not None:
            self._accepted(self)

    def peer_name(self, transport: asyncio.BaseTransport) -> str:
        """The other side's address, for people."""
        address = transport.get_extra_info("peername")
        # A peer can be gone before it was looked at; then there is no address.
        return tcp_url(str(address[0]), int(address[1])) if address else "tcp://?"

    def data_received(self, data: bytes) -> None:
        self._inbox.put(data)
        if self.on_input is not None:
            self.on_input(len(data))
        self._read_or_rest()

    def _read_or_rest(self) -> None:
        reading = self._inbox.size < READ_BYTES and not self._held
        if reading is not self._reading and not self._lost:
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._inbox.end(EndOfStream)
        # The other direction stays open.
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        # What came before the loss can still be received: often it is the peer's reason.
        self._inbox.end(EndOfStream if exc is None else BrokenResourceError)
        self.resume_writing()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # --- what the owner calls ---

    @property
    def raw_socket(self) -> socket.socket:
        """The socket itself, for options and addresses."""
        return cast(socket.socket, self._transport.get_extra_info("socket"))

    @property
    def waiting_bytes(self) -> int:
        return self._inbox.size

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        data = await self._inbox.take(max_bytes)
        if not self._reading:
            self._read_or_rest()
        return data

    def hold(self, held: bool) -> None:
        self._held = held
        if not self._closed:
            self._read_or_rest()

    async def send(self, item: bytes | bytearray) -> None:
        if self._sending:
            raise BusyResourceError("sending to")
        self._check_open()
        self._transport.write(item)
        if self._writable:
            # The usual case: the kernel took it.
            return
        await self._drain()
        self._check_open()

    async def _drain(self) -> None:
        self._sending = True
        try:
            while not self._writable:
                self._drained = asyncio.get_running_loop().create_future()
                await self._drained
        finally:
            self._drained = None
            self._sending = False

    def _check_open(self) -> None:
        if self._closed or self._said_eof:
            raise ClosedResourceError
        if self._lost or self._transport.is_closing():
            raise BrokenResourceError

    async def send_eof(self) -> None:
        if not self._said_eof and not self._transport.is_closing():
            self._said_eof = True
            self._transport.write_eof()

    async def aclose(self) -> None:
        self._end()

    def abort(self) -> None:
        if not self._closed and not self._lost:
            with contextlib.suppress(OSError):
                self.raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self._end()

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            self._inbox.close()
            # A sender that waits is woken by `connection_lost`.
            self._transport.abort()


async def connect(host: str, port: int, seconds: float = CONNECT_SECONDS) -> TcpStream:
    """A stream to the broker at `host:port`; `BrokerUnavailable` if there is none within so many seconds."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            _, stream = await loop.create_connection(TcpStream, host, port)
    except TimeoutError:
        _unavailable(host, port, f"no answer within {seconds:g} s")
    except (OSError, UnicodeError) as error:
        _unavailable(host, port, reason_of(error))
    return stream


def connect_socket(host: str, port: int, seconds: float = CONNECT_SECONDS) -> socket.socket:
    """As `connect`, for who has no event loop: a socket that blocks for at most `CONNECT_SECONDS`."""
    try:
        connection = socket.create_connection((host, port), timeout=seconds)
    except TimeoutError as error:
        # The system gives up by itself too, for a reason of its own.
        _unavailable(host, port, reason_of(error) if error.errno else f"no answer within {seconds:g} s")
    except (OSError, UnicodeError) as error:
        _unavailable(host, port, reason_of(error))
    connection.settimeout(CONNECT_SECONDS)
    close_in_child(connection, connection.fileno())
    # The peer may be gone by now; the first read tells.
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _unavailable(host: str, port: int, reason: str) -> NoReturn:
    raise BrokerUnavailable(url=tcp_url(host, port), reason=reason) from None


def reason_of(error: Exception) -> str:
    """The system's own words for an error, without the numbers and tuples that asyncio puts around them."""
    if isinstance(error, socket.gaierror):
        return f"the host's name cannot be resolved ({error.strerror})"
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    # Several addresses were tried and failed in different ways.
    return str(error)


def _way_out(error: Exception) -> str:
    """What helps one who could not listen."""
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "choose another --port, or stop the program that holds it"
    if isinstance(error, PermissionError):
        return "choose a --port that this user may have, such as one from 1024"
    return "--host must be an address of this machine"


class TcpListener:
    """A listening socket. `host` and `port` are the bound ones, so a listener on port 0 can be found."""

    def __init__(self) -> None:
        self._server: asyncio.Server
        self._accepted: asyncio.Queue[TcpStream | None] = asyncio.Queue()
        self._closed = False
        self.host = ""
        self.port = 0

    @property
    def url(self) -> str:
        return tcp_url(self.host, self.port)

    async def serve(self, handler: Callable[[TcpStream], Coroutine[Any, Any, None]], task_group: TaskGroup) -> None:
        """Start `handler` in `task_group` for each connection, until `aclose`. The handler owns its stream."""
        while (stream := await self._accepted.get()) is not None:
            task_group.start_soon(handler, stream)

    async def aclose(self) -> None:
        """Stop listening. Connections that were handed out live on; those that were not are dropped."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        for listening in self._server.sockets:
            # No other way tells asyncio to accept no more; uvloop and Windows have their own, and need none.
            with contextlib.suppress(NotImplementedError):
                loop.remove_reader(listening.fileno())
        try:
            # What was accepted a moment ago becomes a stream: once the server is closed asyncio would drop it unclosed.
            await asyncio.sleep(0)
        finally:
            self._drop()

    def began(self, server: asyncio.Server) -> None:
        """The sockets listen now."""
        self._server = server
        for listening in server.sockets:
            close_in_child(self, listening.fileno())
        # Whatever stops it in a child has nothing to stop.
        in_child(self, TcpListener._left_to_parent)

    def _left_to_parent(self) -> None:
        self._closed = True

    def _drop(self) -> None:
        self._server.close()
        while not self._accepted.empty():
            waiting = self._accepted.get_nowait()
            if waiting is not None:
                waiting.abort()
        self._accepted.put_nowait(None)

    def _accept(self, stream: TcpStream) -> None:
        if self._closed:
            stream.abort()
        else:
            self._accepted.put_nowait(stream)


async def listen(host: str, port: int) -> TcpListener:
    """Listen on `host:port`, with port 0 on a free one; `PortTaken` with the reason where that cannot be."""
    if not 0 <= port <= PORT_MAX:
        raise PortTaken(
            host=host, port=port, reason="there is no such port", way_out=f"choose one from 0 to {PORT_MAX}"
        )
    listener = TcpListener()
    loop = asyncio.get_running_loop()
    try:
        address = host if port else await _first_address(host)
        listener.began(
            await loop.create_server(lambda: TcpStream(listener._accept), address, port, backlog=ACCEPTED_A_TURN)
        )
        for listening in listener._server.sockets:
            widen_backlog(listening)
    except (OSError, UnicodeError) as error:
        raise PortTaken(host=host, port=port, reason=reason_of(error), way_out=_way_out(error)) from None
    name = listener._server.sockets[0].getsockname()
    listener.host, listener.port = name[0], name[1]
    return listener


def widen_backlog(listening: Any) -> None:
    """Let the kernel hold more callers for this socket than the event loop takes in one turn."""
    with socket.socket(fileno=os.dup(listening.fileno())) as same:
        same.listen(ACCEPT_BACKLOG)


async def _first_address(host: str) -> str:
    """One address only: with port 0 a name of several addresses would get a different port on each."""
    found = await asyncio.get_running_loop().getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return str(found[0][4][0])
