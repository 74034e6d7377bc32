"""The ends of jobs that somebody here waits for.

An `Ending` is one job's end, as it was told or still to come; all who wait for the same job share one. A job that was
submitted with WANT_RESULT is only expected; for any other the broker is asked, all of one tick in one `Wait`. After a
reconnect every end still missing is asked for, so an end that died on its way is told again. A result stays packed
here: it is unpacked by whoever reads it.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Collection
from itertools import islice

from aioqueue.client.link import Link
from aioqueue.errors import AioqueueError
from aioqueue.limits import ITEMS_A_FRAME_MAX
from aioqueue.protocol.messages import Ended, EndedItem, Wait


class Ending:
    """How one job ended: `item` once it is told, `error` if it never will be, neither while it is to come.

    It serves as the receipt of its own submit, so that whoever only wants the result waits once.
    """

    __slots__ = ("_table", "error", "item", "key", "waiters")

    def __init__(self, key: bytes, table: dict[bytes, Ending]) -> None:
        self.key: bytes = key
        self.item: EndedItem | None = None
        self.error: AioqueueError | None = None
        # Made when somebody has to wait, so that an end which came first costs nothing.
        self.waiters: list[asyncio.Future[None]] | None = None
        self._table = table

    def existed(self, index: int) -> None:
        """It is the end of a job that was there before."""

    def accepted(self) -> None:
        """The submit was accepted; the end is still to come."""

    def refused(self, error: AioqueueError) -> None:
        """This end will not be told."""
        self.forget()
        self.error = error
        self.wake()

    def abandoned(self) -> bool:
        """Whether nobody wants to know."""
        return self._table.get(self.key) is not self

    def forget(self) -> None:
        if self._table.get(self.key) is self:
            del self._table[self.key]

    def wake(self) -> None:
        for waiter in self.waiters or ():
            if not waiter.done():
                waiter.set_result(None)


class Endings:
    """The table of ends to come, by job."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._table: dict[bytes, Ending] = {}
        self._asking: list[bytes] = []

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, key: bytes) -> bool:
        """Whether somebody waits for the end of this job."""
        return key in self._table

    def expect(self, key: bytes) -> Ending:
        """The end of a job whose submit asks for it."""
        ending = self._table.get(key)
        if ending is None:
            ending = self._table[key] = Ending(key, self._table)
        return ending

    def ask(self, key: bytes) -> Ending:
        """The end of a job that the broker knows already; it is asked for, unless that was done."""
        ending = self._table.get(key)
        if ending is None:
            ending = self._table[key] = Ending(key, self._table)
            if not self._asking:
                self._loop.call_soon(self._send_asking)
            self._asking.append(key)
        return ending

    async def reached(self, ending: Ending) -> EndedItem:
        """Wait for the end; raises why it will not be told. A caller who is cancelled leaves nothing behind."""
        if ending.item is None and ending.error is None:
            waiter: asyncio.Future[None] = self._loop.create_future()
            waiters = ending.waiters = ending.waiters or []
            waiters.append(waiter)
            try:
                await waiter
            finally:
                waiters.remove(waiter)
                if not waiters:
                    ending.forget()
        if ending.item is not None:
            return ending.item
        assert ending.error is not None
        # Each of several waiters gets its own, for a traceback grows where an exception is raised.
        raise copy.copy(ending.error)

    # --- what the session calls ---

    def told(self, message: Ended) -> None:
        """Ends that came; one that nobody waits for is dropped."""
        take = self._table.pop
        for item in message.items:
            ending = take(item.job, None)
            if ending is not None:
                ending.item = item
                if ending.waiters:
                    ending.wake()

    def ask_all(self, unanswered: Collection[bytes]) -> None:
        """A connection stands anew: ask for every end, save of jobs whose submit is itself on its way again."""
        self._asking.clear()
        self._send_waits([key for key in self._table if key not in unanswered])

    def fail(self, error: AioqueueError) -> None:
        """No end will be told any more."""
        endings = list(self._table.values())
        self._table.clear()
        for ending in endings:
            ending.error = error
            ending.wake()

    def _send_asking(self) -> None:
        asking, self._asking = self._asking, []
        self._send_waits([key for key in asking if key in self._table])

    def _send_waits(self, keys: list[bytes]) -> None:
        rest = iter(keys)
        while part := list(islice(rest, ITEMS_A_FRAME_MAX)):
            self._link.send_nowait(Wait(part))
