"""Between the words of the wire and the words of core. Pure, and the only module that knows both.

What comes in is checked here as far as core need not know of it: specs, names, options that do not exist yet. What
cannot be said to core is a `Refused`, of one item where items are independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from aioqueue.core import commands as c
from aioqueue.core.effects import DeliverJob
from aioqueue.core.state import Job
from aioqueue.errors import AioqueueError, BadOption, PayloadTooLarge, Refused, Unsupported, WrongNamespace
from aioqueue.limits import BODY_BYTES_MAX, DURATION_MS_MAX, ERROR_BYTES_MAX, INSTANT_MS_MAX
from aioqueue.model.bodies import CRASHED, pack_failure, unpack_failure, unpack_headers
from aioqueue.model.ids import route_in, route_of
from aioqueue.model.records import EndedRun, FinishedJob, JobExtra, Terms, pack_extra, unpack_extra
from aioqueue.model.spec import Spec, unpack_spec
from aioqueue.model.states import JobState
from aioqueue.model.views import Attempt, Block, Failure, JobInfo
from aioqueue.protocol import messages as m
from aioqueue.protocol.extras import KNOWN, Key, flag_in, id_in, number_in, packed

_SPECS_KNOWN_MAX: Final = 10_000
# By the wire's number: looking a member up in an enum costs more than all the rest of the item.
_RUN_ENDS: Final = (None, c.RunEnd.SUCCEEDED, c.RunEnd.FAILED, c.RunEnd.RELEASED)
_ANSWERS: Final = (None, m.SettleAnswer.OK, m.SettleAnswer.ALREADY, m.SettleAnswer.STALE)
_VERDICTS: Final = (None, m.Verdict.KEEP, m.Verdict.CANCEL, m.Verdict.STALE)
_OUTCOMES: Final = (None, m.Outcome.ACCEPTED, m.Outcome.EXISTS)
_LOOK: Final = int(m.SubmitFlag.RESEND | m.SubmitFlag.OWN_ID)
_UNKNOWN, _FRESH, _SETTLED = c.Known.UNKNOWN, c.Known.FRESH, c.SettleOutcome.OK
_ACCEPTED = c.SubmitOutcome.ACCEPTED


class Submission(NamedTuple):
    """A submit as core understands it. `refused` are the items that core is not asked about, by index."""

    jobs: list[c.NewJob]
    refused: list[m.ItemRefused]


class Translator:
    """Wire to core, for one broker: it remembers the specs it has checked."""

    def __init__(self) -> None:
        # By their packed bytes; those very bytes are handed on, so that a million jobs hold one copy.
        self._specs: dict[bytes, tuple[Spec, int, bytes]] = {}

    def submission(self, items: Sequence[m.SubmitItem], namespace: str) -> Submission:
        """What core is asked for these items; each that cannot be asked is refused alone."""
        jobs: list[c.NewJob] = []
        refused: list[m.ItemRefused] = []
        for index, item in enumerate(items):
            try:
                jobs.append(self._new_job(item, namespace))
            except AioqueueError as error:
                refused.append(m.ItemRefused(index, error.code, str(error), error.fields))
        return Submission(jobs, refused)

    def _new_job(self, item: m.SubmitItem, namespace: str) -> c.NewJob:
        known = self._specs.get(item.spec)
        spec, route, packed = known if known is not None else self._spec(item.spec)
        if spec.namespace != namespace:
            raise WrongNamespace(namespace=namespace, other=spec.namespace)
        if route_in(item.job) != route:
            raise BadOption(option="job", value=item.job.hex(), reason=f"its route bits are not those of {spec.queue}")
        if item.delay_ms > DURATION_MS_MAX or item.at_ms > INSTANT_MS_MAX:
            raise BadOption(option="delay", value=item.delay_ms or item.at_ms, reason="it must be within 100 years")
        if len(item.args) > BODY_BYTES_MAX:
            raise PayloadTooLarge(what=f"the arguments of {spec.task}", size=len(item.args), limit=BODY_BYTES_MAX)
        extra = pack_extra(JobExtra(item.headers, item.own_id)) if item.headers or item.own_id else None
        look = _UNKNOWN if item.flags & _LOOK else _FRESH
        terms = _asked_terms(item.extra) if item.extra else None
        return c.NewJob(item.job, spec, packed, item.args, item.delay_ms, item.at_ms, extra, look, terms)

    def _spec(self, packed: bytes) -> tuple[Spec, int, bytes]:
        spec = unpack_spec(packed)
        if len(self._specs) >= _SPECS_KNOWN_MAX:
            self._specs.clear()
        known = self._specs[packed] = (spec, route_of(spec.namespace, spec.queue), packed)
        return known


def _asked_terms(extra: m.Extra) -> c.AskedTerms:
    """The options of few jobs. Raises `Unsupported` for those that are not known, `BadOption` for bad ones."""
    if unknown := extra.keys() - KNOWN:
        raise Unsupported(what=f"the job options {sorted(unknown)}")
    terms = c.AskedTerms(
        number_in(extra, Key.EXPIRES, DURATION_MS_MAX), number_in(extra, Key.EXPIRES_AT, INSTANT_MS_MAX),
        number_in(extra, Key.DEADLINE, DURATION_MS_MAX), number_in(extra, Key.DEADLINE_AT, INSTANT_MS_MAX),
        id_in(extra, Key.PARENT), flag_in(extra, Key.INHERIT),
    )  # fmt: skip
    if terms.inherits and not terms.parent:
        raise BadOption(option="inherit", value=True, reason="only a job with a parent can inherit from it")
    return terms


def submitted(
    request: int, position: int, outcomes: Sequence[c.SubmitOutcome | Refused], refused: list[m.ItemRefused]
) -> m.Submitted:
    """The answer to a submit: core's outcomes, with those that core was not asked about in their places."""
    if not refused and outcomes.count(_ACCEPTED) == len(outcomes):
        return m.Submitted(request, position)
    told: list[c.SubmitOutcome | Refused | None] = list(outcomes)
    for item in refused:
        told.insert(item.index, None)
    refusals = {item.index: item for item in refused}
    for index, outcome in enumerate(told):
        if isinstance(outcome, Refused):
            refusals[index] = m.ItemRefused(index, outcome.code, str(outcome), outcome.fields)
    answers = [m.Outcome.REFUSED if index in refusals else _OUTCOMES[outcome] for index, outcome in enumerate(told)]  # type: ignore[index]
    return m.Submitted(request, position, answers, [refusals[index] for index in sorted(refusals)])  # type: ignore[arg-type]


