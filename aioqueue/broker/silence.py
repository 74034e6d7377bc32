"""Connections that stand and carry nothing: a peer that went without a word is noticed, whatever TCP says.

Every peer pings three times a `session_ttl` over each of its connections. One over which nothing came for a whole one
leads to nobody, even where its session is heard over another: a worker whose heartbeats pass and whose data does not
would look alive and do nothing. Such a connection is closed; the session goes on, and its peer makes a new one.

Looks are counted rather than time, and before each what waits in the sockets is read (see `hearing`): nobody is to
blame for a stop of this process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from aioqueue.limits import HEARTBEATS_A_TTL


class Heard(Protocol):
    """A connection as far as it can be silent. While this side does not read it, its silence is no news."""

    @property
    def listening(self) -> bool: ...
    @property
    def received_bytes(self) -> int: ...


Connection = TypeVar("Connection", bound=Heard)


class Silences(Generic[Connection]):
    """How often each connection was found to have said nothing since the look before."""

    def __init__(self) -> None:
        self._last: dict[Connection, tuple[int, int]] = {}

    def look(self, connections: Iterable[Connection]) -> list[Connection]:
        """Look at all that stand, `HEARTBEATS_A_TTL` times a ttl; those that were silent for a whole one."""
        before, self._last = self._last, {}
        silent: list[Connection] = []
        for connection in connections:
            received = connection.received_bytes
            then, times = before.get(connection, (-1, 0))
            times = times + 1 if received == then and connection.listening else 0
            if times >= HEARTBEATS_A_TTL:
                silent.append(connection)
            else:
                self._last[connection] = received, times
        return silent
