"""Nobody answered: trying again later is right. Raised to those who call and wait, never said by a broker."""

from __future__ import annotations

from aioqueue.errors.base import AioqueueError


class BrokerUnavailable(AioqueueError):
    """No answer from a broker; the same call may work later."""

    code = "broker_unavailable"
    sentence = "no broker answers at {url}: {reason}"

    @property
    def sent(self) -> bool:
        """Whether what was asked has left this program: then it may have been done."""
        return bool(self.fields.get("sent", False))


class DeadlineExceeded(BrokerUnavailable, TimeoutError):
    code = "deadline_exceeded"
    sentence = "{what} was not answered within {seconds:g} s"


class OutcomeUnknown(BrokerUnavailable):
    code = "outcome_unknown"
    sentence = (
        "the submit of job {job} was sent and not answered within {seconds:g} s; it may have been accepted: "
        '`await queue.get("{job}")`, where JobNotFound means that it was not'
    )

    @property
    def sent(self) -> bool:
        return True


class ConnectionLost(BrokerUnavailable):
    code = "connection_lost"
    sentence = "the connection to {url} was lost: {reason}"


class QueueClosed(BrokerUnavailable):
    code = "queue_closed"
    sentence = "the queue was closed while {what} waited"
