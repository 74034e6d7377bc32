"""Nobody answered: trying again later is right. Raised to those who call and wait, never said by a broker."""

from __future__ import annotations

from aioqueue.errors.base import AioqueueError


class BrokerUnavailable(AioqueueError):
    """No answer from a broker; the same call may work later."""

    code = "broker_unavailable"
    sentence = "no broker answers at {url}: {reason}"


class DeadlineExceeded(BrokerUnavailable, TimeoutError):
    code = "deadline_exceeded"
    sentence = "{what} was not answered within {seconds:g} s"


class OutcomeUnknown(BrokerUnavailable):
    code = "outcome_unknown"
    sentence = "{what} was sent, and no answer came for {seconds:g} s; it may or may not have been accepted"


class ConnectionLost(BrokerUnavailable):
    code = "connection_lost"
    sentence = "the connection to {url} was lost: {reason}"


class QueueClosed(BrokerUnavailable):
    code = "queue_closed"
    sentence = "the queue was closed while {what} waited"
