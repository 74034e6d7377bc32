"""What a caller is told when no answer came: that nothing was sent, or that nobody knows what became of it.

Each error names the call, for how long, why, and what to do. Used by whatever waits for the broker.
"""

from __future__ import annotations

from aioqueue.client.link import Link
from aioqueue.client.patience import Timeouts
from aioqueue.errors import AioqueueError, BrokerUnavailable, DeadlineExceeded, OutcomeUnknown
from aioqueue.model.ids import id_text


class Unanswered:
    """Writes these errors for the calls of one session."""

    def __init__(self, link: Link, timeouts: Timeouts) -> None:
        self._link = link
        self._timeouts = timeouts

    def not_sent(self, what: str, seconds: float, job: bytes = b"") -> BrokerUnavailable:
        """It was withdrawn in time."""
        url = self._link.url
        lead = self._absence() or f"the broker at {url} takes no more within {seconds:g} s than it was sent before"
        fields = {"job": id_text(job)} if job else {}
        return BrokerUnavailable(
            f"{lead}; {what} was not sent, and will not be",
            url=url, reason=self.trouble(), seconds=seconds, sent=False, **fields,
        )  # fmt: skip

    def unknown(self, job: bytes, seconds: float, jobs: int = 1) -> OutcomeUnknown:
        """The submit of a job was sent; or of several, all or none, of which it is the first."""
        if jobs == 1:
            return OutcomeUnknown(job=id_text(job), seconds=seconds)
        return OutcomeUnknown(
            f"the submit of {jobs:,} jobs was sent and not answered within {seconds:g} s; all may have been accepted, "
            f'or none: `await queue.get("{id_text(job)}")`, where JobNotFound means that they were not',
            job=id_text(job), seconds=seconds, jobs=jobs,
        )  # fmt: skip

    def unknown_bulk(self, bulk: str, jobs: int, first: bytes, seconds: float) -> OutcomeUnknown:
        """The last word of a bulk was sent, and then that it is given up."""
        return OutcomeUnknown(
            f"the commit of bulk {bulk} was sent and not answered within {seconds:g} s; all of its {jobs:,} jobs may "
            f'have been accepted, or none: `(await queue.get("{id_text(first)}")).info()`, where JobNotFound or '
            "`cancelled` means that they were not",
            bulk=bulk, job=id_text(first), jobs=jobs, seconds=seconds,
        )  # fmt: skip

    def of_many(self, certain: int, first: bytes, seconds: float, *, sent: bool) -> BrokerUnavailable:
        """Parts of a submit that is not atomic were accepted, and others were not answered."""
        told = f"{certain:,} of its jobs are certain"
        if not sent:
            error = self.not_sent("the rest of the submit_many", seconds)
            return BrokerUnavailable(f"{error}; {told}", **error.fields, certain=certain)
        return OutcomeUnknown(
            f"a part of the submit_many was sent and not answered within {seconds:g} s; {told}, more may have been "
            "accepted",
            job=id_text(first), certain=certain, seconds=seconds,
        )  # fmt: skip

    def unknown_part(self, seconds: float) -> OutcomeUnknown:
        """A part of a submit of many was sent, which cannot be said again so late."""
        return OutcomeUnknown(
            f"a part of a submit_many was sent and not answered within {seconds:g} s; it may have been accepted",
            seconds=seconds,
        )

    def unknown_act(self, what: str, job: bytes, seconds: float) -> OutcomeUnknown:
        """Something else was sent, which does no harm a second time."""
        return OutcomeUnknown(
            f"{what} was sent and not answered within {seconds:g} s; it may have been done, and asking again does no "
            "harm",
            job=id_text(job), seconds=seconds,
        )  # fmt: skip

    def not_answered(self, what: str, seconds: float) -> DeadlineExceeded:
        """A question that changes nothing."""
        absence = self._absence()
        message = f"{what} was not answered{f': {absence}' if absence else f' within {seconds:g} s'}"
        return DeadlineExceeded(message, what=what, seconds=seconds)

    def absence(self) -> str:
        """How long the broker has been away, as a clause; empty while it is there."""
        seconds = self._timeouts.away_seconds
        return f"the broker has been away for {round(seconds, 1):g} s" if seconds else ""

    def trouble(self) -> str:
        """Why no connection stands; empty if one does."""
        if self._link.connected:
            return ""
        return reason_of(self._link.trouble) if self._link.trouble is not None else "no connection was made yet"

    def _absence(self) -> str:
        seconds = self._timeouts.away_seconds
        if self._link.connected:
            return ""
        return f"no broker answers at {self._link.url} ({self.trouble()}), for {round(seconds, 1):g} s"


def reason_of(error: Exception) -> str:
    """An error's own reason, without the sentence around it that names the URL once more."""
    return str(error.fields.get("reason", error)) if isinstance(error, AioqueueError) else str(error)
