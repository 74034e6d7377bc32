"""One stay of a client at its broker: everything that begins with `async with queue` and ends with it.

It owns the task that keeps the link alive, gives each message of the broker to the part that waits for it, and sees
to it that nobody waits for ever: whatever ends the session ends every wait with the reason.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable
from typing import Any, Final, get_args

from aioqueue.client.asking import Answer, Questions
from aioqueue.client.link import NOTHING_SEEN, Link, Seen
from aioqueue.client.submitting import Submitter
from aioqueue.client.waiting import Endings
from aioqueue.client.watching import Watchers
from aioqueue.errors import AioqueueError, BrokerUnavailable, QueueClosed, from_wire
from aioqueue.ground import Ground
from aioqueue.limits import ASK_SECONDS, RESEND_SECONDS
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
        resend_seconds: float = RESEND_SECONDS,
        ask_seconds: float = ASK_SECONDS,
    ) -> None:
        self.link = Link(
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
        self.submitter = Submitter(self.link, resend_seconds=resend_seconds)
        self.endings = Endings(self.link)
        self.questions = Questions(self.link, ask_seconds=ask_seconds)
        self.watchers = Watchers(self.link)
        # What ended the session for good.
        self.error: AioqueueError | None = None
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Submitted: self.submitter.answered,
            Ended: self.endings.told,
            Refusal: self._refused,
            **dict.fromkeys(get_args(Answer), self.questions.answered),
            StatisticsUpdate: self.watchers.told,
        }

    async def open(self, connect_seconds: float) -> None:
        """Connect for the first time.

        Raises `BrokerUnavailable` with the URL and the last reason when no broker said Welcome within
        `connect_seconds`, or what a broker refused the session with. Later losses are healed in the background.
        """
        self._task = asyncio.create_task(self._run(), name=f"aioqueue link to {self.link.url}")
        try:
            async with asyncio.timeout(connect_seconds):
                await self._first
        except TimeoutError:
            trouble = self.link.trouble
            await self.aclose(goodbye=False)
            reason = f"no answer within {connect_seconds:g} s" if trouble is None else _reason(trouble)
            raise BrokerUnavailable(url=self.link.url, reason=reason) from trouble
        except BaseException:
            await self.aclose(goodbye=False)
            raise

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
        if not self._first.done():
            self._first.set_exception(copy.copy(error))
            # Whoever opens may have been cancelled before it looked.
            self._first.exception()
        self.submitter.fail(error)
        self.endings.fail(error)
        self.questions.fail(error)
        self.watchers.fail(error)

    # --- what the link calls ---

    def _welcomed(self, welcome: Welcome) -> None:
        if not self._first.done():
            self._first.set_result(None)
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
        """Nothing is to be done before the next Welcome: all parts keep what is not answered."""


def _reason(error: Exception) -> str:
    """An error's own reason, without the sentence around it that names the URL once more."""
    return str(error.fields.get("reason", error)) if isinstance(error, AioqueueError) else str(error)
