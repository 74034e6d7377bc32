"""A broker whose every word a test says by hand, over real sockets."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Self, TypeVar

from aioqueue.limits import FRAME_BYTES_MAX
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.frames import FrameReader

Kind = TypeVar("Kind")

JOURNAL = b"fake-journal-id!"
# Nobody reads a connection, and answers its pings, but in the moments in which a test looks at it: no silence of those
# between may be taken for a death.
TTL_MS = 600_000


class FakePeer:
    """The broker's end of one connection. Pings are answered without a test's doing, unless it is `mute`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._codec = Codec()
        self._frames = FrameReader(FRAME_BYTES_MAX)
        self._read: deque[m.ClientMessage] = deque()
        self.mute = False
        self.pings = 0

    async def read(self) -> m.ClientMessage:
        """The next message that is not a ping; `EOFError` when the client has closed its end."""
        while True:
            while not self._read:
                data = await self._reader.read(65_536)
                if not data:
                    raise EOFError
                self._read.extend(map(self._codec.decode_client, self._frames.feed(data)))
            message = self._read.popleft()
            if isinstance(message, m.WorkerDied) and not self.mute:
                self.send(m.Pong(message.number))
            if not isinstance(message, m.Ping):
                return message
            self.pings += 1
            if not self.mute:
                self.send(m.Pong(message.number))

    async def expect(self, kind: type[Kind]) -> Kind:
        """The next message, which must be of this kind."""
        message = await self.read()
        assert isinstance(message, kind), message
        return message

    async def next_ping(self) -> None:
        """Wait for one more ping, and nothing else."""
        before = self.pings
        while self.pings == before:
            data = await self._reader.read(65_536)
            for message in map(self._codec.decode_client, self._frames.feed(data)):
                assert isinstance(message, m.Ping), message
                self.pings += 1

    async def welcome(
        self, *, fresh: bool = True, epoch: int = 1, position: int = 0, ttl_ms: int = TTL_MS, **fields: Any
    ) -> m.Hello:
        """Hear the Hello and say Welcome."""
        hello = await self.expect(m.Hello)
        self.send(m.Welcome(1, 1, fresh, fields.pop("journal_id", JOURNAL), epoch, position, ttl_ms, **fields))
        return hello

    def send(self, *messages: m.BrokerMessage) -> None:
        self.send_bytes(b"".join(map(self._codec.encode, messages)))

    def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)

    async def accept_submit(self) -> m.Submit:
        """Hear a Submit and accept all of it."""
        submit = await self.expect(m.Submit)
        self.send(m.Submitted(submit.request, 1))
        return submit

    async def until_closed(self) -> list[m.ClientMessage]:
        """All that the client still says before it closes its end."""
        said = []
        try:
            while True:
                said.append(await self.read())
        except (EOFError, ConnectionError):
            return said

    def close(self) -> None:
        """End in good order, after all that was sent."""
        self._writer.close()

    def abort(self) -> None:
        """End as a killed process does: with a reset."""
        self._writer.transport.abort()


class FakeBroker:
    """Listens on a port of its own; a test takes each connection by hand. `port` keeps the same over a restart."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None
        self._peers: list[FakePeer] = []
        self._accepted: asyncio.Queue[FakePeer] = asyncio.Queue()

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = FakePeer(reader, writer)
        self._peers.append(peer)
        self._accepted.put_nowait(peer)

    async def accept(self) -> FakePeer:
        """The next connection."""
        return await self._accepted.get()

    async def welcome(self, **fields: Any) -> FakePeer:
        """The next connection, welcomed."""
        peer = await self.accept()
        await peer.welcome(**fields)
        return peer

    def unaccepted(self) -> int:
        """Connections that no test has taken."""
        return self._accepted.qsize()

    async def stop(self) -> None:
        """As killed: nobody listens any more, every connection is reset."""
        if self._server is not None:
            self._server.close()
            for peer in self._peers:
                peer.abort()
            await self._server.wait_closed()
            self._server = None
