"""Submits: from the wire to core, and core's outcomes back. Pure.

What comes in is checked here as far as core need not know of it: specs, names, options that do not exist yet. What
cannot be said to core is a `Refused`, of one item where items are independent. Called by `peers.submitting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from aioqueue.core import commands as c
from aioqueue.errors import AioqueueError, BadOption, PayloadTooLarge, Refused, Unsupported, WrongNamespace
from aioqueue.limits import BODY_BYTES_MAX, DURATION_MS_MAX, INSTANT_MS_MAX
from aioqueue.model.ids import own_id, route_in, route_of
from aioqueue.model.records import JobExtra, pack_extra
from aioqueue.model.spec import Spec, unpack_spec
from aioqueue.protocol import messages as m
from aioqueue.protocol.extras import KNOWN, Key, flag_in, id_in, number_in

_SPECS_KNOWN_MAX: Final = 10_000
# By the wire's number: looking a member up in an enum costs more than all the rest of the item.
_OUTCOMES: Final = (None, m.Outcome.ACCEPTED, m.Outcome.EXISTS)
_LOOK: Final = int(m.SubmitFlag.RESEND | m.SubmitFlag.OWN_ID)
_OWN_ID: Final = int(m.SubmitFlag.OWN_ID)
_FRESH = c.Known.FRESH
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
        look = _known(item, spec) if item.flags & _LOOK else _FRESH
        terms = _asked_terms(item.extra) if item.extra else None
        return c.NewJob(item.job, spec, packed, item.args, item.delay_ms, item.at_ms, extra, look, terms)

    def _spec(self, packed: bytes) -> tuple[Spec, int, bytes]:
        spec = unpack_spec(packed)
        if len(self._specs) >= _SPECS_KNOWN_MAX:
            self._specs.clear()
        known = self._specs[packed] = (spec, route_of(spec.namespace, spec.queue), packed)
        return known


def _known(item: m.SubmitItem, spec: Spec) -> c.Known:
    """What to make of an id that may have been there before. It is its caller's own if it is made of the text beside
    it: so nobody frees the id of a child by calling it that. A job repeats its submits however late, and frees none.
    """
    if not item.flags & _OWN_ID or not item.own_id or (item.extra and Key.PARENT in item.extra):
        return c.Known.UNKNOWN
    own = item.job == own_id(spec.namespace, spec.queue, item.own_id)
    return c.Known.OWN if own else c.Known.UNKNOWN


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
