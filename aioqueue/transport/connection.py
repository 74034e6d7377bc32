"""One peer: frames in, frames out, and the rules of the conversation kept in both directions.

What is queued during one turn of the event loop leaves in one write, which is most of what makes small messages
cheap. Used by the broker for each of its peers and by clients and workers for their broker; the owner runs
`run_writer` in its task group, receives in a loop, and closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream

from aioqueue.errors import ConnectionLost, PeerMisbehaved
from aioqueue.limits import (
    ANSWER_DELAY_SECONDS,
    FRAME_BYTES_MAX,
    OUTBOX_BYTES_MAX,
    OUTBOX_UNTOLD_BYTES_MAX,
    READ_BYTES,
    STRANGER_FRAME_BYTES_MAX,
)
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation
from aioqueue.protocol.frames import FrameReader
from aioqueue.protocol.messages import Message
from aioqueue.transport.stream import Stream

Received = TypeVar("Received", bound=Message)

_CODEC = Codec()


class Connection(Generic[Received]):
    """A conversation over a stream.

    `decode` reads what the peer may say (`Codec.decode_client` in a broker). Frames are small until the conversation
    says that the peer is welcome, and `frame_bytes_max` bytes from then on. `on_outbox` is told by how many bytes the
    outbox grows and shrinks, for who must bound many of them together; up to `OUTBOX_UNTOLD_BYTES_MAX` may go unsaid.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        decode: Callable[[bytes], Received],
        conversation: Conversation,
        frame_bytes_max: int = FRAME_BYTES_MAX,
        outbox_bytes_max: int = OUTBOX_BYTES_MAX,
        on_outbox: Callable[[int], None] | None = None,
    ) -> None:
        self.conversation = conversation
        self._stream = stream
        self._decode = decode
        self._frame_bytes_max = frame_bytes_max
        self._outbox_bytes_max = outbox_bytes_max
        # Told by how much the outbox grew; what it was told of so far adds up to this.
        self._on_outbox = on_outbox
        self._told_bytes = 0
        self._reader = FrameReader(min(STRANGER_FRAME_BYTES_MAX, frame_bytes_max))
        self._stranger = True
        # All that was ever read, and what of it was in whole frames.
        self.received_bytes = 0
        self.understood_bytes = 0
        self._outbox = bytearray()
        self._writing_bytes = 0
        self._handed_bytes = 0
        self._queued: asyncio.Future[None] | None = None
        # When what was sent lazily leaves by itself.
        self._alarm: asyncio.TimerHandle | None = None
        self._flushing: list[asyncio.Future[None]] = []
        # Why nothing more is sent or received; the first reason stays.
        self._end: ConnectionLost | None = None
        # What the peer did wrong; nothing after it is read.
        self._fault: PeerMisbehaved | None = None

    @property
    def peer(self) -> str:
        """The other side's address, for people."""
        return self._stream.peer

    @property
    def closed(self) -> bool:
        """Whether nothing more is sent: closed here, lost, or given up because the peer does not read."""
        return self._end is not None

    @property
    def outbox_bytes(self) -> int:
        """What was queued and has not been handed to the stream."""
        return self._writing_bytes + len(self._outbox)

    @property
    def handed_bytes(self) -> int:
        """All that the stream has taken: of what is in the outbox, nothing moves while this stays as it is."""
        return self._handed_bytes

    async def receive(self) -> list[Received]:
        """The messages of one read, at least one.

        Raises `EndOfStream` when the peer ended in good order, `PeerMisbehaved` for what cannot be read or is not
        allowed, and `ConnectionLost`. With a fault nothing of its read is given out; a last `Refusal` can still be
        sent.
        """
        if self._fault is not None:
            raise self._fault
        payloads: list[bytes] = []
        while not payloads:
            data = await self._read()
            self.received_bytes += len(data)
            if self._stranger and self.conversation.welcomed:
                self._stranger = False
                self._reader.raise_limit(self._frame_bytes_max)
            try:
                payloads = self._reader.feed(data)
                self.understood_bytes = self.received_bytes - self._reader.partial_bytes
                messages = self._understand(payloads)
            except PeerMisbehaved as fault:
                self._fault = fault
                raise
        return messages

    def _understand(self, payloads: list[bytes]) -> list[Received]:
        decode = self._decode
        received = self.conversation.received
        messages = []
        for payload in payloads:
            message = decode(payload)
            received(message)
            messages.append(message)
        return messages

    async def _read(self) -> bytes:
        try:
            return await self._stream.receive(READ_BYTES)
        except EndOfStream:
            if not self._reader.inside_frame:
                raise
            self._lose("it ended inside a frame")
        except ClosedResourceError:
            self._lose("it was closed on this side")
        except BrokenResourceError:
            self._lose("the peer went away")
        assert self._end is not None
        raise self._end

    def send_nowait(self, *messages: Message, lazily: bool = False) -> None:
        """Queue messages; all that is queued in one turn of the event loop leaves in one write.

        What is sent `lazily` leaves with the next that is not, or after `ANSWER_DELAY_SECONDS`.

        Raises `UnexpectedMessage` or `PayloadTooLarge` for the first message that must not be sent; those before it
        are queued. On a closed connection messages are dropped: `receive` tells its reader of the end. A peer that
        lets more than `outbox_bytes_max` bytes wait is cut off.
        """
        if self._end is not None:
            return
        outbox = self._outbox
        sent = self.conversation.sent
        try:
            for message in messages:
                start = len(outbox)
                _CODEC.encode_into(message, outbox)
                try:
                    sent(message)
                except PeerMisbehaved:
                    del outbox[start:]
                    raise
        finally:
            if not lazily:
                self._wake_writer()
            elif self._alarm is None:
                self._alarm = asyncio.get_running_loop().call_later(ANSWER_DELAY_SECONDS, self._wake_late)
        waiting = self._writing_bytes + len(outbox)
        if waiting > self._outbox_bytes_max:
            limit = self._outbox_bytes_max
            self.cut_off(f"it does not read: {waiting} bytes waited for it, the limit is {limit}")
        elif waiting > OUTBOX_UNTOLD_BYTES_MAX:
            self._tell_outbox()

    def _wake_writer(self) -> None:
        queued = self._queued
        if queued is not None and not queued.done():
            queued.set_result(None)

    def _wake_late(self) -> None:
        self._alarm = None
        if self._outbox:
            self._wake_writer()

    def cut_off(self, reason: str) -> None:
        """End the connection without another word, and drop what waits for its peer."""
        self._lose(reason)
        self._stream.abort()

    def _tell_outbox(self) -> None:
        if self._on_outbox is not None:
            size = self._writing_bytes + len(self._outbox) if self._end is None else 0
            grown, self._told_bytes = size - self._told_bytes, size
            if grown:
                self._on_outbox(grown)

    async def run_writer(self) -> None:
        """Write what is queued, until the connection ends. Exactly one task runs this."""
        try:
            while self._end is None:
                if self._outbox:
                    await self._write()
                else:
                    self._queued = asyncio.get_running_loop().create_future()
                    await self._queued
        except BrokenResourceError:
            self._lose("the peer went away")
        except ClosedResourceError:
            pass
        finally:
            self._lose("it was closed on this side")

    async def _write(self) -> None:
        # The stream may keep the buffer, so the next messages get a new one.
        data, self._outbox = self._outbox, bytearray()
        size = self._writing_bytes = len(data)
        if size <= READ_BYTES:
            await self._stream.send(data)
            self._handed(size)
        else:
            # Piece by piece, so that a peer that reads slowly can be told from one that does not read.
            for start in range(0, size, READ_BYTES):
                piece = data[start : start + READ_BYTES]
                await self._stream.send(piece)
                self._handed(len(piece))

    def _handed(self, size: int) -> None:
        self._handed_bytes += size
        self._writing_bytes -= size
        if self._told_bytes:
            self._tell_outbox()
        if self._flushing:
            self._wake_flushing()

    async def flush(self) -> None:
        """Wait until everything queued so far has been handed to the stream; `ConnectionLost` on a closed connection.

        Needs `run_writer` to run.
        """
        if self._end is not None:
            raise self._end
        self._wake_writer()
        target = self._handed_bytes + self.outbox_bytes
        while self._handed_bytes < target:
            if self._end is not None:
                raise self._end
            waiter = asyncio.get_running_loop().create_future()
            self._flushing.append(waiter)
            await waiter

    async def finish(self) -> None:
        """Say no more: the peer sees the end after all that was queued, and what it still says can be received.

        Raises `ConnectionLost` on a closed connection. A connection that is cut while the peer's last words are unread
        would take from it what it had not read either.
        """
        await self.flush()
        self._lose("this side has said all")
        with suppress(BrokenResourceError, ClosedResourceError):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        """End the connection; what is still queued is dropped, so `flush` first where it matters."""
        self._lose("it was closed on this side")
        await self._stream.aclose()

    def _lose(self, reason: str) -> None:
        if self._end is None:
            self._end = ConnectionLost(url=self.peer, reason=reason)
        # Those who wait must see the end.
        self._outbox.clear()
        self._tell_outbox()
        self._wake_writer()
        if self._alarm is not None:
            self._alarm.cancel()
        self._wake_flushing()

    def _wake_flushing(self) -> None:
        waiting, self._flushing = self._flushing, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
