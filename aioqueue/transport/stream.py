"""The seam of bytes in motion: anyio's `ByteStream`, and `abort`.

Promises, the same over TCP, over Unix sockets and in memory, held by one conformance suite:

* `receive` waits for at least one byte and gives what is there, up to `max_bytes`, without a further trip through the
  event loop when something is there already.
* The peer's end of sending (`send_eof`, or its `aclose` with nothing unread) is `EndOfStream`, after all it sent;
  the other direction stays open.
* The peer's `abort` is `BrokenResourceError`, over a Unix socket perhaps only for who sends (there is no reset);
  what was not yet received may be lost.
* After this side's `aclose` or `abort` everything here is `ClosedResourceError`, also for a task that already waits.
* `send` returns when the bytes are out of this process's buffers (sockets), or in the peer's inbox (memory). One task
  may send and one may receive at a time; a second is `BusyResourceError`.

`send` may keep the buffer it was given: a caller never changes a bytearray after sending it.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Callable

from anyio import BusyResourceError, ClosedResourceError
from anyio.abc import ByteStream

from aioqueue.limits import READ_BYTES


class Stream(ByteStream):
    """A byte stream that can be ended from a plain function. `peer` is the other side's address, for people."""

    peer: str
    # Told of what comes in, in bytes, at the moment it does; for who must know how much is held in all.
    on_input: Callable[[int], None] | None = None

    @property
    @abstractmethod
    def waiting_bytes(self) -> int:
        """What came in and was not received yet."""

    def hold(self, held: bool) -> None:
        """Let nothing more come in, or go on. Of what is in this process already nothing is held back.

        A stream within one process has no need of it: what its sender keeps is in the same memory.
        """

    @abstractmethod
    async def send(self, item: bytes | bytearray) -> None: ...

    @abstractmethod
    def abort(self) -> None:
        """End at once, dropping whatever is buffered; the peer sees a broken stream. Never waits, never raises."""


class Inbox:
    """Bytes that came and were not received yet, and the one task that waits for them."""

    __slots__ = ("_chunks", "_end", "_waiter", "size")

    def __init__(self) -> None:
        self.size = 0
        self._chunks: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._end: type[Exception] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more can come."""
        return self._end is not None

    def put(self, data: bytes) -> None:
        self._chunks.append(data)
        self.size += len(data)
        self._wake()

    def end(self, reason: type[Exception]) -> None:
        """Nothing more will come; `reason` is raised when what is here has been taken. The first reason stays."""
        if self._end is None:
            self._end = reason
            self._wake()

    def close(self) -> None:
        """This side wants nothing more: what is here is dropped."""
        self._end = ClosedResourceError
        self._chunks.clear()
        self.size = 0
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def take(self, max_bytes: int = READ_BYTES) -> bytes:
        """What is here, at least one byte; raises how the stream ended once nothing is left."""
        if self._waiter is not None:
            raise BusyResourceError("receiving from")
        while not self._chunks:
            if self._end is not None:
                raise self._end
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._chunks.popleft() if len(self._chunks) == 1 else self._join()
        if len(data) > max_bytes:
            self._chunks.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        self.size -= len(data)
        return data

    def _join(self) -> bytes:
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data
