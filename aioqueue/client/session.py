"""One stay of a client at its broker: everything that begins with `async with queue` and ends with it.

It owns the task that keeps the link alive, gives each message of the broker to the part that waits for it, and sees
to it that nobody waits for ever: whatever ends the session ends every wait with the reason.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, get_args

from aioqueue.client.asking import Answer, Questions
from aioqueue.client.link import NOTHING_SEEN, Link, Seen
from aioqueue.client.patience import USUAL, Health, Patience, Timeouts
from aioqueue.client.submitting import Submitter
from aioqueue.client.unanswered import Unanswered, reason_of
from aioqueue.client.waiting import Endings
from aioqueue.client.watching import Watchers
from aioqueue.errors import AioqueueError, BrokerUnavailable, QueueClosed, from_wire
from aioqueue.ground import Ground
from aioqueue.protocol.messages import (
    BrokerMessage,
    Ended,
    Refusal,
    Role,
    StatisticsUpdate,
    SubmitFlag,
    Submitted,
    Welcome,
)
from aioqueue.transport.dialer import Dials

_log = logging.getLogger(__name__)
_WANT_RESULT: Final = int(SubmitFlag.WANT_RESULT)


class Session:
    """A client's connection with all that is on its way over it. Made inside a running event loop."""

    def __init__(
        self,
        dialer: Dials,
        *,
        ground: Ground,
        namespace: str,
        name: str = "",
        journal_seen: Seen = NOTHING_SEEN,
        patience: Patience = USUAL,
    ) -> None:
        self.link: Link = Link(
            dialer,
            ground=ground,
            role=Role.CLIENT,
            namespace=namespace,
            name=name,
            secret=ground.random(16),
            on_welcome=self._welcomed,
            on_messages=self._received,
            on_lost=self._lost,
            journal_seen=journal_seen,
        )
        # How long its calls wait for the broker.
        self.patience = patience
        self.timeouts: Timeouts = Timeouts()
        self.unanswered: Unanswered = Unanswered(self.link, self.timeouts)
        self.submitter: Submitter = Submitter(self.link, self.timeouts, self.unanswered)
        self.endings: Endings = Endings(self.link)
        self.questions: Questions = Questions(self.link, self.timeouts, self.unanswered, patience)
        self.watchers: Watchers = Watchers(self.link)
        # What ended the session for good.
        self.error: AioqueueError | None = None
        # Set while a connection stands, and when none ever will.
        self._settled = asyncio.Event()
        self._opening = False
        self._task: asyncio.Task[None] | None = None
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Submitted: self.submitter.answered,
            Ended: self.endings.told,
            Refusal: self._refused,
            **dict.fromkeys(get_args(Answer), self.questions.answered),
            StatisticsUpdate: self.watchers.told,
        }

    def start(self) -> None:
        """Begin to connect; losses are healed in the background."""
        self._task = asyncio.create_task(self._run(), name=f"aioqueue link to {self.link.url}")

    async def open(self, connect_seconds: float) -> None:
        """Connect for the first time.

        Raises `BrokerUnavailable` with the URL and the last reason when no broker said Welcome within
        `connect_seconds`, or what a broker refused the session with.
        """
        self._opening = True
        self.start()
        try:
            await self._ready_or_suspicious(connect_seconds)
        except BaseException:
            await self.aclose(goodbye=False)
            raise
        finally:
            self._opening = False

    async def _ready_or_suspicious(self, seconds: float) -> None:
        try:
            await self.ready(seconds)
        except BrokerUnavailable:
            if reason := await self.link.suspicion():
                raise BrokerUnavailable(url=self.link.url, reason=reason) from None
            raise

    async def ready(self, seconds: float | None) -> None:
        """Wait until a connection stands, for so long at most. Raises as `open` does."""
        try:
            async with asyncio.timeout(seconds):
                await self._settled.wait()
        except TimeoutError:
            trouble = self.link.trouble
            reason = f"no answer within {seconds:g} s" if trouble is None else reason_of(trouble)
            raise BrokerUnavailable(url=self.link.url, reason=reason) from trouble
        self.check()

    def within(self, patience: Patience) -> Session:
        """The same session, for callers of another patience. Its end is told by the one that it was made of."""
        view = copy.copy(self)
        view.patience = patience
        view.questions = self.questions.within(patience)
        return view

    def health(self) -> Health:
        """How it stands with the broker, as far as is known here."""
        waits, asked = self.submitter.counts(), self.questions.counts()
        trouble = self.unanswered.trouble() if self.error is None else str(self.error)
        since = datetime.fromtimestamp(self.link.since.wall_ms / 1000, UTC)
        connected = self.link.connected and self.error is None
        return Health(connected, since, trouble, waits[0] + asked[0], waits[1] + asked[1])

    async def aclose(self, goodbye: bool = True) -> None:
        """End the session; whoever still waits is told `QueueClosed`."""
        self._fail(QueueClosed(what="a call"))
        await self.link.aclose(goodbye)
        if self._task is not None:
            await asyncio.wait([self._task])

    def check(self) -> None:
        """Raise what ended the session, if something did."""
        if self.error is not None:
            raise copy.copy(self.error)

    async def _run(self) -> None:
        try:
            await self.link.run()
        except AioqueueError as error:
            # Whoever opens is told; whoever is connected, or did not wait for it, finds it with the next call.
            _log.log(logging.DEBUG if self._opening else logging.ERROR, "%s", error)
            self._fail(error)
        except Exception as error:
            _log.exception("the connection to %s failed", self.link.url)
            self._fail(BrokerUnavailable(url=self.link.url, reason=f"the client failed: {error!r}"))
        finally:
            self._fail(QueueClosed(what="a call"))

    def _fail(self, error: AioqueueError) -> None:
        if self.error is not None:
            return
        self.error = error
        self._settled.set()
        self.submitter.fail(error)
        self.endings.fail(error)
        self.questions.fail(error)
        self.watchers.fail(error)
        self.timeouts.close()

    # --- what the link calls ---

    def _welcomed(self, welcome: Welcome) -> None:
        self.timeouts.back()
        self._settled.set()
        # The submits first: a job must be known before its end is asked for. Of a caller's own id there may be several;
        # one that is still on its way then asks for the end that another one's caller waits for.
        unanswered = self.submitter.unanswered()
        for item in unanswered:
            if item.job in self.endings:
                item.flags |= _WANT_RESULT
        self.submitter.connected()
        self.endings.ask_all({item.job for item in unanswered})
        self.questions.connected()
        self.watchers.connected()

    def _received(self, messages: list[BrokerMessage]) -> None:
        for message in messages:
            self._handlers[type(message)](message)

    def _refused(self, refusal: Refusal) -> None:
        error = from_wire(refusal.code, refusal.message, refusal.fields)
        if not self.submitter.refused(refusal.request, error):
            self.questions.refused(refusal.request, error)

    def _lost(self, reason: Exception) -> None:
        """All parts keep what is not answered for the next Welcome, as long as their callers wait."""
        self.timeouts.lost()
        self._settled.clear()
