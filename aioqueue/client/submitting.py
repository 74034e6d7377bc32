"""Submits on their way: coalesced, bounded, and repeated until the broker has said what became of them.

All single submits of one tick of the event loop share a frame, a **parcel**. A parcel is kept until it is answered;
when the connection is lost before that, nobody knows whether it was accepted, so it is sent again with every item
marked RESEND, and the broker looks those up: one id, one job, however often it is sent. At most `IN_FLIGHT_BYTES_MAX`
are unanswered at a time, the rest waits its turn here.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from aioqueue.client.link import Link
from aioqueue.errors import AioqueueError, BrokerUnavailable, OutcomeUnknown, from_wire
from aioqueue.limits import FRAME_BYTES_TARGET, IN_FLIGHT_BYTES_MAX, ITEM_OVERHEAD_BYTES, ITEMS_A_FRAME_MAX
from aioqueue.protocol.messages import ClientMessage, Submit, SubmitAtomic, SubmitFlag, SubmitItem, Submitted

_RESEND = int(SubmitFlag.RESEND)


class Receipt(Protocol):
    """Whoever has to hear what became of an item."""

    def accepted(self) -> None: ...
    def refused(self, error: AioqueueError) -> None: ...
    def abandoned(self) -> bool: ...


class Acceptance:
    """A receipt that a caller awaits: `future`."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def accepted(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def refused(self, error: AioqueueError) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def abandoned(self) -> bool:
        """Whether the caller was cancelled."""
        return self.future.cancelled()


# How a parcel is said, by the number of its request.
Saying = Callable[[int, list[SubmitItem]], ClientMessage]


# What is not part of anything.
_WHOLE: Final = (Submit, SubmitAtomic)


class Parcel:
    """What one frame carries: a `Submit` has a receipt for each item, any other (all or none) a single one."""

    __slots__ = ("items", "receipts", "saying", "sent", "size", "timer")

    def __init__(self, items: list[SubmitItem], receipts: Sequence[Receipt], size: int, saying: Saying) -> None:
        self.items = items
        self.receipts = receipts
        self.size = size
        self.saying = saying
        self.sent = False
        self.timer: asyncio.TimerHandle | None = None

    @property
    def withdrawn(self) -> bool:
        """Whether it is part of something that was given up: said now, it would begin that again."""
        return self.saying not in _WHOLE and all(receipt.abandoned() for receipt in self.receipts)

    def refuse(self, error: AioqueueError) -> None:
        for receipt in self.receipts:
            # Each caller gets its own, for a traceback grows where an exception is raised.
            receipt.refused(copy.copy(error))


def item_bytes(item: SubmitItem) -> int:
    """About what the item takes in a frame, never less."""
    return len(item.args) + len(item.spec) + len(item.headers) + 4 * len(item.own_id) + ITEM_OVERHEAD_BYTES


