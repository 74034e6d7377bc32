"""All connections of a broker together: how many there may be, what they may keep in its memory, and who must go.

Who has not said yet who it is, a stranger, has a bound of its own, and makes room for the next one.

Each connection has bounds of its own, in `Connection` and `backlog`; thousands of them at their bounds would still be
too much. So what comes in is counted for all clients and for all workers (`Intake`), and what waits to go out for all
together. Who takes nothing of what waits for it is cut off after a while, and where too much waits in all, those for
which most waits are cut off at once: they come back when they can read.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

from aioqueue.broker.backlog import Gauge, Intake
from aioqueue.errors import TooManyConnections
from aioqueue.limits import (
    CONNECTIONS_MAX,
    FILES_KEPT,
    INTAKE_BYTES_MAX,
    OUTBOXES_BYTES_MAX,
    STALLED_SECONDS,
    STRANGERS_MAX,
)
from aioqueue.transport.connection import Connection
from aioqueue.transport.stream import Stream

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
# Connections that are told at a time that there is no room; more are closed without a word.
TOLD_MAX: Final = FILES_KEPT // 2


def connections_max() -> int:
    """How many connections this process may have, by its limit of open files."""
    if sys.platform == "win32":
        return CONNECTIONS_MAX
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if files == resource.RLIM_INFINITY else max(1, min(CONNECTIONS_MAX, files - FILES_KEPT))


class Crowd:
    """The connections that stand, each with its gauge."""

    def __init__(self) -> None:
        self.limit = connections_max()
        self.clients = Intake(INTAKE_BYTES_MAX)
        self.workers = Intake(INTAKE_BYTES_MAX)
        self.outbox_bytes = 0
        self._gauges: dict[Connection[Any], Gauge] = {}
        # Whose Hello was not read yet, the oldest first.
        self._strangers: dict[Connection[Any], None] = {}
        self._told = 0
        self._was_full = False
        # What each had been handed when it was first seen to take nothing, and how many looks ago that was.
        self._stalled: dict[Connection[Any], tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._gauges)

    # --- coming and going -------------------------------------------------------------------------------------------

    def enter(self, connection: Connection[Any], stream: Stream) -> Gauge:
        """One more; what comes over it is counted from now on. Raises `TooManyConnections`."""
        if len(self._gauges) >= self.limit:
            error = TooManyConnections(connections=len(self._gauges), limit=self.limit)
            if not self._was_full:
                log.warning("%s", error)
            self._was_full = True
            raise error
        if len(self._gauges) < self.limit * 9 // 10:
            # It may fill again, and that would be news.
            self._was_full = False
        gauge = self._gauges[connection] = Gauge(stream, self.clients)
        self._strangers[connection] = None
        stream.on_input = gauge.came
        gauge.came(stream.waiting_bytes)
        return gauge

    def known(self, connection: Connection[Any]) -> None:
        """It has said who it is."""
        self._strangers.pop(connection, None)

    def surplus(self) -> Connection[Any] | None:
        """The stranger that has to go because there are too many of them, the oldest."""
        if len(self._strangers) <= STRANGERS_MAX:
            return None
        oldest = next(iter(self._strangers))
        del self._strangers[oldest]
        return oldest

    def leave(self, connection: Connection[Any]) -> None:
        self.known(connection)
        gauge = self._gauges.pop(connection, None)
        if gauge is not None:
            gauge.source.on_input = None
            gauge.move(None)

    def may_tell(self) -> bool:
        """Whether one more that is refused may be told so; `told` when it was."""
        if self._told >= TOLD_MAX:
            return False
        self._told += 1
        return True

    def told(self) -> None:
        self._told -= 1

    # --- what waits to go out ---------------------------------------------------------------------------------------

    def outbox_grew(self, size: int) -> None:
        """So many bytes more wait for some connection, or fewer."""
        self.outbox_bytes += size
        if self.outbox_bytes > OUTBOXES_BYTES_MAX and size > 0:
            self._cut_off_the_fattest()

    def _cut_off_the_fattest(self) -> None:
        for connection in sorted(self._gauges, key=lambda each: -each.outbox_bytes):
            if self.outbox_bytes <= OUTBOXES_BYTES_MAX * 3 // 4:
                return
            waiting, total = connection.outbox_bytes, self.outbox_bytes
            reason = (
                f"it does not read: {waiting} bytes waited for it, {total} for all, the limit is {OUTBOXES_BYTES_MAX}"
            )
            log.warning("%s: %s", connection.peer, reason)
            connection.cut_off(reason)

    # --- looking ----------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """To be called every `LOOK_SECONDS`: cut off who reads nothing, and who is in the way of all others."""
        before, self._stalled = self._stalled, {}
        for connection in list(self._gauges):
            if connection.outbox_bytes:
                handed, looks = before.get(connection, (-1, 0))
                looks = looks + 1 if handed == connection.handed_bytes else 0
                self._stalled[connection] = connection.handed_bytes, looks
                # Looks are counted, not time: after a stop of this process what peers took meanwhile is seen first.
                if looks * LOOK_SECONDS >= STALLED_SECONDS:
                    reason = f"it read nothing for {STALLED_SECONDS:g} s; {connection.outbox_bytes} bytes wait for it"
                    log.warning("%s: %s", connection.peer, reason)
                    connection.cut_off(reason)
        for intake in (self.clients, self.workers):
            largest = intake.stuck()
            if largest is not None:
                self._cut_off_unfinished(largest)

    def _cut_off_unfinished(self, gauge: Gauge) -> None:
        connection = next(each for each, its in self._gauges.items() if its is gauge)
        reason = f"{gauge.size} bytes of a frame that is not whole are in the way of all other connections"
        log.warning("%s: %s", connection.peer, reason)
        connection.cut_off(reason)
        self.leave(connection)
