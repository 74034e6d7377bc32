"""All connections of a broker, each from its first byte to its last.

What a peer does wrong, or a defect here, ends its own connection and nothing else. Who is silent, who reads nothing and
who says nothing that can be understood is noticed here; what is asked over a connection is the affair of `peers`.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from itertools import count
from typing import Final

import anyio

from aioqueue.broker.backlog import room_for_more
from aioqueue.broker.complaints import Complaints
from aioqueue.broker.crowd import LOOK_SECONDS
from aioqueue.broker.hearing import hear_all
from aioqueue.broker.line import nobody
from aioqueue.broker.peers.dispatch import dispatch
from aioqueue.broker.peers.peer import Peer
from aioqueue.broker.peers.waiting import look_for_ends
from aioqueue.broker.seats import LAST_WORD_SECONDS
from aioqueue.broker.services import Services
from aioqueue.broker.silence import Silences
from aioqueue.broker.translate.refusals import refusal
from aioqueue.core import commands as c
from aioqueue.errors import ConnectionLost, HistoryLost, PeerMisbehaved, Refused, TooManyConnections
from aioqueue.limits import HANDSHAKE_MS, HEARTBEATS_A_TTL, SLOW_FROM, SLOW_SECONDS_MAX, STRANGERS_MAX
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side
from aioqueue.transport.connection import Connection
from aioqueue.transport.stream import Stream

log = logging.getLogger(__name__)

# As often as core is told of a session that is heard.
_EXCUSED_A_TTL: Final = 10


class Connections:
    """Those of one broker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._decode: Final = Codec().decode_client
        self._links = count(1)
        self._complaints = Complaints(services.ground)

    # --- one connection ---------------------------------------------------------------------------------------------

    async def attend(self, stream: Stream) -> None:
        """Serve one connection until it ends; what its peer does wrong, or a defect here, ends nothing else."""
        peer: Peer | None = None
        crowd = self._services.crowd

        def outbox_grew(size: int) -> None:
            crowd.outbox_grew(size)
            if size < 0 and peer is not None:
                peer.later.moved()
                if peer.throttled:
                    peer.throttle()

        connection = Connection(
            stream, decode=self._decode, conversation=Conversation(Side.BROKER), on_outbox=outbox_grew
        )
        try:
            gauge = crowd.enter(connection, stream)
        except TooManyConnections as error:
            await self._turn_away(connection, error)
            return
        self._make_room()
        peer = Peer(self._services, connection, next(self._links), gauge, look_for_ends)
        self._services.seats.present[peer] = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connection.run_writer)
                try:
                    await self._converse(peer)
                except (PeerMisbehaved, Refused, HistoryLost) as error:
                    if peer.session:
                        log.warning("%s: %s", connection.peer, error)
                    else:
                        self._complaints.add(error.code, connection.peer, str(error))
                    await _last_word(peer, refusal(0, error))
                except (anyio.EndOfStream, ConnectionLost):
                    pass
                finally:
                    tasks.cancel_scope.cancel()
        except Exception:
            log.exception("the connection of %s failed", connection.peer)
        finally:
            self._leave(peer)
            crowd.leave(connection)
            with anyio.CancelScope(shield=True):
                await connection.aclose()

    def _make_room(self) -> None:
        oldest = self._services.crowd.surplus()
        if oldest is not None:
            reason = f"no Hello came, and {STRANGERS_MAX:,} connections that came later have said none either"
            self._complaints.add("too_many_strangers", oldest.peer, reason)
            oldest.cut_off(reason)

    async def _turn_away(self, connection: Connection[m.ClientMessage], error: TooManyConnections) -> None:
        crowd = self._services.crowd
        if crowd.may_tell():
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(connection.run_writer)
                    with anyio.move_on_after(LAST_WORD_SECONDS), suppress(ConnectionLost):
                        connection.send_nowait(refusal(0, error))
                        await connection.flush()
                    tasks.cancel_scope.cancel()
            finally:
                crowd.told()
        with anyio.CancelScope(shield=True):
            await connection.aclose()

    async def _converse(self, peer: Peer) -> None:
        connection, ground = peer.connection, self._services.ground
        with anyio.move_on_after(HANDSHAKE_MS / 1000) as scope:
            while True:
                before = connection.understood_bytes
                messages = await connection.receive()
                if peer.dismissed:
                    continue
                if scope.deadline != float("inf") and connection.conversation.state.name != "EXPECT_HELLO":
                    scope.deadline = float("inf")
                    self._services.crowd.known(connection)
                peer.heard(ground.now().mono_ms)
                for message in messages:
                    dispatch(peer, message)
                peer.line.asked(connection.understood_bytes - before, peer.gauge)
                await self._until_readable(peer)
        raise PeerMisbehaved(reason=f"no Hello came within {HANDSHAKE_MS} ms")

    async def _until_readable(self, peer: Peer) -> None:
        """Let the peer wait for what it asked, and slow it down where it fills a backlog that is nearly full."""
        peer.reading = False
        engine = self._services.engine
        await room_for_more(engine, peer.gauge)
        if peer.lookups.waiting:
            await peer.lookups.room()
        if peer.later.waiting:
            await peer.later.room()
        if peer.publishes:
            state = engine.partition.state
            fullness = state.admission.fullness(len(state.jobs))
            if fullness > SLOW_FROM:
                await anyio.sleep(SLOW_SECONDS_MAX * min(1.0, (fullness - SLOW_FROM) / (1 - SLOW_FROM)))
            peer.publishes = False
        peer.reading = True

    def _leave(self, peer: Peer) -> None:
        services = self._services
        seats = services.seats
        seats.present.pop(peer, None)
        peer.gone.set()
        peer.later.moved()
        services.watching.end(peer)
        services.waiters.forget(peer)
        peer.end_backup()
        if seats.at_data.get(peer.session) is peer:
            del seats.at_data[peer.session]
            services.engine.post(c.LoseLink(peer.session, peer.link), nobody)
        elif seats.at_heartbeat.get(peer.session) is peer:
            del seats.at_heartbeat[peer.session]
            services.beats.forget(peer.session)

    # --- all of them ------------------------------------------------------------------------------------------------

    async def watch_crowd(self) -> None:
        """Until cancelled: see to it that nobody fills the memory, or is in the way of others."""
        services = self._services
        async for _ in services.ground.every(LOOK_SECONDS):
            services.crowd.look()
            self._complaints.look()
            for peer in list(services.seats.present):
                if peer.backup is not None and peer.backup.is_abandoned(LOOK_SECONDS):
                    log.warning("%s: it asked for no more of its backup, which is given up", peer.connection.peer)
                    peer.end_backup()

    async def excuse_unread(self) -> None:
        """Until cancelled: see to it that nobody's session ends for what this side does not read."""
        services = self._services
        async for _ in services.ground.every(services.engine.partition.session_ttl_ms / 1000 / _EXCUSED_A_TTL):
            for peer in services.seats.present:
                if not peer.listening:
                    peer.heard(services.ground.now().mono_ms)

    async def notice_silence(self) -> None:
        """Until cancelled: close connections over which nothing comes for a whole ttl."""
        seats = self._services.seats
        ttl_ms = self._services.engine.partition.session_ttl_ms
        silences: Silences[Peer] = Silences()
        async for _ in self._services.ground.every(ttl_ms / 1000 / HEARTBEATS_A_TTL):
            await hear_all()
            # Who was not welcomed yet has the deadline of the handshake.
            for peer in silences.look(peer for peer in seats.present if peer.session or peer.claim):
                log.warning("%s: nothing came for %d ms: the connection is closed", peer.connection.peer, ttl_ms)
                peer.send(m.Closing(f"nothing came over this connection for {ttl_ms} ms"))
                seats.dismiss(peer)

    async def close(self, word: m.BrokerMessage) -> None:
        """Tell all of them this last word, and close them."""
        async with anyio.create_task_group() as tasks:
            for peer in list(self._services.seats.present):
                tasks.start_soon(_close, peer, word)


async def _last_word(peer: Peer, message: m.BrokerMessage) -> None:
    with anyio.move_on_after(LAST_WORD_SECONDS):
        peer.send(message)
        with suppress(ConnectionLost):
            await peer.connection.flush()


async def _close(peer: Peer, word: m.BrokerMessage) -> None:
    with anyio.move_on_after(LAST_WORD_SECONDS), suppress(ConnectionLost):
        peer.send(word)
        await peer.connection.finish()
        # Its own end follows at once, unless it is stuck.
        await peer.gone.wait()
    await peer.connection.aclose()
