"""What deciding gives: events, the bodies they refer to, and an answer."""

from __future__ import annotations

from typing import Any, NamedTuple
from zlib import crc32

from aioqueue.core import events as e


class BodyArea:
    """The bodies of the batch that is being decided; an event names its own by offset, length and CRC-32.

    `size` is how long the bodies are so far, in bytes, `carried` those of them that take no room from others, and
    `records` what is long in the records.
    """

    __slots__ = ("carried", "parts", "records", "size")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.records = 0
        self.carried = 0

    @property
    def weight(self) -> int:
        """What the batch weighs so far, in bytes."""
        return self.size - self.carried + self.records

    def add(self, body: bytes) -> tuple[int, int, int]:
        offset, length = self.size, len(body)
        self.parts.append(body)
        self.size = offset + length
        return offset, length, crc32(body)


class Decision(NamedTuple):
    """Events with the bodies they refer to, and the answer."""

    events: list[tuple[e.Event, bytes | None]]
    reply: Any
