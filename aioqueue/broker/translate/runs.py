"""Runs and their ends: what workers are told and say, and what is told of a job that is over. Pure.

Called by `outlet` and `peers.working`; an error that is too large is cut here, and a result that is too large fails
its attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aioqueue.core import commands as c
from aioqueue.core.effects import DeliverJob
from aioqueue.core.nouns import Job
from aioqueue.limits import BODY_BYTES_MAX, ERROR_BYTES_MAX
from aioqueue.model.bodies import CRASHED, pack_failure
from aioqueue.model.records import FinishedJob, unpack_extra
from aioqueue.model.spec import unpack_spec
from aioqueue.model.states import JobState
from aioqueue.model.views import Failure
from aioqueue.protocol import messages as m
from aioqueue.protocol.extras import Key, packed

# By the wire's number: looking a member up in an enum costs more than all the rest of the item.
_RUN_ENDS: Final = (None, c.RunEnd.SUCCEEDED, c.RunEnd.FAILED, c.RunEnd.RELEASED, None, c.RunEnd.MISFIT)
_ANSWERS: Final = (None, m.SettleAnswer.OK, m.SettleAnswer.ALREADY, m.SettleAnswer.STALE)
_VERDICTS: Final = (None, m.Verdict.KEEP, m.Verdict.CANCEL, m.Verdict.STALE)
_SETTLED: Final = c.SettleOutcome.OK


def runs_ended(items: Sequence[m.SettleItem]) -> list[c.EndRun]:
    """Settles as core understands them. An error is cut to its limit; a result over its limit fails the attempt."""
    return [
        c.EndRun(item.job, item.fence, _RUN_ENDS[item.end], item.body, item.retry)  # type: ignore[arg-type]
        if len(item.body) <= ERROR_BYTES_MAX
        else _large_end(item)
        for item in items
    ]


def _large_end(item: m.SettleItem) -> c.EndRun:
    end, body, retry = _RUN_ENDS[item.end], item.body, item.retry
    assert end is not None
    if end is c.RunEnd.SUCCEEDED and len(body) > BODY_BYTES_MAX:
        text = f"the result is {len(body)} bytes, the limit is {BODY_BYTES_MAX}"
        end, body, retry = c.RunEnd.FAILED, pack_failure(Failure("PayloadTooLarge", text, "", False)), False
    elif end is c.RunEnd.FAILED or end is c.RunEnd.MISFIT:
        body = pack_failure(Failure("PayloadTooLarge", f"the error is {len(body)} bytes", "", retry))
    return c.EndRun(item.job, item.fence, end, body, retry)


def settled(request: int, position: int, outcomes: Sequence[c.SettleOutcome]) -> m.Settled:
    """The answer to a settle; nothing but the position when all is well."""
    if outcomes.count(_SETTLED) == len(outcomes):
        return m.Settled(request, position)
    return m.Settled(request, position, settle_answers(outcomes))


def following(job: Job | FinishedJob, wall_ms: int) -> m.Following:
    """What became of a job whose run failed, at this time."""
    if isinstance(job, FinishedJob):
        return m.Following(job.id, job.state, job.failures, unpack_spec(job.spec).retry.attempts)
    in_ms = max(0, job.due_ms - wall_ms) if job.state is JobState.SCHEDULED else 0
    return m.Following(job.id, job.state, job.failures, job.spec.retry.attempts, in_ms)


def settle_answers(outcomes: Sequence[c.SettleOutcome]) -> list[m.SettleAnswer]:
    return [_ANSWERS[outcome] for outcome in outcomes]  # type: ignore[misc]


def resumed(
    request: int, position: int, verdicts: Sequence[c.RunVerdict], outcomes: Sequence[c.SettleOutcome]
) -> m.Resumed:
    told: list[m.Verdict] = [_VERDICTS[verdict] for verdict in verdicts]  # type: ignore[misc]
    return m.Resumed(request, told, settle_answers(outcomes), position)


def deliver_item(run: DeliverJob, wall_ms: int = 0) -> m.DeliverItem:
    """One run, as its worker is told of it at this time, which only matters where there is a deadline."""
    spec = run.spec
    terms = None
    if run.deadline_ms:
        terms = packed({Key.DEADLINE: max(1, run.deadline_ms - wall_ms), Key.DEADLINE_AT: run.deadline_ms})
    headers = unpack_extra(run.extra).headers if run.extra else b""
    return m.DeliverItem(
        run.id, run.fence, run.run, spec.task, run.body, headers, [], terms, run.attempt, run.crashes, spec.timeout_ms,
        spec.queue,
    )  # fmt: skip


def ended_item(finished: FinishedJob) -> m.EndedItem:
    """A job's end, as one who waits for it is told."""
    body = finished.body
    if not body and finished.state is JobState.DEAD:
        body = CRASHED
    return m.EndedItem(finished.id, finished.state, body, "", finished.note)
