"""What the connections of a broker reach of it: one list, so that a connection needs no broker to be understood."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, NamedTuple

from aioqueue.broker.backup import Backups
from aioqueue.broker.beats import Beats
from aioqueue.broker.bodies import Bodies
from aioqueue.broker.crowd import Crowd
from aioqueue.broker.engine import Engine
from aioqueue.broker.outlet import Outlet
from aioqueue.broker.overlay import Overlay
from aioqueue.broker.pages import Listings
from aioqueue.broker.seats import Seats, Spawn
from aioqueue.broker.translate.submits import Translator
from aioqueue.broker.waiters import Waiters
from aioqueue.broker.watching import Watching
from aioqueue.broker.witness import Witness
from aioqueue.ground import Ground
from aioqueue.limits import DEAF_NAMED_MAX
from aioqueue.model.views import Block


class Services(NamedTuple):
    """The parts of one broker that its connections use. `name` is what people call its storage."""

    name: str
    ground: Ground
    engine: Engine
    overlay: Overlay
    bodies: Bodies
    outlet: Outlet[Any]
    translator: Translator
    listings: Listings
    backups: Backups
    beats: Beats
    crowd: Crowd
    seats: Seats[Any]
    waiters: Waiters[Any]
    watching: Watching[Any]
    witness: Witness
    spawn: Spawn

    def hash_secret(self, secret: bytes) -> bytes:
        """What is kept of a session's secret: enough to know it again, and nothing to speak for it with."""
        return sha256(self.engine.journal_id + secret).digest()[:16]

    def deaf_at(self, job: bytes, namespace: str) -> list[str]:
        """The workers of this namespace on which a run of the job heeded no cancellation and still goes on."""
        found = (self.engine.partition.state.sessions.get(number) for number in self.beats.deaf_in(job))
        names = [session.name for session in found if session is not None and session.namespace == namespace]
        return names[:DEAF_NAMED_MAX]

    def blocked(self, session: int) -> Block | None:
        """What the event loop of this session's worker stands still in, as far as is known."""
        return self.beats.blocked(session, self.ground.now().mono_ms)
