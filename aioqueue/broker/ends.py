"""Ends that a client waits for and its connection cannot take yet: only their ids are kept, and looked up when it can.

A client that returns may wait for ten thousand results of a megabyte each. To read them all from the archive would
fill this process, and to send them all would fill the connection until it is cut off, again and again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from aioqueue.limits import ENDS_BYTES_MAX, ITEMS_A_FRAME_MAX
from aioqueue.protocol.messages import ClientMessage
from aioqueue.transport.connection import Connection

# How many are looked up at once: some at first, and more as long as all of them were sent.
_LOOK_MIN: Final = 16
_LOOK_MAX: Final = 1_024


class LaterEnds:
    """The ends of one connection that have to wait. `look` finds and sends some; what does not fit comes back here."""

    __slots__ = ("_connection", "_look", "_moved", "_size", "_telling", "waiting")

    def __init__(
        self, connection: Connection[ClientMessage], look: Callable[[list[bytes]], Awaitable[None]]
    ) -> None:  # fmt: skip
        self._connection = connection
        self._look = look
        self.waiting: deque[bytes] = deque()
        self._size = _LOOK_MIN
        self._telling = False
        self._moved: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        """Whether the connection has as much to take as it should."""
        return self._connection.outbox_bytes > ENDS_BYTES_MAX

    def add(self, ids: Iterable[bytes]) -> bool:
        """Keep these for later; whether `tell` is to be run for them."""
        self.waiting.extend(ids)
        if self._telling or not self.waiting:
            return False
        self._telling = True
        return True

    def moved(self) -> None:
        """Something left the outbox, or the connection is gone."""
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)

    async def room(self) -> None:
        """Wait until few enough wait here: the connection is read no further before."""
        while len(self.waiting) > ITEMS_A_FRAME_MAX and not self._connection.closed:
            await self._wait_for_a_move()

    async def tell(self) -> None:
        """Tell them all, as fast as the connection takes them."""
        try:
            while self.waiting and not self._connection.closed:
                if self._connection.outbox_bytes > ENDS_BYTES_MAX // 4:
                    await self._wait_for_a_move()
                    continue
                part = [self.waiting.popleft() for _ in range(min(self._size, len(self.waiting)))]
                before = len(self.waiting)
                await self._look(part)
                self._size = min(2 * self._size, _LOOK_MAX) if len(self.waiting) <= before else _LOOK_MIN
                self.moved()
        finally:
            self._telling = False

    async def _wait_for_a_move(self) -> None:
        if self._moved is None or self._moved.done():
            self._moved = asyncio.get_running_loop().create_future()
        await self._moved
