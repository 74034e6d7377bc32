"""What was said and is not decided: bounded for one connection, and for all of them together.

The engine's lines have no bound of their own, for commands of the broker itself and of quiet connections must never
wait for a loud one. So each connection is held to its own part (`room_for_more`), and what it says beyond stays with
its sender. All clients together have an `Intake`, and all workers another: it counts every byte from its arrival, half
a frame included, until what it asked is decided. Above the bound nobody of that kind is read. Where nothing is left
that the engine could decide, only unfinished frames can be in the way, and the largest of them is cut off.
"""

from __future__ import annotations

from aioqueue.broker.engine import Engine
from aioqueue.limits import UNDECIDED_BYTES_MAX
from aioqueue.transport.stream import Stream


class Intake:
    """Bytes of many connections that came and are not decided; `undecided` of them the engine will get rid of."""

    def __init__(self, bytes_max: int) -> None:
        self.size = 0
        self.undecided = 0
        self.shut = False
        self._bytes_max = bytes_max
        self._gauges: dict[Gauge, None] = {}
        # What is behind a frame that nobody finishes is noticed when nothing has moved from one look to the next.
        self._stuck_at = -1

    def enter(self, gauge: Gauge) -> None:
        """A connection begins, or turned out to be of this kind."""
        self._gauges[gauge] = None
        gauge.source.hold(self.shut)
        self.change(gauge.size)
        self.undecided += gauge.undecided

    def leave(self, gauge: Gauge) -> None:
        """The opposite."""
        del self._gauges[gauge]
        self.undecided -= gauge.undecided
        self.change(-gauge.size)

    def change(self, size: int) -> None:
        """So many bytes came, or are decided where it is negative."""
        self.size += size
        # Some room first, or each command that is decided would let one read through and stop all again.
        shut = self.size > (self._bytes_max * 3 // 4 if self.shut else self._bytes_max)
        if shut is not self.shut:
            self.shut = shut
            for gauge in self._gauges:
                gauge.source.hold(shut)

    def stuck(self) -> Gauge | None:
        """To be asked now and then: the connection with the most bytes, if none of those here can ever be decided."""
        before, self._stuck_at = self._stuck_at, self.size if self.shut and not self.undecided else -1
        if self._stuck_at < 0 or before != self._stuck_at:
            return None
        return max(self._gauges, key=lambda gauge: gauge.size)


class Gauge:
    """One connection's part of an intake."""

    __slots__ = ("intake", "size", "source", "undecided")

    def __init__(self, source: Stream, intake: Intake) -> None:
        self.source = source
        self.intake: Intake | None = None
        self.size = 0
        self.undecided = 0
        self.move(intake)

    @property
    def held(self) -> bool:
        """Whether nothing can come over this connection, for there is too much of all."""
        return self.intake is not None and self.intake.shut

    def came(self, size: int) -> None:
        """Bytes came from the system."""
        self.size += size
        if self.intake is not None:
            self.intake.change(size)

    def asked(self, size: int) -> None:
        """Whole frames of so many bytes were given to the engine."""
        self.undecided += size
        if self.intake is not None:
            self.intake.undecided += size

    def decided(self, size: int) -> None:
        """What so many bytes asked is decided."""
        self.undecided -= size
        self.size -= size
        if self.intake is not None:
            self.intake.undecided -= size
            self.intake.change(-size)

    def move(self, intake: Intake | None) -> None:
        """The connection turned out to be of another kind, or is gone."""
        if intake is not self.intake:
            if self.intake is not None:
                self.intake.leave(self)
            self.intake = intake
            if intake is not None:
                intake.enter(self)


async def room_for_more(engine: Engine, gauge: Gauge) -> None:
    """Wait until the connection may be read again."""
    while gauge.undecided > UNDECIDED_BYTES_MAX and not engine.ended:
        await engine.moved()
