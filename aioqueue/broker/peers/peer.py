"""What a connection is at the broker: its session, its place in the lines, and what it is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

import anyio

from aioqueue.broker.backlog import Gauge
from aioqueue.broker.backup import Backup
from aioqueue.broker.ends import LaterEnds
from aioqueue.broker.line import Handler, Line, Query, nobody
from aioqueue.broker.lookups import Lookups
from aioqueue.broker.services import Services
from aioqueue.broker.translate.refusals import refusal
from aioqueue.core import commands as c
from aioqueue.errors import JournalError, PeerMisbehaved, Refused
from aioqueue.limits import DELIVERIES_BYTES_MAX
from aioqueue.protocol import messages as m
from aioqueue.transport.connection import Connection

log = logging.getLogger(__name__)


class Peer:
    """One connection and the session it speaks for; `session` is 0 until it was welcomed.

    `claim` is by what a heartbeat asks for a session of its worker's secret, for it opens none and may come before it.
    `link` is the connection's number at this broker; a heartbeat's is 0, for it offers no capacity. `line` is where
    what it asks waits, and `gauge` how much that is. `reading` is false while the peer is let wait, and `publishes`
    says that it submitted since it was read last. `look_for_ends` finds and sends ends that had to wait.
    """

    __slots__ = (
        "_heard_ms", "awaited", "backup", "claim", "connection", "dismissed", "gauge", "gone", "later", "line", "link",
        "lookups", "namespace", "publishes", "reading", "role", "services", "session", "throttled", "up_ms",
    )  # fmt: skip

    def __init__(
        self, services: Services, connection: Connection[m.ClientMessage], link: int, gauge: Gauge,
        look_for_ends: Callable[[Peer, list[bytes]], Coroutine[Any, Any, None]],
    ) -> None:  # fmt: skip
        self.services = services
        # Set when its connection has ended.
        self.gone = anyio.Event()
        self._heard_ms = 0
        self.connection = connection
        self.link = link
        self.session = 0
        self.claim: c.OpenSession | None = None
        # It is to end, and nothing that it says is heard any more.
        self.dismissed = False
        self.role = m.Role.CLIENT
        self.namespace = ""
        self.awaited: set[bytes] = set()
        self.backup: Backup | None = None
        self.gauge = gauge
        self.line: Line = services.engine.clients
        self.lookups = Lookups(services.spawn)
        self.later = LaterEnds(connection, partial(look_for_ends, self))
        self.reading = True
        self.publishes = False
        self.throttled = False
        # How long its process had run when it declared its tasks.
        self.up_ms = 0

    @property
    def listening(self) -> bool:
        """Whether what the peer says is read; its silence is no news otherwise."""
        return self.reading and not self.gauge.held

    @property
    def received_bytes(self) -> int:
        """All that the peer ever said."""
        return self.connection.received_bytes

    # --- what it says -----------------------------------------------------------------------------------------------

    def post(self, command: c.Command | Query, handler: Handler, question: Any) -> None:
        """Ask the engine; `handler(peer, question, reply)` is called when the reply may leave."""
        self.services.engine.post(command, handler, self, question, line=self.line)

    def heard(self, now_ms: int) -> None:
        """Something was read from this connection: its session lives. Told to core a few times a heartbeat."""
        step_ms = self.services.engine.partition.session_ttl_ms // 10
        if self.session and now_ms - self._heard_ms >= step_ms:
            self._heard_ms = now_ms
            self.services.engine.post(c.HearSession(self.session), nobody)

    def throttle(self) -> None:
        """Runs were sent, or have left: with too much of them waiting for it, a worker gets none for a while."""
        waiting = self.connection.outbox_bytes
        throttled = waiting > (DELIVERIES_BYTES_MAX // 4 if self.throttled else DELIVERIES_BYTES_MAX)
        if throttled is not self.throttled:
            self.throttled = throttled
            self.services.engine.post(c.ThrottleLink(self.session, throttled, self.link), nobody)

    # --- what it is told --------------------------------------------------------------------------------------------

    def send(self, message: m.BrokerMessage, *, lazily: bool = False) -> None:
        """Queue a message; on a connection that ended it is dropped, and its session resumes or expires.

        An answer that nobody waits for is sent `lazily`.
        """
        try:
            self.connection.send_nowait(message, lazily=lazily)
        except PeerMisbehaved:
            # The peer was refused meanwhile: nothing more is owed to it.
            pass
        except Refused as error:
            # Too large for a frame: that is the answer then.
            self.connection.send_nowait(refusal(getattr(message, "request", 0), error))

    def send_reply(self, question: Any, reply: Any) -> None:
        """A handler: the reply is the message itself, or an error that no request asked for."""
        self.send(reply if not isinstance(reply, Exception) else refusal(0, reply))

    def tell_later(self, jobs: Iterable[bytes]) -> None:
        """Look for the ends of these jobs, and tell them as the connection takes them."""
        if self.later.add(jobs):
            self.services.spawn(self.later.tell)

    def refuse(self, error: Exception) -> None:
        """Tell the peer why, and end the connection."""
        self.send(refusal(0, error))
        self.services.seats.dismiss(self)

    def end_backup(self) -> None:
        """The backup that this connection reads, if it does, is over."""
        backup, self.backup = self.backup, None
        if backup is not None:
            self.services.backups.end(backup)


def trouble(request: int, error: Refused | JournalError) -> m.Refusal:
    """What who asked is told. Files that cannot be read are also the affair of whoever runs the broker."""
    if isinstance(error, JournalError):
        log.error("%s", error)
    return refusal(request, error)
