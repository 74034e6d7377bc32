"""A way between peers and a broker that can be cut at one exact message.

The proxy reads whole frames, knows each by the kind at its head, and forwards it as it came. A `Cut` names the message
at which a connection ends: before it is forwarded, so that it is lost, or after, so that all that answers it is. Both
ends then see an end of the stream, and whatever they still say is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.frames import HEADER_BYTES

_CODEC = Codec()
_HELLO = m.Hello.__struct_config__.tag


def kind_of(payload: bytes) -> int:
    """The kind of a packed message: the first element of its array, and a small number."""
    return payload[1] if payload[0] >> 4 == 0x9 else payload[3]


class Cut:
    """Ends a connection of `role` at the next `message`. `strike` is called at that instant; `done` tells of it."""

    def __init__(
        self, message: type[Any], role: m.Role, *, before: bool, strike: Callable[[], None] = lambda: None
    ) -> None:
        self.kind = message.__struct_config__.tag
        self.role = role
        self.before = before
        self.strike = strike
        self.done = asyncio.Event()


class _Way:
    """One connection of a peer, and its continuation to the broker."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near = near
        self.far = far
        self.role: m.Role | None = None
        self.cut = False

    def end(self) -> None:
        """Nothing is forwarded any more; what was, still arrives."""
        self.cut = True
        for writer in (self.near, self.far):
            with contextlib.suppress(OSError):
                writer.write_eof()


class Proxy:
    """Listens on a port of its own for peers of the broker at `broker_port`."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._cuts: deque[Cut] = deque()
        self._ways: set[_Way] = set()
        self._watched: list[tuple[int, m.Role, asyncio.Future[None]]] = []
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server
        self.port = 0

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *reason: object) -> None:
        self._server.close()
        for way in self._ways:
            way.near.transport.abort()
            way.far.transport.abort()
        await self._server.wait_closed()

    def cut(self, *cuts: Cut) -> None:
        """Make these cuts, one after the other."""
        self._cuts.extend(cuts)

    def sever(self, role: m.Role) -> None:
        """Cut every connection of this role now, wherever it stands."""
        for way in self._ways:
            if way.role is role:
                way.end()

    def hold(self) -> None:
        """Let new connections wait before the broker's door until `release`."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def passing(self, message: type[Any], role: m.Role) -> asyncio.Future[None]:
        """Done when the next `message` of such a connection has been forwarded."""
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watched.append((message.__struct_config__.tag, role, passed))
        return passed

    # --- one connection ---

    async def _serve(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            broker, far = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            near.close()
            return
        way = _Way(near, far)
        self._ways.add(way)
        try:
            await asyncio.gather(self._pump(way, reader, far), self._pump(way, broker, near))
        finally:
            self._ways.discard(way)
            near.close()
            far.close()

    async def _pump(self, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                header = await reader.readexactly(HEADER_BYTES)
                payload = await reader.readexactly(int.from_bytes(header, "big"))
                if not way.cut:
                    self._forward(way, header + payload, payload, writer)
                    await writer.drain()
        way.end()

    def _forward(self, way: _Way, frame: bytes, payload: bytes, writer: asyncio.StreamWriter) -> None:
        kind = kind_of(payload)
        if kind == _HELLO:
            hello = _CODEC.decode_client(payload)
            assert isinstance(hello, m.Hello)
            way.role = hello.role
        cut = self._cuts[0] if self._cuts else None
        if cut is None or (cut.kind, cut.role) != (kind, way.role):
            writer.write(frame)
            self._tell(kind, way)
            return
        self._cuts.popleft()
        if not cut.before:
            writer.write(frame)
            self._tell(kind, way)
        cut.strike()
        way.end()
        cut.done.set()

    def _tell(self, kind: int, way: _Way) -> None:
        for watched in [each for each in self._watched if each[:2] == (kind, way.role)]:
            self._watched.remove(watched)
            if not watched[2].done():
                watched[2].set_result(None)
