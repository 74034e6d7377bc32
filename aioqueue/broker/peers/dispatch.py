"""The table of all messages that a client may say. One that has no row cannot be decoded either: a test compares."""

from __future__ import annotations

from typing import Any, Final

from aioqueue.broker.peers import admin, asking, control, life, submitting, waiting, working
from aioqueue.broker.peers.peer import Peer
from aioqueue.broker.peers.rows import Row
from aioqueue.protocol import messages as m

_DISPATCH: Final[dict[type[Any], Row]] = {
    row.message: row
    for room in (life, submitting, waiting, asking, admin, control, working)
    for row in room.ROWS
}  # fmt: skip


def dispatch(peer: Peer, message: m.ClientMessage) -> None:
    """Do what the message asks. Raises `PeerMisbehaved` for what cannot be borne."""
    _DISPATCH[type(message)].handler(peer, message)
