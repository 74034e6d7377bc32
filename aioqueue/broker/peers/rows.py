"""One row of the table of messages: what handles a message, and the right that it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from aioqueue.broker.peers.peer import Peer
from aioqueue.model.rights import Right


class Row(NamedTuple):
    """`handler(peer, message)` raises `PeerMisbehaved` for what cannot be borne. Any bit of `right` is enough."""

    message: type[Any]
    right: Right
    handler: Callable[[Peer, Any], None]
