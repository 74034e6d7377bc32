"""How a run ended, as the settle that tells it: one function for each way to end.

The table `STOPPED` says what becomes of a run that the worker itself asked to stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from aioqueue.errors import AioqueueError, UnknownTask
from aioqueue.model.bodies import unpack_failure
from aioqueue.model.views import Failure
from aioqueue.protocol.messages import DeliverItem, RunEnd, SettleItem
from aioqueue.worker.failures import Told, failure_body, failure_of

# What `Runners` give to whoever tells the broker. Today every run ends by a settle.
End = SettleItem


class Stop(Enum):
    """Why the worker asked a run to stop."""

    TIMEOUT = "it exceeded its timeout"
    DRAIN = "the worker stops"
    CANCEL = "its cancellation was asked for"
    DEADLINE = "its deadline passed"
    PARTITION = "its broker cannot be reached, and may have given it to another worker"
    STALE = "its lease passed to another worker"


# None: there is nobody left to tell. A job whose cancellation was asked for is given back too: the broker knows what
# it asked, and ends it; so is one whose deadline passed, for the broker's clock is the one that counts.
STOPPED: Final[Mapping[Stop, RunEnd | None]] = {
    Stop.TIMEOUT: RunEnd.FAILED,
    Stop.DRAIN: RunEnd.RELEASED,
    Stop.CANCEL: RunEnd.RELEASED,
    Stop.DEADLINE: RunEnd.RELEASED,
    # By its fence: if the job passed on meanwhile, nobody listens to this.
    Stop.PARTITION: RunEnd.RELEASED,
    Stop.STALE: None,
}
# Given back for these, a job begins anew, here or with another worker.
GIVES_AWAY: Final = frozenset({Stop.DRAIN, Stop.PARTITION})


# Looking a member up in its enum costs 0.1 us on Python 3.11.
_SUCCEEDED: Final = RunEnd.SUCCEEDED


def succeeded(item: DeliverItem, body: bytes) -> End:
    """The run has a result."""
    return SettleItem(item.job, item.fence, _SUCCEEDED, body)


def released(item: DeliverItem) -> End:
    """The run is given back: no attempt is spent, and the job keeps its place."""
    return SettleItem(item.job, item.fence, RunEnd.RELEASED)


def failed(item: DeliverItem, failure: Failure) -> End:
    """The run failed in a way that is described already."""
    return SettleItem(item.job, item.fence, RunEnd.FAILED, failure_body(failure), failure.retry)


def raised(item: DeliverItem, error: BaseException, retry: bool) -> End:
    """The task raised something."""
    return failed(item, failure_of(error, retry=retry))


def misfit(item: DeliverItem, error: Exception) -> End:
    """This app does not have the task, or has another form of it: the job is for another worker. Spends no attempt."""
    return SettleItem(item.job, item.fence, RunEnd.MISFIT, failure_body(_misfit(error)), False)


def misfit_failed(item: DeliverItem, error: Exception) -> End:
    """The same for a broker that knows no misfits: given back, the job would return to this worker at once.

    An unknown task may be tried again: while it waits its back-off a worker of a newer release may come and take it.
    Arguments that do not fit will not fit the next time either.
    """
    return failed(item, _misfit(error))


def without_misfit(end: End) -> End:
    """An end that was for a broker that knows misfits, for one that does not."""
    if end.end is not RunEnd.MISFIT:
        return end
    return SettleItem(end.job, end.fence, RunEnd.FAILED, end.body, unpack_failure(end.body).type == "UnknownTask")


def _misfit(error: Exception) -> Failure:
    if isinstance(error, Told):
        return error.failure
    return Failure(type(error).__name__, str(error), retry=isinstance(error, UnknownTask))


def unusable_result(item: DeliverItem, error: Exception) -> End:
    """The task returned what cannot be stored. Another attempt would do the work again, for the same result."""
    if isinstance(error, AioqueueError):
        return failed(item, Failure(type(error).__name__, str(error), retry=False))
    return raised(item, error, retry=False)


def cancelled_itself(item: DeliverItem, error: BaseException) -> End:
    """The task raised `CancelledError`, most often from something it awaited that somebody else had cancelled."""
    told = failure_of(error, retry=True)
    text = "the task raised CancelledError, and nobody had asked this job to stop"
    return failed(item, Failure("CancelledError", text, told.traceback, retry=True))


def timed_out(item: DeliverItem, error: BaseException | None, retry: bool) -> End:
    """The attempt took longer than its timeout; `error` is how it ended then, or None if it did not end at all."""
    text = f"task {item.task} exceeded its timeout of {item.timeout_ms / 1000:g} s"
    if error is None:
        return failed(item, Failure("TimeoutError", f"{text}, and did not stop when it was cancelled", retry=retry))
    return failed(item, Failure("TimeoutError", text, failure_of(error, retry=retry).traceback, retry=retry))


def stopped(item: DeliverItem, why: Stop, error: BaseException | None, retry: bool) -> End | None:
    """The end of a run that was asked to stop and did not succeed; None if nobody wants to know."""
    end = STOPPED[why]
    if end is RunEnd.FAILED:
        return timed_out(item, error, retry)
    return released(item) if end is RunEnd.RELEASED else None
