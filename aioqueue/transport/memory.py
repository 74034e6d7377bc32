"""Two connected streams in one process: what embedded brokers and tests use in place of a socket.

As over TCP, a sender waits when its peer does not read: the bytes under way are bounded.
"""

from __future__ import annotations

import asyncio
from typing import Final

from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError, EndOfStream

from aioqueue.limits import READ_BYTES
from aioqueue.transport.stream import Inbox, Stream

BUFFER_BYTES_MAX: Final = READ_BYTES


def memory_pair(buffer_bytes_max: int = BUFFER_BYTES_MAX) -> tuple[MemoryStream, MemoryStream]:
    """Two streams, each the other's peer; so many bytes may wait in each direction."""
    one, other = MemoryStream(buffer_bytes_max), MemoryStream(buffer_bytes_max)
    one._peer, other._peer = other, one
    return one, other


class MemoryStream(Stream):
    """One end of a pair; made by `memory_pair`."""

    peer = "memory:"
    _peer: MemoryStream

    def __init__(self, buffer_bytes_max: int) -> None:
        self._inbox = Inbox()
        self._buffer_bytes_max = buffer_bytes_max
        # The other end's sender, while it waits for room in this inbox.
        self._room: asyncio.Future[None] | None = None
        self._closed = False
        self._said_eof = False

    @property
    def waiting_bytes(self) -> int:
        return self._inbox.size

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        data = await self._inbox.take(max_bytes)
        self._let_sender_go_on()
        return data

    async def send(self, item: bytes | bytearray) -> None:
        peer = self._peer
        if peer._room is not None:
            raise BusyResourceError("sending to")
        sent = 0
        while sent < len(item):
            self._check_open()
            room = self._buffer_bytes_max - peer._inbox.size
            if room > 0:
                piece = bytes(item[sent : sent + room])
                peer._inbox.put(piece)
                if peer.on_input is not None:
                    peer.on_input(len(piece))
                sent += room
                continue
            peer._room = asyncio.get_running_loop().create_future()
            try:
                await peer._room
            finally:
                peer._room = None
        self._check_open()

    def _check_open(self) -> None:
        if self._closed or self._said_eof:
            raise ClosedResourceError
        # The peer's inbox does not take any more once the peer has gone.
        if self._peer._inbox.ended:
            raise BrokenResourceError

    async def send_eof(self) -> None:
        self._said_eof = True
        self._peer._inbox.end(EndOfStream)
        self._peer._let_sender_go_on()

    async def aclose(self) -> None:
        if not self._closed:
            self._close()
            self._peer._inbox.end(EndOfStream)

    def abort(self) -> None:
        if not self._closed:
            self._close()
            self._peer._inbox.end(BrokenResourceError)

    def _close(self) -> None:
        self._closed = True
        self._inbox.close()
        self._let_sender_go_on()
        self._peer._let_sender_go_on()

    def _let_sender_go_on(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
