"""Who watches the broker, and what they are shown: the statistics, once a second, and nothing while nobody watches.

Each watcher is shown its own namespace, in a view that is made once for all who watch the same.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Generic, Protocol, TypeVar

import anyio

from aioqueue.broker.engine import Engine
from aioqueue.broker.line import Query
from aioqueue.broker.statistics import Statistician
from aioqueue.ground import Ground
from aioqueue.limits import STATISTICS_MS
from aioqueue.protocol import messages as m


class Watcher(Protocol):
    """A connection that is shown statistics, those of its namespace."""

    namespace: str

    def send(self, message: m.BrokerMessage, *, lazily: bool = False) -> None: ...


W = TypeVar("W", bound=Watcher)


class Watching(Generic[W]):
    """One for each broker; `run` is its life."""

    def __init__(self, engine: Engine, statistician: Statistician, ground: Ground) -> None:
        self._engine = engine
        self._statistician = statistician
        self._ground = ground
        # By namespace, and none without a watcher.
        self._watchers: dict[str, dict[W, None]] = {}
        self._watched = anyio.Event()

    def begin(self, watcher: W) -> None:
        """Send statistics from now on; the first come at once."""
        self._watchers.setdefault(watcher.namespace, {})[watcher] = None
        self._post(watcher.namespace, [watcher])
        self._watched.set()

    def end(self, watcher: W) -> None:
        """It watches no more, if it did."""
        others = self._watchers.get(watcher.namespace)
        if others is None:
            return
        others.pop(watcher, None)
        if not others:
            del self._watchers[watcher.namespace]

    async def run(self) -> None:
        """Until cancelled."""
        rounds = self._ground.every(STATISTICS_MS / 1000)
        while True:
            await self._watched.wait()
            await anext(rounds)
            if not self._watchers:
                self._watched = anyio.Event()
                continue
            for namespace, watchers in self._watchers.items():
                self._post(namespace, watchers)

    def _post(self, namespace: str, watchers: Collection[W]) -> None:
        self._engine.post(Query(lambda: self._view(namespace)), _show, watchers)

    def _view(self, namespace: str) -> m.StatisticsUpdate:
        engine = self._engine
        now, log_bytes = self._ground.now(), engine.span.log_bytes
        view = self._statistician.view(namespace, now, engine.position, log_bytes, engine.steps_ns)
        return m.StatisticsUpdate(view)


def _show(watchers: Collection[Watcher], question: Any, view: m.StatisticsUpdate) -> None:
    """What is so when it is shown is durable then: it stood in line like every answer."""
    for watcher in watchers:
        watcher.send(view)
