"""One session's connection to its broker, kept alive: used by a `Queue` (role CLIENT) and by a worker (role WORKER).

A link connects, says Hello, hands every message to its owner, and when the connection is lost connects again with the
same secret, after a wait that chance spreads. It answers pings and sends its own, so the session is heard of while
nothing is asked, and it takes a broker that says nothing for a whole `session_ttl` for lost, whatever TCP says.

It repeats nothing: what was sent while no connection stood, or was not answered when one was lost, is gone, and the
owner says it again in `on_welcome`. It ends by itself only for a refusal that no waiting can heal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

import anyio
from anyio import EndOfStream

from aioqueue.client.identity import THIS_PROCESS
from aioqueue.clock import Now
from aioqueue.errors import (
    AioqueueError,
    BrokerUnavailable,
    CapabilityMissing,
    ConnectionLost,
    ForeignProtocol,
    HistoryLost,
    JournalError,
    PeerMisbehaved,
    ProtocolVersionMismatch,
    QueueFull,
    Refused,
    SessionOver,
    TooManyConnections,
    TooManyNames,
    TooManySessions,
    from_wire,
)
from aioqueue.ground import Ground
from aioqueue.limits import (
    GOODBYE_SECONDS,
    HANDSHAKE_MS,
    HEARTBEATS_A_TTL,
    RECONNECT_BASE_SECONDS,
    RECONNECT_CAP_SECONDS,
)
from aioqueue.model.ids import HASH_VERSION
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side, State
from aioqueue.protocol.messages import (
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN,
    BrokerMessage,
    Capability,
    ClientMessage,
    Closing,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Refusal,
    Role,
    Welcome,
)
from aioqueue.transport.connection import Connection
from aioqueue.transport.dialer import Dialer, Dials

_log = logging.getLogger(__name__)
_CODEC = Codec()
# What this side would use of a broker that is newer than version 1 had to be.
_CAPABILITIES: Final = int(sum(Capability))
# After this many doublings the cap has long been reached.
_DOUBLINGS_MAX: Final = 16
# Refusals that another attempt may heal: they tell of the broker's state, not of a mistake in the call.
_PASSING: Final = (TooManyConnections, TooManyNames, TooManySessions, SessionOver, QueueFull)
_CLOSED_EARLY: Final = "it closed the connection without a word, so it may be no broker of aioqueue"
_ANOTHER_JOURNAL: Final = (
    "the broker at %s has another journal than before, %s and not %s: jobs of the one before are not known there; see "
    "whether it was started on the right path, or on a backup"
)
_LASTING: Final = (Refused, JournalError, ProtocolVersionMismatch, CapabilityMissing)


def chance_of(ground: Ground) -> float:
    """A number from 0 up to 1."""
    return int.from_bytes(ground.random(4), "big") / 2**32


def is_lasting(error: Exception) -> bool:
    """Whether connecting again would meet the same refusal."""
    return isinstance(error, _LASTING) and not isinstance(error, _PASSING)


def reconnect_seconds(failures: int, chance: float) -> float:
    """The wait before the next attempt, after `failures` in a row; `chance` is 0 up to 1.

    Full jitter, from "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
    """
    longest: float = min(RECONNECT_CAP_SECONDS, RECONNECT_BASE_SECONDS * 2 ** min(failures, _DOUBLINGS_MAX))
    return longest * chance


class Seen(NamedTuple):
    """The most that a broker told to be durable: a position, the epoch and journal that it is of, and where it was."""

    journal_id: bytes = b""
    epoch: int = 0
    position: int = 0
    url: str = ""


NOTHING_SEEN: Final = Seen()


class Link:
    """Keeps one session connected while `run` runs.

    `on_welcome` is called when a connection stands, with what the broker said, and may already send; `on_messages`
    with all messages of one read; `on_lost` when a connection that stood is gone, with the reason. All three are
    plain functions and must not block. Chance spreads the waits between attempts.
    `journal_seen` is what an earlier link of the same caller was told.
    """

    def __init__(
        self,
        dialer: Dials,
        *,
        ground: Ground,
        role: Role,
        namespace: str,
        name: str,
        secret: bytes,
        on_welcome: Callable[[Welcome], None],
        on_messages: Callable[[list[BrokerMessage]], None],
        on_lost: Callable[[Exception], None],
        journal_seen: Seen = NOTHING_SEEN,
    ) -> None:
        self.url: str = dialer.url
        # Why the last attempt or connection failed; for those who wait for the first one.
        self.trouble: Exception | None = None
        # What the broker of the last connection can do.
        self.capabilities: Capability = Capability(0)
        # Since when it has been connected, or has not been.
        self.since: Now = ground.now()
        self._dialer = dialer
        self._role, self._namespace, self._name, self._secret = role, namespace, name, secret
        self._on_welcome, self._on_messages, self._on_lost = on_welcome, on_messages, on_lost
        self._journal_id, self._epoch, self._position, self._seen_at = journal_seen
        self._ground = ground
        # When the latest message that was answered was sent, by the monotonic clock: then the broker heard this side.
        self.heard_ns: int = 0
        self.session_ttl_ms: int = 0
        self._pinged = (0, 0)
        self._requests = 0
        self._scope = anyio.CancelScope()
        self._connection: Connection[BrokerMessage] | None = None
        self._reset()

    def _reset(self) -> None:
        self._heard = True
        # A connection that outlived one heartbeat was a good one: the next wait is short again.
        self._proved = False
        self._farewell = ""

    # --- what the owner calls ---

    @property
    def connected(self) -> bool:
        """Whether a connection stands: the broker welcomed this session and it has not been lost since."""
        return self._connection is not None

    @property
    def journal_seen(self) -> Seen:
        """The highest durable position the broker told of, and where: the next Hello carries it."""
        return Seen(self._journal_id, self._epoch, self._position, self._seen_at)

    def next_request(self) -> int:
        """A number that no request of this link had; take it right before sending, for the numbers must rise."""
        self._requests += 1
        return self._requests

    def send_nowait(self, *messages: ClientMessage) -> None:
        """Queue messages for this tick's write. Without a connection they are dropped: say them in `on_welcome`."""
        connection = self._connection
        # A refusal may have been read and not yet been looked at; nothing may be said after it.
        if connection is not None and connection.conversation.state is not State.CLOSED:
            connection.send_nowait(*messages)

    async def flush(self) -> None:
        """Wait until all that was queued has been handed to the system; `ConnectionLost` if the connection is lost."""
        if self._connection is not None:
            await self._connection.flush()

    async def aclose(self, goodbye: bool = True) -> None:
        """Make `run` return; with `goodbye` the broker is told that the session is over, if it can be."""
        connection, self._connection = self._connection, None
        if connection is not None and goodbye:
            with anyio.move_on_after(GOODBYE_SECONDS):
                try:
                    connection.send_nowait(Goodbye())
                    await connection.flush()
                except ConnectionLost:
                    # The session then ends by its time.
                    pass
        self._scope.cancel()

    async def run(self) -> None:
        """Connect, and stay connected, until `aclose` or cancellation.

        Raises what lasts: a `Refused` of this session, `ProtocolVersionMismatch`, `CapabilityMissing`, `HistoryLost`,
        or the journal error of an embedded broker that stopped.
        """
        failures = 0
        with self._scope:
            while True:
                self._reset()
                error = await self._connect()
                self.trouble = error
                if is_lasting(error):
                    raise error
                failures = 0 if self._proved else failures + 1
                await anyio.sleep(reconnect_seconds(failures, chance_of(self._ground)))

    # --- one connection ---

    async def _connect(self) -> Exception:
        """One connection from its beginning to its end; gives the reason of that end."""
        try:
            stream = await self._dialer.open_stream()
        except (AioqueueError, OSError) as error:
            return error
        connection: Connection[BrokerMessage] = Connection(
            stream, decode=_CODEC.decode_broker, conversation=Conversation(Side.CLIENT)
        )
        try:
            return await self._serve(connection)
        finally:
            self._connection = None
            with anyio.CancelScope(shield=True):
                await connection.aclose()

    async def _serve(self, connection: Connection[BrokerMessage]) -> Exception:
        reason: Exception = ConnectionLost(url=self.url, reason="the broker says nothing")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.run_writer)
            try:
                welcome, rest = await self._greet(connection)
                tasks.start_soon(self._keep_heard, welcome.session_ttl_ms, tasks.cancel_scope)
                await self._read(connection, welcome, rest)
            except EndOfStream:
                closed = "the broker closed the connection" if self._connection is not None else _CLOSED_EARLY
                reason = ConnectionLost(url=self.url, reason=self._farewell or closed)
            except (PeerMisbehaved, ConnectionLost, BrokerUnavailable, Refused, JournalError) as error:
                reason = error
            tasks.cancel_scope.cancel()
        if self._connection is not None:
            self._connection = None
            self.since = self._ground.now()
            # For those who ask before the next attempt has failed.
            self.trouble = reason
            _log.warning("lost the broker at %s: %s", self.url, reason)
            self._on_lost(reason)
        return reason

    async def _greet(self, connection: Connection[BrokerMessage]) -> tuple[Welcome, list[BrokerMessage]]:
        """Say Hello and wait for Welcome; also gives what came in the same read after it."""
        greeted_ns = self._ground.mono_ns()
        connection.send_nowait(
            Hello(
                PROTOCOL_VERSION_MIN, PROTOCOL_VERSION, self._role, self._secret, self._namespace, self._name,
                capabilities=_CAPABILITIES, journal_id=self._journal_id, position_seen=self._position,
                about=THIS_PROCESS.about, process=THIS_PROCESS.id, epoch_seen=self._epoch,
            )
        )  # fmt: skip
        try:
            async with asyncio.timeout(HANDSHAKE_MS / 1000):
                while True:
                    messages = await connection.receive()
                    for index, message in enumerate(messages):
                        if isinstance(message, Welcome):
                            self.heard_ns = greeted_ns
                            return message, messages[index + 1 :]
                        self._take_own(message)
        except TimeoutError:
            raise BrokerUnavailable(url=self.url, reason=f"no Welcome within {HANDSHAKE_MS} ms") from None

    async def suspicion(self) -> str:
        """What is to be thought of one that took connections and answered no Hello, if anything.

        It costs some connections more, so it is for who gives up, and not for each attempt: a broker may be busy.
        """
        answered = self.trouble is not None and getattr(self.trouble, "reason", "") != _CLOSED_EARLY
        protocol = "" if answered or not isinstance(self._dialer, Dialer) else await self._dialer.foreign()
        return str(ForeignProtocol(protocol=protocol)) if protocol else ""

    async def _read(
        self, connection: Connection[BrokerMessage], welcome: Welcome, messages: list[BrokerMessage]
    ) -> None:
        if welcome.hash_version != HASH_VERSION:
            raise ProtocolVersionMismatch(
                f"the broker finds jobs by hash version {welcome.hash_version}, this side by {HASH_VERSION}; "
                "upgrade the older of the two",
                broker=welcome.hash_version, client=HASH_VERSION,
            )  # fmt: skip
        if (welcome.journal_id, welcome.epoch) != (self._journal_id, self._epoch):
            if self._journal_id not in (b"", welcome.journal_id) and self._seen_at == self.url:
                _log.warning(_ANOTHER_JOURNAL, self.url, welcome.journal_id.hex(), self._journal_id.hex())
            # A position is told within an epoch: one of an epoch before is never handed on as one of this.
            self._journal_id, self._epoch, self._position = welcome.journal_id, welcome.epoch, 0
            self._seen_at = self.url
        self._position = max(self._position, welcome.position)
        self.session_ttl_ms = welcome.session_ttl_ms
        _log.info("connected to the broker at %s as session %d", self.url, welcome.session)
        self.capabilities = Capability(welcome.capabilities)
        self._connection = connection
        self.since = self._ground.now()
        self._on_welcome(welcome)
        while True:
            self._hand_over(messages)
            messages = await connection.receive()
            self._heard = True

    def _hand_over(self, messages: list[BrokerMessage]) -> None:
        others: list[BrokerMessage] = []
        end: AioqueueError | None = None
        for message in messages:
            try:
                if self._take_own(message):
                    continue
            except AioqueueError as error:
                # What the broker said before it is still true.
                end = error
                break
            position = getattr(message, "position", 0)
            if position > self._position:
                self._position = position
            others.append(message)
        if others:
            self._on_messages(others)
        if end is not None:
            raise end

    def _take_own(self, message: BrokerMessage) -> bool:
        """Whether the message was about the connection itself; raises what the broker refuses it with."""
        if isinstance(message, Ping):
            self.send_nowait(Pong(message.number))
        elif isinstance(message, Closing):
            self._farewell = message.reason or "the broker is stopping"
        elif isinstance(message, Refusal) and message.request == 0:
            raise self._told(message)
        elif isinstance(message, Pong):
            number, sent_ns = self._pinged
            if message.number == number:
                self.heard_ns = sent_ns
        else:
            return False
        return True

    def _told(self, refusal: Refusal) -> AioqueueError:
        error = from_wire(refusal.code, refusal.message, refusal.fields)
        if isinstance(error, JournalError) and not isinstance(error, HistoryLost):
            # It is the broker's journal, which its next start may read.
            return BrokerUnavailable(url=self.url, reason=str(error))
        return error

    async def _keep_heard(self, ttl_ms: int, scope: anyio.CancelScope) -> None:
        """Ping three times a `session_ttl`, and end the connection when nothing came back for all of one.

        Beats are counted rather than time: after a suspend of this process what waits in the socket is read first.
        """
        silent = 0
        number = 0
        rounds = self._ground.every(ttl_ms / 1000 / HEARTBEATS_A_TTL)
        while silent < HEARTBEATS_A_TTL:
            number += 1
            self._pinged = number, self._ground.mono_ns()
            self.send_nowait(Ping(number))
            self._heard = False
            await anext(rounds)
            self._proved = True
            silent = 0 if self._heard else silent + 1
        scope.cancel()
