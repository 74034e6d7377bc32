"""Submits on their way: coalesced, bounded, and repeated until the broker has said what became of them.

All single submits of one tick of the event loop share a frame, a **parcel**. A parcel is kept until it is answered;
when the connection is lost before that, nobody knows whether it was accepted, so it is sent again with every item
marked RESEND, and the broker looks those up: one id, one job, however often it is sent. At most `IN_FLIGHT_BYTES_MAX`
are unanswered at a time, the rest waits its turn here.

Nothing is said for a caller who left, whether its patience is over or it was cancelled: what was not sent is withdrawn,
and what was sent is not said again.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from aioqueue.client.link import Link
from aioqueue.client.patience import Patience, Timeouts
from aioqueue.client.unanswered import Unanswered
from aioqueue.errors import AioqueueError, from_wire
from aioqueue.limits import FRAME_BYTES_TARGET, IN_FLIGHT_BYTES_MAX, ITEM_OVERHEAD_BYTES, ITEMS_A_FRAME_MAX
from aioqueue.protocol.messages import ClientMessage, Outcome, Submit, SubmitFlag, SubmitItem, Submitted

_RESEND = int(SubmitFlag.RESEND)
# So many parcels may wait for a connection before those are looked for that nobody wants any more.
_SWEEP_PARCELS: Final = 64


class Receipt(Protocol):
    """Whoever has to hear what became of an item. Of one that was there before, `existed` is told first, with its place
    in the parcel.
    """

    def existed(self, index: int) -> None: ...
    def accepted(self) -> None: ...
    def refused(self, error: AioqueueError) -> None: ...
    def abandoned(self) -> bool: ...


class Acceptance:
    """A receipt that a caller awaits: `future`. `there` are the places of the items that the broker knew before."""

    __slots__ = ("future", "there")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[None] = loop.create_future()
        self.there: list[int] = []

    def existed(self, index: int) -> None:
        self.there.append(index)

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


class Parcel:
    """What one frame carries: a receipt for each of its items, or as a `part` of something one for all of it.

    `sent_at` is when it was first said, by the event loop's clock, None before.
    """

    __slots__ = ("_owner", "is_part", "items", "patience", "receipts", "saying", "sent_at", "size")

    def __init__(
        self, owner: Submitter, items: list[SubmitItem], receipts: Sequence[Receipt], size: int, saying: Saying,
        patience: Patience, *, is_part: bool = False,
    ) -> None:  # fmt: skip
        self._owner = owner
        self.items: list[SubmitItem] = items
        self.receipts: Sequence[Receipt] = receipts
        self.size: int = size
        self.saying: Saying = saying
        self.patience: Patience = patience
        self.is_part: bool = is_part
        self.sent_at: float | None = None

    def is_wanted(self) -> bool:
        """Whether somebody still waits for it; items of callers who left are left out."""
        for receipt in self.receipts:
            if receipt.abandoned():
                return self._leave_out()
        return len(self.receipts) > 0

    def wanted(self) -> int:
        """How many of its items somebody still waits for."""
        wanted = sum(not receipt.abandoned() for receipt in self.receipts)
        return len(self.items) * wanted if self.is_part else wanted

    def _leave_out(self) -> bool:
        if self.is_part:
            return False
        pairs = zip(self.items, self.receipts, strict=True)
        living = [(item, receipt) for item, receipt in pairs if not receipt.abandoned()]
        self.items = [item for item, _ in living]
        self.receipts = [receipt for _, receipt in living]
        self.size = sum(map(item_bytes, self.items))
        return len(living) > 0

    def refuse(self, error: AioqueueError) -> None:
        for receipt in self.receipts:
            # Each caller gets its own, for a traceback grows where an exception is raised.
            receipt.refused(copy.copy(error))

    def give_up(self) -> None:
        """The patience of its callers is over."""
        self._owner.give_up(self)


def item_bytes(item: SubmitItem) -> int:
    """About what the item takes in a frame, never less."""
    return len(item.args) + len(item.spec) + len(item.headers) + 4 * len(item.own_id) + ITEM_OVERHEAD_BYTES


class Submitter:
    """Sends items over a link."""

    def __init__(self, link: Link, timeouts: Timeouts, unanswered: Unanswered) -> None:
        self._link = link
        self._timeouts = timeouts
        self._unanswered = unanswered
        self.loop: Final = asyncio.get_running_loop()
        # This tick's, all of one patience.
        self._items: list[SubmitItem] = []
        self._receipts: list[Receipt] = []
        self._patience = Patience()
        self._waiting: deque[Parcel] = deque()
        self._sweep_at = _SWEEP_PARCELS
        self._in_flight: dict[int, Parcel] = {}
        self._in_flight_bytes = 0
        self._unsaid: list[ClientMessage] = []

    @property
    def idle(self) -> bool:
        """Whether nothing was submitted in this tick yet."""
        return not self._items

    def counts(self) -> tuple[int, int]:
        """How many items wait to be sent, and how many were sent and not answered."""
        waiting = len(self._items) + sum(parcel.wanted() for parcel in self._waiting)
        return waiting, sum(parcel.wanted() for parcel in self._in_flight.values())

    def add(self, item: SubmitItem, receipt: Receipt, patience: Patience) -> None:
        """Send the item with the others of this tick that have the same patience."""
        if patience is not self._patience:
            self._pack()
            self._patience = patience
        if not self._items:
            self.loop.call_soon(self._pack)
        self._items.append(item)
        self._receipts.append(receipt)

    def add_part(
        self, items: list[SubmitItem], size: int, receipt: Receipt, saying: Saying, patience: Patience
    ) -> Parcel:
        """Send the items, about `size` bytes, in a frame of their own. Whoever adds it gives it up, too."""
        # What was submitted before keeps its place before.
        self._pack()
        parcel = Parcel(self, items, [receipt], size, saying, patience, is_part=True)
        self._waiting.append(parcel)
        self._send_more()
        return parcel

    def say(self, message: ClientMessage) -> None:
        """Say something that has no answer, behind all that was said before; if nobody listens, when somebody does."""
        if self._link.connected:
            self._link.send_nowait(message)
        else:
            self._unsaid.append(message)

    def withdraw(self, parcel: Parcel) -> None:
        """Nobody waits for it any more: it is not said, or not said again."""
        # One that was sent counts until it is answered or the connection is lost: who gives up does not make the broker
        # faster. One that was not is passed over in its turn.
        parcel.items, parcel.receipts = [], []

    def give_up(self, parcel: Parcel) -> None:
        """The callers of a parcel have waited long enough."""
        items, receipts, seconds = parcel.items, parcel.receipts, parcel.patience.seconds
        self.withdraw(parcel)
        for item, receipt in zip(items, receipts, strict=True):
            if parcel.sent_at is None:
                receipt.refused(self._unanswered.not_sent("the job", seconds, item.job))
            else:
                receipt.refused(self._unanswered.unknown(item.job, seconds))

    # --- what the session calls ---

    def unanswered(self) -> list[SubmitItem]:
        """The items that the broker has not answered, and somebody waits for."""
        parcels = [*self._in_flight.values(), *self._waiting]
        items = [item for parcel in parcels if parcel.is_wanted() for item in parcel.items]
        return items + [
            item for item, receipt in zip(self._items, self._receipts, strict=True) if not receipt.abandoned()
        ]

    def connected(self) -> None:
        """A connection stands anew: what was not answered and is still wanted goes again, first and in its order."""
        again = list(self._in_flight.values())
        self._in_flight.clear()
        self._in_flight_bytes = 0
        now = self.loop.time()
        for parcel in reversed(again):
            if parcel.sent_at is not None and parcel.sent_at + parcel.patience.resend_seconds < now:
                self._too_late(parcel, now - parcel.sent_at)
                continue
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
        if message.outcomes:
            _tell_what_existed(parcel, message)
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
            more = item_bytes(item)
            if packed and (size + more > FRAME_BYTES_TARGET or len(packed) == ITEMS_A_FRAME_MAX):
                self._queue(packed, told, size)
                packed, told, size = [], [], 0
            packed.append(item)
            told.append(receipt)
            size += more
        self._queue(packed, told, size)
        self._send_more()

    def _queue(self, items: list[SubmitItem], receipts: list[Receipt], size: int) -> None:
        parcel = Parcel(self, items, receipts, size, Submit, self._patience)
        self._waiting.append(parcel)
        self._timeouts.begin(parcel, parcel.patience.seconds)

    def _send_more(self) -> None:
        link = self._link
        while self._waiting and link.connected and self._in_flight_bytes < IN_FLIGHT_BYTES_MAX:
            parcel = self._waiting.popleft()
            if not parcel.is_wanted():
                self._timeouts.end(parcel, parcel.patience.seconds)
                continue
            request = link.next_request()
            self._in_flight[request] = parcel
            self._in_flight_bytes += parcel.size
            if parcel.sent_at is None:
                parcel.sent_at = self.loop.time()
            link.send_nowait(parcel.saying(request, parcel.items))
        if len(self._waiting) > self._sweep_at:
            self._sweep()

    def _sweep(self) -> None:
        """Let go of what nobody wants any more: who waits under a timeout of their own may come and go for an hour."""
        kept: deque[Parcel] = deque()
        for parcel in self._waiting:
            if parcel.is_wanted():
                kept.append(parcel)
            else:
                self._timeouts.end(parcel, parcel.patience.seconds)
        self._waiting = kept
        self._sweep_at = max(_SWEEP_PARCELS, 2 * len(self._waiting))

    def _take(self, request: int) -> Parcel | None:
        parcel = self._in_flight.pop(request, None)
        if parcel is not None:
            self._in_flight_bytes -= parcel.size
            if not parcel.is_part:
                self._timeouts.end(parcel, parcel.patience.seconds)
        return parcel

    def _too_late(self, parcel: Parcel, seconds: float) -> None:
        """It was first said so long ago that the broker may know nothing of it, though it was accepted."""
        self._timeouts.end(parcel, parcel.patience.seconds)
        if parcel.is_part:
            parcel.refuse(self._unanswered.unknown_part(round(seconds)))
            return
        for item, receipt in zip(parcel.items, parcel.receipts, strict=True):
            receipt.refused(self._unanswered.unknown(item.job, round(seconds)))


def _tell_what_existed(parcel: Parcel, message: Submitted) -> None:
    receipts = parcel.receipts
    for index, outcome in enumerate(message.outcomes[: len(parcel.items)]):
        if outcome is Outcome.EXISTS:
            receipts[index if index < len(receipts) else 0].existed(index)


def _tell_each(parcel: Parcel, message: Submitted) -> None:
    if parcel.is_part:
        first = message.refused[0]
        parcel.refuse(from_wire(first.code, first.message, first.fields))
        return
    refusals = {refusal.index: refusal for refusal in message.refused}
    for index, receipt in enumerate(parcel.receipts):
        refusal = refusals.get(index)
        if refusal is None:
            receipt.accepted()
        else:
            receipt.refused(from_wire(refusal.code, refusal.message, refusal.fields))
