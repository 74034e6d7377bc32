"""Streams between simulated processes, over a network that is slow, tears, stalls, loses and cuts.

`SimulatedStream` keeps the promises of `transport.stream`, and passes the same conformance suite as the real ones.
Bytes leave in chunks of any size and arrive in order, each a little later; a direction may become a **hole** that
swallows what is sent until it is healed or the connection ends; a **cut** ends both sides as a reset would, and what
was under way is lost. What arrives at a process is a callback of that process: one that is stopped finds it when it
goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from random import Random
from typing import Final

from anyio import BrokenResourceError, BusyResourceError, ClosedResourceError, EndOfStream

from aioqueue.errors import BrokerUnavailable
from aioqueue.limits import CONNECT_SECONDS, READ_BYTES
from aioqueue.transport.stream import Inbox, Stream
from tests.simulator.shells.loop import PARTY, Party

BUFFER_BYTES_MAX: Final = READ_BYTES
# How often a connection is asked for before its caller gives up.
TRIES_MAX: Final = 5
URL: Final = "tcp://broker:7710"

# A chunk of bytes, or how the stream ends behind what came before.
_Parcel = bytes | type[Exception]


class Weather:
    """What the network is like now; times are seconds. `torn` is how often a write arrives in pieces."""

    def __init__(self, latency: tuple[float, float] = (0.0, 0.0), torn: float = 0.0) -> None:
        self.latency = latency
        self.torn = torn
        self.buffer_bytes_max = BUFFER_BYTES_MAX


class SimulatedStream(Stream):
    """One end of a connection; made by `simulated_pair`."""

    _other: SimulatedStream

    def __init__(self, weather: Weather, rng: Random, peer: str) -> None:
        self.peer = peer
        self.weather = weather
        # Told of all that is sent here.
        self.tap: Callable[[bytes], None] | None = None
        # Told when something has arrived here.
        self.arrived: Callable[[bytes], None] | None = None
        self.hole = False
        self._rng = rng
        self._inbox = Inbox()
        self._context: Context = copy_context()
        # What was sent here and has not arrived, oldest first; so many of them have a timer that will take them over.
        self._line: deque[_Parcel] = deque()
        self._timers = 0
        self._flying_bytes = 0
        self._arrival = 0.0
        # What the kernel has taken, and this process does not want yet.
        self._holding = False
        self._kept: deque[_Parcel] = deque()
        self._room: asyncio.Future[None] | None = None
        self._sending = False
        self._closed = False
        self._said_eof = False
        self._broken = False

    @property
    def over(self) -> bool:
        """Whether nothing can pass here any more."""
        return self._closed or self._broken

    # --- what the owner calls ---

    @property
    def waiting_bytes(self) -> int:
        return self._inbox.size

    def hold(self, held: bool) -> None:
        self._holding = held
        while self._kept and not self._holding:
            self._other._take_in(self._kept.popleft())

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        data = await self._inbox.take(max_bytes)
        self._other._let_sender_go_on()
        return data

    async def send(self, item: bytes | bytearray) -> None:
        if self._sending:
            raise BusyResourceError("sending to")
        self._check_open()
        data = bytes(item)
        if self.tap is not None:
            self.tap(data)
        self._sending = True
        try:
            sent = 0
            while sent < len(data):
                room = self.weather.buffer_bytes_max - self._flying_bytes - self._other._inbox.size
                if room <= 0:
                    await self._wait_for_room()
                    continue
                size = self._torn(min(room, len(data) - sent))
                self._flying_bytes += size
                self._post(data[sent : sent + size])
                sent += size
        finally:
            self._sending = False
        self._check_open()

    def _torn(self, size: int) -> int:
        if size > 1 and self.weather.torn and self._rng.random() < self.weather.torn:
            return self._rng.randint(1, min(size, 64) if self._rng.random() < 0.7 else size)
        return size

    async def _wait_for_room(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        try:
            await self._room
        finally:
            self._room = None
        self._check_open()

    def _check_open(self) -> None:
        if self._closed or self._said_eof:
            raise ClosedResourceError
        if self._broken:
            raise BrokenResourceError

    async def send_eof(self) -> None:
        if not self._said_eof and not self._closed:
            self._said_eof = True
            self._post(EndOfStream)
            self._let_sender_go_on()

    async def aclose(self) -> None:
        self._end(BrokenResourceError if self._inbox.size else EndOfStream)

    def abort(self) -> None:
        if not self._closed:
            self._forget_line()
        self._end(BrokenResourceError)

    def _end(self, word: type[Exception]) -> None:
        if not self._closed:
            self._closed = True
            self._inbox.close()
            if not self._said_eof or word is BrokenResourceError:
                self._post(word)
            self._let_sender_go_on()

    # --- the way to the other end ---

    def _post(self, parcel: _Parcel) -> None:
        self._line.append(parcel)
        if not self.hole:
            self._let_leave()

    def _let_leave(self) -> None:
        """Give every parcel a time of arrival, none before the one ahead of it."""
        loop = asyncio.get_running_loop()
        low, high = self.weather.latency
        while self._timers < len(self._line):
            late = low + (high - low) * self._rng.random() if high else 0.0
            self._arrival = max(self._arrival, loop.time() + late)
            self._timers += 1
            loop.call_at(self._arrival, self._arrive, context=self._other._context)

    def _arrive(self) -> None:
        if self._timers > len(self._line):
            # What it was set for is lost.
            self._timers -= 1
            return
        self._timers -= 1
        parcel = self._line.popleft()
        if self._other._holding:
            self._other._kept.append(parcel)
        else:
            self._take_in(parcel)

    def _take_in(self, parcel: _Parcel) -> None:
        """A parcel of this side's reaches the other process."""
        other = self._other
        if isinstance(parcel, bytes):
            self._flying_bytes -= len(parcel)
            if other._closed:
                # Nobody is there who would read it: the kernel answers with a reset.
                self._break()
            else:
                other._inbox.put(parcel)
                if other.arrived is not None:
                    other.arrived(parcel)
            return
        if parcel is BrokenResourceError:
            other._break()
        else:
            other._inbox.end(parcel)

    def _break(self, before: bool = False) -> None:
        """A reset has arrived here; `before` it, perhaps, all that was on its way."""
        other = self._other
        if not self._closed:
            for parcel in other._line if before else ():
                if isinstance(parcel, bytes):
                    self._inbox.put(parcel)
            self._broken = True
            self._inbox.end(BrokenResourceError)
            self._let_sender_go_on()
        other._forget_line()

    def _forget_line(self) -> None:
        self._line.clear()
        self._flying_bytes = 0

    def _let_sender_go_on(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # --- what befalls it ---

    def reset(self, keep: float) -> None:
        """A reset reaches this end out of nowhere; `keep` is the chance that what is under way arrives before."""
        asyncio.get_running_loop().call_soon(self._break, self._rng.random() < keep, context=self._context)

    def heal(self) -> None:
        """What a hole swallowed was only late."""
        if self.hole:
            self.hole = False
            self._let_leave()


def simulated_pair(weather: Weather, rng: Random) -> tuple[SimulatedStream, SimulatedStream]:
    """Two connected streams; both belong to whoever makes them."""
    one, other = SimulatedStream(weather, rng, "memory:one"), SimulatedStream(weather, rng, "memory:other")
    one._other, other._other = other, one
    return one, other


class Wire:
    """One connection from a process to the broker."""

    def __init__(self, number: int, party: Party, near: SimulatedStream, far: SimulatedStream, broker: Party) -> None:
        self.number = number
        self.party = party
        self.broker = broker
        self.near = near
        self.far = far
        self._lost = False
        # As what its process greeted, and when the broker said Welcome here; 0 before.
        self.role = 0
        self.welcomed_ms = 0

    @property
    def over(self) -> bool:
        return self.near.over and self.far.over

    @property
    def stands(self) -> bool:
        """Whether both ends may still speak here, and the broker has said Welcome."""
        return bool(self.welcomed_ms) and not self.near.over and not self.far.over

    def cut(self, keep: float) -> None:
        """A reset, as both ends see it."""
        self.near.reset(keep)
        self.far.reset(keep)

    def swallow(self, outward: bool, inward: bool, for_good: bool = False) -> None:
        """What is said passes into nothing; where it is not for good, it is only late."""
        self._lost |= for_good
        self.near.hole |= outward
        self.far.hole |= inward

    def heal(self) -> None:
        if not self._lost:
            self.near.heal()
            self.far.heal()

    def ended_by(self, party: Party, power: bool) -> None:
        """One of its processes is dead. Without power not even its kernel says so."""
        ours, theirs = (self.near, self.far) if party is self.party else (self.far, self.near)
        if power:
            ours.hole = theirs.hole = True
        else:
            theirs.reset(keep=0.5)
        ours._closed = True


class Network:
    """All connections to the one broker there is; a `Dials`. `watch` is told of each new one."""

    def __init__(self, rng: Random, weather: Weather, watch: Callable[[Wire], None]) -> None:
        self.url = URL
        self.weather = weather
        self.wires: list[Wire] = []
        # At the end of the world.
        self.gone = False
        self._rng = rng
        self._watch = watch
        self._number = 0
        self._accept: Callable[[SimulatedStream], None] | None = None
        self._broker: Party | None = None

    def listen(self, accept: Callable[[SimulatedStream], None]) -> None:
        """From now on the calling party is the broker that is found."""
        self._broker, self._accept = PARTY.get(), accept

    def close(self) -> None:
        """Nobody listens."""
        self._broker = self._accept = None

    async def open_stream(self) -> SimulatedStream:
        """A stream from the calling party to the broker. Raises `BrokerUnavailable` as the real one does."""
        low, high = self.weather.latency
        await asyncio.sleep(low + (high - low) * self._rng.random())
        if self._broker is None or self._accept is None or self.gone:
            raise BrokerUnavailable(url=URL, reason="connection refused")
        tries = 0
        while self._broker is not None and self._broker.dead:
            # Its machine is gone, and nobody refuses.
            if tries == TRIES_MAX:
                raise BrokerUnavailable(url=URL, reason=f"no answer within {CONNECT_SECONDS:g} s")
            await asyncio.sleep(CONNECT_SECONDS / TRIES_MAX)
            tries += 1
        if self._broker is None or self._accept is None:
            raise BrokerUnavailable(url=URL, reason="connection refused")
        party = PARTY.get()
        self._number += 1
        near = SimulatedStream(self.weather, self._rng, URL)
        far = self._broker.context.copy().run(SimulatedStream, self.weather, self._rng, f"tcp://{party.name}")
        near._other, far._other = far, near
        wire = Wire(self._number, party, near, far, self._broker)
        self.wires = [each for each in self.wires if not each.over]
        self.wires.append(wire)
        self._watch(wire)
        self._broker.call(self._accept, far)
        return near

    def lose(self, party: Party, power: bool = False) -> None:
        """A process died: its kernel ends its connections, or nobody does."""
        if self._broker is party and not power:
            self.close()
        for wire in self.wires:
            if party in (wire.party, wire.broker):
                wire.ended_by(party, power)
