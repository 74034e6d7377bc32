"""Who watches the broker, and what they are shown: the statistics, once a second, and nothing while nobody watches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar

import anyio

from aioqueue.broker.engine import Engine
from aioqueue.broker.line import Query
from aioqueue.broker.statistics import Statistician
from aioqueue.ground import Ground
from aioqueue.limits import STATISTICS_MS
from aioqueue.protocol import messages as m


class Watcher(Protocol):
    """A connection that is shown statistics."""

    def send(self, message: m.BrokerMessage, *, lazily: bool = False) -> None: ...


W = TypeVar("W", bound=Watcher)


class Watching(Generic[W]):
    """One for each broker; `run` is its life."""

    def __init__(self, engine: Engine, statistician: Statistician, ground: Ground) -> None:
        self._engine = engine
        self._statistician = statistician
        self._ground = ground
        self._watchers: dict[W, None] = {}
        self._watched = anyio.Event()

    def begin(self, watcher: W) -> None:
        """Send statistics from now on; the first come at once."""
        self._watchers[watcher] = None
        self._engine.post(Query(self._view), _show, [watcher])
        self._watched.set()

    def end(self, watcher: W) -> None:
        """It watches no more, if it did."""
        self._watchers.pop(watcher, None)

    async def run(self) -> None:
        """Until cancelled."""
        rounds = self._ground.every(STATISTICS_MS / 1000)
        while True:
            await self._watched.wait()
            await anext(rounds)
            if not self._watchers:
                self._watched = anyio.Event()
                continue
            self._engine.post(Query(self._view), _show, self._watchers)

    def _view(self) -> m.StatisticsUpdate:
        engine = self._engine
        now, log_bytes = self._ground.now(), engine.span.log_bytes
        return m.StatisticsUpdate(self._statistician.view(now, engine.position, log_bytes, engine.steps_ns))


def _show(watchers: Iterable[Watcher], question: Any, view: m.StatisticsUpdate) -> None:
    """What is so when it is shown is durable then: it stood in line like every answer."""
    for watcher in watchers:
        watcher.send(view)