def runs_ended(items: Sequence[m.SettleItem]) -> list[c.EndRun]:
    """Settles as core understands them. An error is cut to its limit; a result over its limit fails the attempt."""
    return [
        c.EndRun(item.job, item.fence, _RUN_ENDS[item.end], item.body, item.retry)  # type: ignore[arg-type]
        if len(item.body) <= ERROR_BYTES_MAX
        else _large_end(item)
        for item in items
    ]


def _large_end(item: m.SettleItem) -> c.EndRun:
    end, body, retry = c.RunEnd(item.end), item.body, item.retry
    if end is c.RunEnd.SUCCEEDED and len(body) > BODY_BYTES_MAX:
        text = f"the result is {len(body)} bytes, the limit is {BODY_BYTES_MAX}"
        end, body, retry = c.RunEnd.FAILED, pack_failure(Failure("PayloadTooLarge", text, "", False)), False
    elif end is c.RunEnd.FAILED:
        body = pack_failure(Failure("PayloadTooLarge", f"the error is {len(body)} bytes", "", retry))
    return c.EndRun(item.job, item.fence, end, body, retry)


def settled(request: int, position: int, outcomes: Sequence[c.SettleOutcome]) -> m.Settled:
    """The answer to a settle; nothing but the position when all is well."""
    if outcomes.count(_SETTLED) == len(outcomes):
        return m.Settled(request, position)
    return m.Settled(request, position, settle_answers(outcomes))


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


def refusal(request: int, error: Exception) -> m.Refusal:
    """An error, as the peer is told. What is not ours is a defect, told as such without its insides."""
    if isinstance(error, AioqueueError):
        return m.Refusal(request, error.code, str(error), _plain(error.fields))
    return m.Refusal(request, Refused.code, f"the broker could not do this: {type(error).__name__}")


def _plain(fields: dict[str, object]) -> dict[str, int | float | str | bool | None]:
    return {name: value if isinstance(value, int | float | str) else repr(value) for name, value in fields.items()}


# --- views --------------------------------------------------------------------------------------------------------


def attempts(runs: Sequence[EndedRun], generation: int) -> list[Attempt]:
    """The ended runs of one generation, for people."""
    return [
        Attempt(
            run.run, run.outcome, run.started_ms, run.ended_ms, run.worker,
            unpack_failure(run.body) if run.body else None,
        )
        for run in runs
        if run.generation == generation
    ]  # fmt: skip


def info_of_living(job: Job, worker: str, runs: Sequence[EndedRun], blocked: Block | None = None) -> JobInfo:
    """All that is known of a job that has not ended."""
    extra, spec = unpack_extra(job.extra), job.spec
    history = attempts(runs, job.generation)
    failure = next((attempt.failure for attempt in reversed(history) if attempt.failure), None)
    return JobInfo(
        job.id, extra.own_id, spec.namespace, spec.queue, spec.task, job.state.label, spec.priority, job.submitted_ms,
        job.due_ms, job.started_ms, 0, job.failures, job.crashes, job.runs, job.generation, worker,
        unpack_headers(extra.headers), failure, history, blocked, *_bounds(job.terms),
        "" if job.rare is None else job.rare.note,
    )  # fmt: skip


def info_of_finished(job: FinishedJob, runs: Sequence[EndedRun]) -> JobInfo:
    """All that is known of a job that has ended."""
    extra = unpack_extra(job.extra)
    history = attempts(runs, job.generation)
    failure = next((attempt.failure for attempt in reversed(history) if attempt.failure), None)
    if job.state is JobState.DEAD:
        failure = unpack_failure(job.body or CRASHED)
    if job.state is JobState.SUCCEEDED:
        failure = None
        history.append(Attempt(job.runs, "succeeded", job.started_ms, job.finished_ms, job.worker))
    return JobInfo(
        job.id, extra.own_id, job.namespace, job.queue, job.task, job.state.label, job.priority, job.submitted_ms, 0,
        job.started_ms, job.finished_ms, job.failures, job.crashes, job.runs, job.generation, job.worker,
        unpack_headers(extra.headers), failure, history, None, *_bounds(job.terms), job.note,
    )  # fmt: skip


def _bounds(terms: Terms | None) -> tuple[int, int, bytes]:
    return (0, 0, b"") if terms is None else (terms.expires_ms, terms.deadline_ms, terms.parent)
