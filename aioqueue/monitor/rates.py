"""Rates, from two views of the same broker: the broker counts, whoever looks divides. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from aioqueue.limits import STATISTICS_MS
from aioqueue.model.views import QueueStatistics, Statistics

QueueName = tuple[str, str]
# The first two views may come a moment apart, and one job between them is no thirty a second.
WINDOW_MS_MIN: Final = STATISTICS_MS * 9 // 10


class Rates(NamedTuple):
    """What happened in one queue, per second."""

    submitted: float
    succeeded: float
    failed: float


class Window:
    """The latest views of a broker: the newest, and one that is long enough before it to tell a rate."""

    def __init__(self) -> None:
        self._views: deque[Statistics] = deque()

    def take(self, view: Statistics) -> None:
        """The broker told another one."""
        views = self._views
        if views and (views[-1].started_ms != view.started_ms or views[-1].at_ms > view.at_ms):
            # Another broker, or its clock was set back: nothing before can be compared.
            views.clear()
        views.append(view)
        while len(views) > 1 and view.at_ms - views[1].at_ms >= WINDOW_MS_MIN:
            views.popleft()

    @property
    def latest(self) -> Statistics | None:
        return self._views[-1] if self._views else None

    @property
    def before(self) -> Statistics | None:
        """What the latest is compared with; None while the time between is too short."""
        views = self._views
        return views[0] if views and views[-1].at_ms - views[0].at_ms >= WINDOW_MS_MIN else None


def window_ms(now: Statistics, before: Statistics | None) -> int:
    """How much time the rates are about; 0 where there are none."""
    return 0 if before is None or before.started_ms != now.started_ms else max(0, now.at_ms - before.at_ms)


def rates(now: Statistics, before: Statistics | None) -> dict[QueueName, Rates]:
    """The rates of each queue between two views; none where they cannot be compared.

    A broker that was started again counts from zero, and a clock that was set back makes no time to divide by: both
    give nothing rather than a wrong number. A queue that is new counts from zero.
    """
    if before is None or before.started_ms != now.started_ms or now.at_ms <= before.at_ms:
        return {}
    seconds = (now.at_ms - before.at_ms) / 1000
    old = {(queue.namespace, queue.queue): queue for queue in before.queues}
    return {
        (queue.namespace, queue.queue): _between(queue, old.get((queue.namespace, queue.queue)), seconds)
        for queue in now.queues
    }


def _between(now: QueueStatistics, before: QueueStatistics | None, seconds: float) -> Rates:
    if before is None:
        return Rates(now.submitted / seconds, now.succeeded / seconds, now.failed / seconds)
    return Rates(
        (now.submitted - before.submitted) / seconds,
        (now.succeeded - before.succeeded) / seconds,
        (now.failed - before.failed) / seconds,
    )
