"""Workers that are connected and idle beside work that they may have: it must never be so, and so it is watched for.

Alive and consuming nothing is how queues fail without a word. A batch that leaves nothing to do has leased all free
capacity, so whoever is idle beside a ready job after two such batches, `IDLE_MS` apart, shows a defect of this program.
It is told and counted, and the engine is asked to look once more. A journal that stalls is no such thing: then nothing
is decided for anybody.
"""

from __future__ import annotations

from typing import NamedTuple

from aioqueue.core.leasing import idle_beside_work
from aioqueue.core.state import State


class Idle(NamedTuple):
    """One worker that could have a job and has none."""

    session: int
    name: str
    free: int
    ready: int


class IdleWatch:
    """Looks at all sessions, `IDLE_MS` apart. `found` is how often one was told."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._before: set[int] = set()
        self.found = 0

    def look(self, settled: bool) -> list[Idle]:
        """`settled` says that the engine's last batch left nothing to do."""
        idle = (
            [
                Idle(session.number, session.name, session.free, ready)
                for session, ready in idle_beside_work(self._state)
            ]
            if settled
            else []
        )
        told = [each for each in idle if each.session in self._before]
        self._before = {each.session for each in idle}
        self.found += len(told)
        return told
