"""The digest of a world of level 1: the same for every program that plays the same world.

It is taken of all that leaves the broker: each batch, as it becomes durable, and each message to a peer, as it is told.
`python -m tests.simulator --digest` calls it, to compare a program with the one before. A world that is played without
it does nothing for it: the two places where something leaves are wrapped for as long as a digest is taken.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from aioqueue.errors import AioqueueError
from tests.simulator.broker import Broker, Decided
from tests.simulator.checker import Violation
from tests.simulator.network import Connection, Reply

# What follows from other fields says nothing more.
_DERIVED = frozenset({"fit"})


def digest_of(play: Callable[[], object]) -> str:
    """The SHA-256 of the world that `play` plays, as hexadecimal digits; one that breaks a promise has a digest too."""
    world = sha256()
    observe, tell = Broker.observe, Connection.tell

    def observed(self: Broker, decided: Decided) -> None:
        world.update(b"batch %d %d %d\n" % (decided.position, decided.wall_ms, len(decided.events)))
        world.update(decided.events)
        for body in decided.bodies:
            world.update(b"body %d\n" % len(body) + body)
        observe(self, decided)

    def told(self: Connection, message: Any) -> None:
        if self.open:
            # What was asked is the peer's own, and the shell writes into it.
            what = (message.to.kind, message.answer) if isinstance(message, Reply) else message
            world.update(f"told {self.session} {stable(what)}\n".encode())
        tell(self, message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Broker, "observe", observed)
        patch.setattr(Connection, "tell", told)
        try:
            play()
        except Violation as violation:
            world.update(f"broken {violation}\n".encode())
    return world.hexdigest()


def digest_of_all(digests: Iterable[str]) -> str:
    """One digest over those of many worlds."""
    return sha256("\n".join(digests).encode()).hexdigest()


def stable(value: Any) -> str:
    """What a value is, in text that names no module, no address, and no field that is as it is by default."""
    kind = type(value)
    if isinstance(value, enum.Enum):
        return f"{kind.__name__}.{value.name}"
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex() or "empty"
    if isinstance(value, msgspec.Struct):
        set_fields = [
            f"{field.name}={stable(held)}"
            for field in sorted(msgspec.structs.fields(value), key=lambda field: field.name)
            if (held := getattr(value, field.name)) != _default(field) and field.name not in _DERIVED
        ]
        return f"{kind.__name__}({', '.join(set_fields)})"
    if isinstance(value, AioqueueError):
        return f"{kind.__name__}({value.code}, {stable(value.fields)})"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{stable(key)}: {stable(held)}" for key, held in value.items())) + "}"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(stable, value))) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(stable, value)) + "]"
    raise TypeError(f"{kind.__name__} has no stable text")


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
