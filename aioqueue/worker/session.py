"""A worker's session: what the broker says becomes runs, what runs say becomes messages.

After every connection it tells the broker all that it holds (`Resume`), says again what was not answered, and then its
capacity. Runs that the broker gave to somebody else meanwhile are stopped, and nothing is told of their end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from aioqueue.client.link import Link
from aioqueue.ground import Ground
from aioqueue.model.ids import id_text
from aioqueue.model.states import Cause
from aioqueue.protocol.messages import (
    BrokerMessage,
    CancelRun,
    Capability,
    Declared,
    Deliver,
    DeliverItem,
    DescribeTasks,
    HeldRun,
    Refusal,
    Resume,
    Resumed,
    Role,
    Settled,
    Verdict,
    Welcome,
)
from aioqueue.transport.dialer import Dials
from aioqueue.worker import endings
from aioqueue.worker.endings import End, Stop, released
from aioqueue.worker.offering import Offering
from aioqueue.worker.runners import Runners
from aioqueue.worker.settles import SettleBox

_log = logging.getLogger(__name__)

_VERDICTS: Final = {Verdict.CANCEL: Stop.CANCEL, Verdict.STALE: Stop.STALE}


class Session:
    """Between a `Link` and the `Runners` it feeds. `begin` must be called before the link runs."""

    def __init__(
        self,
        dialer: Dials,
        *,
        ground: Ground,
        namespace: str,
        name: str,
        secret: bytes,
        offering: Offering,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.link = Link(
            dialer,
            ground=ground,
            role=Role.WORKER,
            namespace=namespace,
            name=name,
            secret=secret,
            on_welcome=self._welcomed,
            on_messages=self._received,
            on_lost=self._lost,
        )
        self.box = SettleBox(self.link)
        # Done when the broker has said Welcome once.
        self.welcomed = asyncio.Event()
        self._on_ready = on_ready
        self._offering = offering
        # Whether this connection was told of the slots.
        self._offered = False
        self._runners: Runners
        # What was named as held, by the number of the Resume that named it.
        self._resuming: dict[int, list[DeliverItem]] = {}
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Deliver: self._deliver,
            Settled: self.box.answered,
            Resumed: self._resumed,
            Declared: self._declared,
            CancelRun: self._cancel,
            Refusal: self.box.refused,
        }

    def begin(self, runners: Runners) -> None:
        """Give what is delivered to these."""
        self._runners = runners

    @property
    def draining(self) -> bool:
        """Whether no new runs are taken."""
        return self._offering.slots == 0

    def drain(self) -> None:
        """Take no new runs, and give back those that have not begun."""
        self._offering.drain()
        self._tell_capacity()
        for item in self._runners.take_back():
            self.box.put(released(item))

    def offer_anew(self) -> None:
        """The app has another task: tell the broker what can be run now."""
        if self.link.connected and self._offered:
            self._declare()
            self._tell_capacity()

    def misfit(self, item: DeliverItem, error: Exception) -> End:
        """The end of a run that does not fit this worker, as the broker of this connection understands it."""
        return endings.misfit(item, error) if self._controlled else endings.misfit_failed(item, error)

    @property
    def _controlled(self) -> bool:
        """Whether the broker gives by what is declared."""
        return bool(self.link.capabilities & Capability.CONTROL)

    # --- what the link calls ---

    def _welcomed(self, welcome: Welcome) -> None:
        if self._on_ready is not None:
            # Before any job can come, which might block the event loop.
            tell, self._on_ready = self._on_ready, None
            tell()
        held = self._runners.held()
        if not self._controlled:
            self.box.without_misfits()
        first, rest = self.box.resume()
        self._resuming.clear()
        if held or first or not welcome.fresh:
            request = self.link.next_request()
            # Settles that find no place in this frame come right after it; until then their runs are held.
            named = [HeldRun(run.job, run.fence) for run in held] + [HeldRun(run.job, run.fence) for run in rest]
            self.link.send_nowait(Resume(request, named, first))
            self._resuming[request] = held
            self.box.resumed(request, first)
            self.box.send_rest(rest)
        self._declare()
        self._tell_capacity()
        self.welcomed.set()

    def _received(self, messages: list[BrokerMessage]) -> None:
        for message in messages:
            handler = self._handlers.get(type(message))
            if handler is not None:
                handler(message)

    def _lost(self, reason: Exception) -> None:
        """Runs go on: their ends are kept, and told when the connection stands again."""
        self._offered = False

    # --- what the broker says ---

    def _deliver(self, message: Deliver) -> None:
        if self.draining:
            # It was on its way when the capacity was taken back.
            for item in message.items:
                self.box.put(released(item))
        else:
            self._runners.offer(message.items)

    def _cancel(self, message: CancelRun) -> None:
        for item in self._runners.held():
            if item.fence == message.fence and item.job == message.job:
                why = Stop.DEADLINE if message.cause is Cause.DEADLINE else Stop.CANCEL
                _log.info("job %s of task %s is stopped: %s", id_text(item.job), item.task, why.value)
                self._runners.stop(item, why)
                return

    def _resumed(self, message: Resumed) -> None:
        self.box.answered_in_resume(message.request, message.answers)
        held = self._resuming.pop(message.request, [])
        for item, verdict in zip(held, message.verdicts, strict=False):
            why = _VERDICTS.get(verdict)
            if why is not None:
                _log.warning("job %s of task %s is stopped: %s", id_text(item.job), item.task, why.value)
                self._runners.stop(item, why)

    def _declared(self, message: Declared) -> None:
        for tasks in self._offering.descriptions(message.wanted):
            self.link.send_nowait(DescribeTasks(self.link.next_request(), tasks))

    def _declare(self) -> None:
        if self._controlled:
            self.link.send_nowait(self._offering.declaration(self.link.next_request()))

    def _tell_capacity(self) -> None:
        self._offered = self.link.connected
        self.link.send_nowait(self._offering.capacity(self.link.capabilities))

    # --- what the watch of idleness asks ---

    def stuck(self) -> str:
        """Why nothing can come although there are slots; empty where something can."""
        slots = self._offering.slots
        if slots and self.link.connected and not self._offered:
            return f"it is connected, and has not told the broker of its {slots} slots"
        return ""

    def nudge(self) -> None:
        """Tell the broker of the slots."""
        self._declare()
        self._tell_capacity()
