"""Which connection speaks for which session, and how a connection is closed that no longer may.

A session has at most one connection for its data and one for its heartbeats: a newer one takes the seat of the older.
Called by `connections`, which knows who comes and goes, and by whoever ends a connection for what was said over it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Generic, Protocol, TypeVar

import anyio

from aioqueue.broker.names import Names
from aioqueue.errors import ConnectionLost
from aioqueue.protocol import messages as m
from aioqueue.transport.connection import Connection

# How long a last word (a refusal, "closing") may take to leave before the connection is cut.
LAST_WORD_SECONDS: Final = 2.0
# Runs something beside the engine, for as long as the broker lives.
Spawn = Callable[..., None]


class Sitter(Protocol):
    """A connection that was welcomed, and the session it speaks for."""

    connection: Connection[m.ClientMessage]
    role: m.Role
    session: int
    dismissed: bool


P = TypeVar("P", bound=Sitter)


class Seats(Generic[P]):
    """All connections that stand, in the order in which they came, and those of them that speak for a session."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        # A dictionary for its order: whoever is told something is told in the order in which all came.
        self.present: dict[P, None] = {}
        self.at_data: dict[int, P] = {}
        self.at_heartbeat: dict[int, P] = {}
        self.names = Names()

    def seat(self, peer: P) -> None:
        """The peer speaks for its session from now on; an older connection of the same kind is closed.

        One that left before it could be welcomed gets no seat, for nobody would ever clear it away.
        """
        if peer not in self.present:
            return
        seats = self.at_heartbeat if peer.role is m.Role.HEARTBEAT else self.at_data
        older = seats.get(peer.session)
        seats[peer.session] = peer
        if older is not None and older is not peer:
            self.dismiss(older)

    def close_session(self, session: int) -> None:
        """The session is over, and so are its connections."""
        self.names.forget(session)
        for seats in (self.at_data, self.at_heartbeat):
            peer = seats.get(session)
            if peer is not None:
                self.dismiss(peer)

    def dismiss(self, peer: P) -> None:
        """Close a connection once what it was told has left; what still comes over it is not heard.

        Whoever has a newer connection may be told there that a job is unknown. A submit of it that was under way over
        the older one must not be decided after that.
        """
        peer.dismissed = True
        self._spawn(_dismiss, peer)


def _dismiss(peer: Sitter) -> Coroutine[Any, Any, None]:
    return flush_and_close(peer.connection)


async def flush_and_close(connection: Connection[m.ClientMessage]) -> None:
    """Let what was queued leave, within `LAST_WORD_SECONDS`, and close the connection."""
    with anyio.move_on_after(LAST_WORD_SECONDS):
        with suppress(ConnectionLost):
            await connection.flush()
    await connection.aclose()
