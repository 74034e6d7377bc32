"""A way between peers and a broker that can be spoiled: cut at one exact message, or under bad weather.

The proxy reads whole frames, knows each by the kind at its head, and forwards it as it came. Real sockets on both
sides, so what it does to them is what a network does.

* A `Cut` names the message at which a connection ends: before it is forwarded, so that it is lost, or after, so that
  all that answers it is. Both ends then see an end of the stream, and whatever they still say is lost.
* `Weather` is what happens to the bytes of one direction while it lasts, on connections that stand and on new ones.
* `sever`, `reset` and `half_close` end what stands now.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable, Collection, Iterator
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self, cast

from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.frames import HEADER_BYTES

_CODEC = Codec()
_HELLO = m.Hello.__struct_config__.tag
# What one direction holds of frames that are delayed; more waits in the sockets, as on any network.
_FRAMES_ON_THE_WAY: Final = 64
_LINGER_RESET: Final = struct.pack("ii", 1, 0)
ROLES: Final = tuple(m.Role)


def kind_of(payload: bytes) -> int:
    """The kind of a packed message: the first element of its array, and a small number."""
    return payload[1] if payload[0] >> 4 == 0x9 else payload[3]


class Toward(StrEnum):
    """A direction."""

    BROKER = "toward the broker"
    PEER = "toward the peer"


BOTH: Final = tuple(Toward)


class Weather(NamedTuple):
    """What happens to the bytes of one direction.

    `slice_bytes` and `bytes_a_second` 0 is as they come. In a `hole` nothing passes, the end of the stream included,
    and what was said waits for it to close: so does a network that is gone for a while.
    """

    delay_seconds: float = 0.0
    slice_bytes: int = 0
    bytes_a_second: int = 0
    hole: bool = False


FAIR: Final = Weather()
HOLE: Final = Weather(hole=True)


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
        self.writers = {Toward.PEER: near, Toward.BROKER: far}
        self.role: m.Role | None = None
        self.cut = False

    def end(self) -> None:
        """Nothing is forwarded any more; what was, still arrives."""
        self.cut = True
        for toward in BOTH:
            self.end_toward(toward)

    def end_toward(self, toward: Toward) -> None:
        """That side is told that the other says no more."""
        with contextlib.suppress(OSError, RuntimeError):
            self.writers[toward].write_eof()

    def reset(self) -> None:
        """Both sides are told that there is no connection."""
        self.cut = True
        for writer in self.writers.values():
            raw = cast(socket.socket, writer.get_extra_info("socket"))
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            writer.transport.abort()


class Proxy:
    """Listens on a port of its own for peers of the broker at `broker_port`."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._cuts: deque[Cut] = deque()
        self._ways: set[_Way] = set()
        self._watched: list[tuple[int, m.Role, asyncio.Future[None]]] = []
        self._open = asyncio.Event()
        self._open.set()
        # None is who has not said Hello yet: only what is for all roles is for them.
        self._weather: dict[tuple[m.Role | None, Toward], Weather] = {}
        self._changed = asyncio.Event()
        self._server: asyncio.Server
        self._serving: set[asyncio.Task[None]] = set()
        self._closed = False
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
        self._closed = True
        for way in self._ways:
            way.reset()
        self.clear()
        self.release()
        if self._serving:
            await asyncio.wait(self._serving)
        await self._server.wait_closed()

    # --- one connection's end ---

    def cut(self, *cuts: Cut) -> None:
        """Make these cuts, one after the other."""
        self._cuts.extend(cuts)

    def standing(self, role: m.Role) -> int:
        """How many connections of this role stand."""
        return sum(1 for _ in self._ways_of([role]))

    def sever(self, *roles: m.Role) -> None:
        """End every connection of these roles in good order now, wherever it stands."""
        for way in self._ways_of(roles):
            way.end()

    def reset(self, *roles: m.Role) -> None:
        """Reset every connection of these roles now."""
        for way in self._ways_of(roles):
            way.reset()

    def half_close(self, toward: Toward, *roles: m.Role) -> None:
        """Tell that side of each connection that the other says no more; the other direction stays open."""
        for way in self._ways_of(roles):
            way.end_toward(toward)

    def _ways_of(self, roles: Collection[m.Role]) -> Iterator[_Way]:
        return (way for way in list(self._ways) if way.role in roles and not way.cut)

    # --- what lasts ---

    def hold(self) -> None:
        """Let new connections wait before the broker's door until `release`."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def spoil(self, weather: Weather, *, toward: Collection[Toward] = BOTH, roles: Collection[m.Role] = ROLES) -> None:
        """From now on this weather, for connections of these roles that stand and that come."""
        everybody = set(roles) == set(ROLES)
        for role in [*roles, None] if everybody else roles:
            for direction in toward:
                self._weather[role, direction] = weather
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def clear(self) -> None:
        """Fair weather everywhere."""
        self.spoil(FAIR)

    def passing(self, message: type[Any], role: m.Role) -> asyncio.Future[None]:
        """Done when the next `message` of such a connection has been forwarded."""
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watched.append((message.__struct_config__.tag, role, passed))
        return passed

    # --- one connection ---

    async def _serve(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        await self._open.wait()
        try:
            broker, far = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            near.close()
            return
        way = _Way(near, far)
        self._ways.add(way)
        if self._closed:
            way.reset()
        try:
            await asyncio.gather(self._pass(way, reader, Toward.BROKER), self._pass(way, broker, Toward.PEER))
        finally:
            self._ways.discard(way)
            near.close()
            far.close()

    async def _pass(self, way: _Way, reader: asyncio.StreamReader, toward: Toward) -> None:
        """One direction of a connection, until its end has been passed on."""
        frames: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_FRAMES_ON_THE_WAY)
        arriving = asyncio.create_task(self._arrive(way, frames, toward))
        loop = asyncio.get_running_loop()
        try:
            while True:
                with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                    header = await reader.readexactly(HEADER_BYTES)
                    payload = await reader.readexactly(int.from_bytes(header, "big"))
                    self._learn_role(way, payload)
                    due = loop.time() + self._weather.get((way.role, toward), FAIR).delay_seconds
                    await frames.put((due, header + payload))
                    continue
                await frames.put((0.0, b""))
                await arriving
                return
        finally:
            arriving.cancel()

    async def _arrive(self, way: _Way, frames: asyncio.Queue[tuple[float, bytes]], toward: Toward) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, frame = await frames.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            while (weather := self._weather.get((way.role, toward), FAIR)).hole and not way.cut:
                await self._changed.wait()
            if not frame:
                break
            if not way.cut:
                with contextlib.suppress(OSError):
                    await self._forward(way, frame, toward, weather)
        way.end_toward(toward)

    @staticmethod
    def _learn_role(way: _Way, payload: bytes) -> None:
        if way.role is None and kind_of(payload) == _HELLO:
            hello = _CODEC.decode_client(payload)
            assert isinstance(hello, m.Hello)
            way.role = hello.role

    async def _forward(self, way: _Way, frame: bytes, toward: Toward, weather: Weather) -> None:
        kind = kind_of(frame[HEADER_BYTES:])
        cut = self._cuts[0] if self._cuts else None
        if cut is None or (cut.kind, cut.role) != (kind, way.role):
            await _write(way.writers[toward], frame, weather)
            self._tell(kind, way)
            return
        self._cuts.popleft()
        if not cut.before:
            await _write(way.writers[toward], frame, weather)
            self._tell(kind, way)
        cut.strike()
        way.end()
        cut.done.set()

    def _tell(self, kind: int, way: _Way) -> None:
        for watched in [each for each in self._watched if each[:2] == (kind, way.role)]:
            self._watched.remove(watched)
            if not watched[2].done():
                watched[2].set_result(None)


async def _write(writer: asyncio.StreamWriter, frame: bytes, weather: Weather) -> None:
    step = weather.slice_bytes or len(frame)
    for start in range(0, len(frame), step):
        piece = frame[start : start + step]
        writer.write(piece)
        await writer.drain()
        # Without a turn of the event loop between them the system would make one of many.
        await asyncio.sleep(len(piece) / weather.bytes_a_second if weather.bytes_a_second else 0)
