"""What the last beat of each session said of its event loop, and of what runs on there unseen.

It is kept in memory, and only while the connection of the beats stands: it is news, not history, and decides nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from aioqueue.limits import NUMBER_MAX
from aioqueue.model.views import Block
from aioqueue.protocol.messages import Beat


class _Heard(NamedTuple):
    beat: Beat
    at_ms: int


class Beats:
    """The latest of each session; times are those of the monotonic clock."""

    def __init__(self) -> None:
        self._heard: dict[int, _Heard] = {}
        # Of the few that have any.
        self._deaf_jobs: dict[int, list[bytes]] = {}

    def take(self, session: int, beat: Beat, now_ms: int) -> None:
        """A session has beaten."""
        self._heard[session] = _Heard(beat, now_ms)
        if beat.deaf_jobs:
            self._deaf_jobs[session] = beat.deaf_jobs
        else:
            self._deaf_jobs.pop(session, None)

    def forget(self, session: int) -> None:
        """Nobody beats for this session any more."""
        self._heard.pop(session, None)
        self._deaf_jobs.pop(session, None)

    def lag_ms(self, session: int) -> int:
        """How late the session's event loop ran, by its last beat; 0 where nothing is known."""
        heard = self._heard.get(session)
        return heard.beat.lag_ms if heard is not None else 0

    def deaf(self, session: int) -> int:
        """How many of its runs heeded no cancellation and go on, by its last beat."""
        heard = self._heard.get(session)
        return heard.beat.deaf if heard is not None else 0

    def deaf_in(self, job: bytes) -> list[int]:
        """The sessions whose last beat named this job among those that heeded no cancellation and go on."""
        return [session for session, jobs in self._deaf_jobs.items() if job in jobs]

    def blocked(self, session: int, now_ms: int) -> Block | None:
        """What the session's event loop stands still in, if it does, and for how long by now."""
        heard = self._heard.get(session)
        if heard is None or heard.beat.blocked is None:
            return None
        block = heard.beat.blocked
        for_ms = min(NUMBER_MAX, block.for_ms + max(0, now_ms - heard.at_ms))
        return Block(block.job, block.task, block.place, for_ms)
