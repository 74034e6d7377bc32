"""The batch that is being applied. Made by whoever steps or replays a partition, and filled by `apply`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioqueue.core import events as e
from aioqueue.core.effects import Effect
from aioqueue.core.state import State


class Moment:
    """The batch that events are applied in: its position, its time, and what the shell owes for it so far: the effects,
    and to keep the arguments of the jobs that it submits, by id. `leased_bytes` is how long those of its leases are.
    """

    __slots__ = ("arguments", "effects", "leased_bytes", "position", "wall_ms")

    def __init__(self, position: int, wall_ms: int) -> None:
        self.position = position
        self.wall_ms = wall_ms
        self.leased_bytes = 0
        self.effects: list[Effect] = []
        self.arguments: dict[bytes, bytes] = {}


# Who makes an event so, by its type: state, event, body, moment.
Rows = dict[type[e.Event], Callable[[State, Any, bytes | None, Moment], None]]
