"""Rates, from two views of the same broker: the broker counts, whoever looks divides. Pure."""

from __future__ import annotations

from typing import NamedTuple

from aioqueue.model.views import QueueStatistics, Statistics

QueueName = tuple[str, str]


class Rates(NamedTuple):
    """What happened in one queue, per second."""

    submitted: float
    succeeded: float
    failed: float


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
