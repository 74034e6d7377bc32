"""How a connection begins, is kept alive and ends: Hello, Ping, Beat, Goodbye, WorkerDied."""

from __future__ import annotations

from typing import Any, Final

from aioqueue.broker.line import nobody
from aioqueue.broker.peers.peer import Peer
from aioqueue.broker.peers.rows import Row
from aioqueue.broker.witness import Claim
from aioqueue.core import commands as c
from aioqueue.errors import CapabilityMissing, ProtocolVersionMismatch
from aioqueue.model.bodies import unpack_headers
from aioqueue.model.names import check_name
from aioqueue.model.rights import ANYBODY
from aioqueue.model.version import APP_VERSION
from aioqueue.protocol import messages as m

# Of an app, as errors name it.
_VERSION_CHARACTERS_MAX: Final = 64
# What this broker can do beyond version 1 of the protocol.
CAPABILITIES: Final = int(m.Capability.FILTERS | m.Capability.RUNS | m.Capability.BACKUP | m.Capability.CONTROL)


def hello(peer: Peer, message: m.Hello) -> None:
    if message.version_max < m.PROTOCOL_VERSION_MIN or message.version_min > m.PROTOCOL_VERSION:
        raise ProtocolVersionMismatch(
            client_min=message.version_min, client_max=message.version_max,
            broker_min=m.PROTOCOL_VERSION_MIN, broker_max=m.PROTOCOL_VERSION,
        )  # fmt: skip
    if missing := message.required & ~CAPABILITIES:
        raise CapabilityMissing(missing=missing)
    services = peer.services
    engine = services.engine
    claim = Claim(message.journal_id, message.epoch_seen, message.position_seen)
    services.witness.check(claim, engine.journal_id, engine.epoch, engine.position)
    check_name("namespace", message.namespace)
    peer.role = message.role
    if message.role is not m.Role.CLIENT:
        peer.line = engine.work
        peer.gauge.move(services.crowd.workers)
    peer.namespace = message.namespace
    if attach := message.role is m.Role.HEARTBEAT:
        peer.link = 0
    secret_hash = services.hash_secret(message.secret)
    name = message.name or peer.connection.peer
    opened = c.OpenSession(secret_hash, message.namespace, name, attach, peer.link, _version_in(message.about))
    if attach:
        peer.claim = opened
    peer.post(opened, _welcome, message)


def _version_in(about: bytes) -> str:
    """The version of the app, as people are told of it; nothing where it has none."""
    version = unpack_headers(about).get(APP_VERSION, "") if about else ""
    return f"version {version[:_VERSION_CHARACTERS_MAX]}" if version else ""


def _welcome(peer: Peer, message: m.Hello, reply: Any) -> None:
    if isinstance(reply, Exception):
        peer.refuse(reply)
        return
    peer.session, fresh = reply
    if peer.session:
        peer.services.seats.seat(peer)
    engine = peer.services.engine
    version = min(m.PROTOCOL_VERSION, message.version_max)
    peer.send(
        m.Welcome(
            version, peer.session, fresh, engine.journal_id, engine.epoch, engine.position,
            engine.partition.session_ttl_ms, capabilities=CAPABILITIES & message.capabilities,
        )
    )  # fmt: skip


def ping(peer: Peer, message: m.Ping) -> None:
    peer.send(m.Pong(message.number))


def pong(peer: Peer, message: m.Pong) -> None:
    """Being heard is all that this message is for."""


def beat(peer: Peer, message: m.Beat) -> None:
    """Remember how a worker's event loop fares; a connection that was replaced has no say."""
    services = peer.services
    if not peer.session:
        _attach(peer, message)
    elif services.seats.at_heartbeat.get(peer.session) is peer:
        services.beats.take(peer.session, message, services.ground.now().mono_ms)


def goodbye(peer: Peer, message: m.Goodbye) -> None:
    if peer.session and peer.role is not m.Role.HEARTBEAT:
        peer.post(c.EndSession(peer.session, c.SessionEnd.GOODBYE), nobody, None)


def worker_died(peer: Peer, message: m.WorkerDied) -> None:
    if not peer.session:
        _attach(peer, message)
        return
    cause = c.SessionEnd.GOODBYE if message.leaving else c.SessionEnd.DIED
    peer.services.engine.post(c.EndSession(peer.session, cause), _recorded, peer, message)


def _attach(peer: Peer, message: m.Beat | m.WorkerDied) -> None:
    """A heartbeat that found no session looks again: its worker may have opened one meanwhile."""
    if peer.claim is not None:
        peer.services.engine.post(peer.claim, _attached, peer, message)


def _attached(peer: Peer, message: m.Beat | m.WorkerDied, reply: Any) -> None:
    if isinstance(reply, Exception):
        peer.refuse(reply)
        return
    if reply[0] and not peer.session:
        peer.session = reply[0]
        peer.services.seats.seat(peer)
    if isinstance(message, m.WorkerDied):
        if peer.session:
            worker_died(peer, message)
        else:
            # Where there is no session nothing is left to be ended.
            _recorded(peer, message, None)
    elif peer.session:
        beat(peer, message)


def _recorded(peer: Peer, message: m.WorkerDied, reply: Any) -> None:
    if message.number:
        peer.send(m.Pong(message.number))


# A heartbeat speaks for a session whose secret it knows: that is all the right it needs.
ROWS: Final = (
    Row(m.Hello, ANYBODY, hello),
    Row(m.Ping, ANYBODY, ping),
    Row(m.Pong, ANYBODY, pong),
    Row(m.Beat, ANYBODY, beat),
    Row(m.WorkerDied, ANYBODY, worker_died),
    Row(m.Goodbye, ANYBODY, goodbye),
)