class Submitter:
    """Sends items over a link. `resend_seconds` bounds how long an unanswered one is repeated."""

    def __init__(self, link: Link, *, resend_seconds: float) -> None:
        self._link = link
        self._resend_seconds = resend_seconds
        self._loop = asyncio.get_running_loop()
        # This tick's.
        self._items: list[SubmitItem] = []
        self._receipts: list[Receipt] = []
        self._waiting: deque[Parcel] = deque()
        self._in_flight: dict[int, Parcel] = {}
        self._in_flight_bytes = 0
        self._unsaid: list[ClientMessage] = []

    @property
    def idle(self) -> bool:
        """Whether nothing was submitted in this tick yet."""
        return not self._items

    def add(self, item: SubmitItem, receipt: Receipt) -> None:
        """Send the item with the others of this tick."""
        if not self._items:
            self._loop.call_soon(self._pack)
        self._items.append(item)
        self._receipts.append(receipt)

    def add_part(self, items: list[SubmitItem], size: int, receipts: Sequence[Receipt], saying: Saying) -> None:
        """Send the items, about `size` bytes, in a frame of their own."""
        # What was submitted before keeps its place before.
        self._pack()
        self._queue(Parcel(items, receipts, size, saying))
        self._send_more()

    def say(self, message: ClientMessage) -> None:
        """Say something that has no answer, behind all that was said before; if nobody listens, when somebody does."""
        if self._link.connected:
            self._link.send_nowait(message)
        else:
            self._unsaid.append(message)

    def unanswered(self) -> list[SubmitItem]:
        """The items that the broker has not answered."""
        parcels = [*self._in_flight.values(), *self._waiting]
        return [item for parcel in parcels for item in parcel.items] + self._items

    # --- what the session calls ---

    def connected(self) -> None:
        """A connection stands anew: what was not answered goes again, first and in its order."""
        again = list(self._in_flight.values())
        self._in_flight.clear()
        self._in_flight_bytes = 0
        for parcel in reversed(again):
            for item in parcel.items:
                item.flags |= _RESEND
            self._waiting.appendleft(parcel)
        unsaid, self._unsaid = self._unsaid, []
        for message in unsaid:
            self._link.send_nowait(message)
        self._send_more()

    def answered(self, message: Submitted) -> None:
        """The broker says what became of a parcel; an answer to none that is known is dropped."""
        parcel = self._take(message.request)
        if parcel is None:
            return
        if message.refused and parcel.saying is Submit:
            _tell_each(parcel, message)
        else:
            for receipt in parcel.receipts:
                receipt.accepted()
        if self._waiting:
            self._send_more()

    def refused(self, request: int, error: AioqueueError) -> bool:
        """A whole parcel was refused; whether the request was one of these."""
        parcel = self._take(request)
        if parcel is None:
            return False
        parcel.refuse(error)
        self._send_more()
        return True

    def fail(self, error: AioqueueError) -> None:
        """Nothing is sent any more."""
        self._pack()
        parcels = [*self._in_flight.values(), *self._waiting]
        self._in_flight.clear()
        self._waiting.clear()
        for parcel in parcels:
            self._stop_timer(parcel)
            parcel.refuse(error)

    # --- inside ---

    def _pack(self) -> None:
        """Make parcels of what this tick brought, none larger than a frame should be."""
        items, receipts = self._items, self._receipts
        if not items:
            return
        self._items, self._receipts = [], []
        packed: list[SubmitItem] = []
        told: list[Receipt] = []
        size = 0
        for item, receipt in zip(items, receipts, strict=True):
            if receipt.abandoned():
                continue
            more = item_bytes(item)
            if packed and (size + more > FRAME_BYTES_TARGET or len(packed) == ITEMS_A_FRAME_MAX):
                self._queue(Parcel(packed, told, size, Submit))
                packed, told, size = [], [], 0
            packed.append(item)
            told.append(receipt)
            size += more
        if packed:
            self._queue(Parcel(packed, told, size, Submit))
        self._send_more()

    def _queue(self, parcel: Parcel) -> None:
        parcel.timer = self._loop.call_later(self._resend_seconds, self._give_up, parcel)
        self._waiting.append(parcel)

    def _send_more(self) -> None:
        link = self._link
        while self._waiting and link.connected and self._in_flight_bytes < IN_FLIGHT_BYTES_MAX:
            parcel = self._waiting.popleft()
            if parcel.withdrawn:
                self._stop_timer(parcel)
                continue
            request = link.next_request()
            self._in_flight[request] = parcel
            self._in_flight_bytes += parcel.size
            parcel.sent = True
            link.send_nowait(parcel.saying(request, parcel.items))

    def _take(self, request: int) -> Parcel | None:
        parcel = self._in_flight.pop(request, None)
        if parcel is not None:
            self._in_flight_bytes -= parcel.size
            self._stop_timer(parcel)
        return parcel

    @staticmethod
    def _stop_timer(parcel: Parcel) -> None:
        if parcel.timer is not None:
            parcel.timer.cancel()

    def _give_up(self, parcel: Parcel) -> None:
        seconds = self._resend_seconds
        for request, flying in self._in_flight.items():
            if flying is parcel:
                self._take(request)
                break
        else:
            self._waiting.remove(parcel)
        if parcel.sent:
            parcel.refuse(OutcomeUnknown(what="a submit", seconds=seconds))
        else:
            parcel.refuse(BrokerUnavailable(url=self._link.url, reason=f"no connection for {seconds:g} s"))
        self._send_more()


def _tell_each(parcel: Parcel, message: Submitted) -> None:
    refusals = {refusal.index: refusal for refusal in message.refused}
    for index, receipt in enumerate(parcel.receipts):
        refusal = refusals.get(index)
        if refusal is None:
            receipt.accepted()
        else:
            receipt.refused(from_wire(refusal.code, refusal.message, refusal.fields))
