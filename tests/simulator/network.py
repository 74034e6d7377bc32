"""Connections that deliver late, and lose what is on its way when they are cut."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple


class Request(NamedTuple):
    """What a client or a worker says. `kind` is one of the verbs in `World.receive`."""

    kind: str
    content: Any = None


class Reply(NamedTuple):
    """The answer to one request; a refusal is the exception."""

    to: Request
    answer: Any


class Connection:
    """Two lines of messages, each in order. `session` is the broker's number for the peer, 0 before its hello."""

    __slots__ = ("open", "session", "to_broker", "to_peer")

    def __init__(self) -> None:
        self.to_broker: deque[Request] = deque()
        self.to_peer: deque[Any] = deque()
        self.open = True
        self.session = 0

    def ask(self, kind: str, content: Any = None) -> None:
        """The peer sends."""
        self.to_broker.append(Request(kind, content))

    def tell(self, message: Any) -> None:
        """The broker sends."""
        if self.open:
            self.to_peer.append(message)

    def cut(self) -> None:
        """Nothing arrives any more, not even what is on its way."""
        self.open = False
        self.to_broker.clear()
        self.to_peer.clear()
