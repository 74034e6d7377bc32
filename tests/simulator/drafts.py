"""What a client means to submit, and how the world makes such things up."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from aioqueue.core.commands import AskedTerms, Known, NewJob
from aioqueue.model.ids import generated_id, own_id
from aioqueue.model.spec import RetryPolicy, Spec, pack_spec

NAMESPACE = "sim"
QUEUES = ("mail", "images", "sums")
_RETRIES = (
    RetryPolicy(),
    RetryPolicy(attempts=1),
    RetryPolicy(attempts=2, backoff="constant", base_ms=0, jitter=False),
    RetryPolicy(attempts=4, backoff="linear", base_ms=70, cap_ms=150),
    RetryPolicy(attempts=6, base_ms=40, factor=3.0, cap_ms=500, jitter=False),
)


# Makes others of the specs of a world.
Specs = Callable[[list[tuple[Spec, bytes]]], list[tuple[Spec, bytes]]]


class Draft(NamedTuple):
    """One job as its client keeps it. `own` is a caller's own id, which others may use too."""

    id: bytes
    spec: Spec
    packed_spec: bytes
    body: bytes
    delay_ms: int
    due_ms: int
    extra: bytes | None
    own: bool
    # Its runs end only when they are told to, or with their process.
    endless: bool = False
    terms: AskedTerms | None = None

    def job(self, resend: bool) -> NewJob:
        """The job as it is sent; a new object each time, for the shell writes into it."""
        known = Known.OWN if self.own else Known.UNKNOWN if resend else Known.FRESH
        return NewJob(
            self.id, self.spec, self.packed_spec, self.body, self.delay_ms, self.due_ms, self.extra, known,
            self.terms,
        )  # fmt: skip


class Drafts:
    """A seeded source of drafts, of few specs, so that lines become long and priorities meet."""

    def __init__(self, rng: Random, terms: Random | None = None, specs: Specs | None = None) -> None:
        self._rng = rng
        # Chance of its own, so that worlds without terms are the same ones as ever; None gives no job any.
        self._terms = terms
        self._lately: list[bytes] = []
        self._number = 0
        queues = QUEUES[: rng.randint(1, len(QUEUES))]
        self.queues = queues
        self._specs: list[tuple[Spec, bytes]] = []
        for queue in queues:
            for priority in rng.sample(range(10), rng.randint(1, 3)):
                spec = Spec(NAMESPACE, queue, f"task{priority}", priority, retry=rng.choice(_RETRIES))
                self._specs.append((spec, pack_spec(spec)))
        if specs is not None:
            self._specs = specs(self._specs)
        self._own: dict[bytes, Draft] = {}

    def make(self, wall_ms: int, *, plain: bool = False) -> Draft:
        """One draft; a `plain` one has a generated id. The same own id gives the same draft."""
        rng = self._rng
        self._number += 1
        spec, packed = rng.choice(self._specs)
        when = rng.random()
        delay_ms = rng.randint(1, 400) if when < 0.15 else 0
        due_ms = wall_ms + rng.randint(-300, 600) if when > 0.88 else 0
        extra = b"extra" if rng.random() < 0.05 else None
        own = not plain and rng.random() < 0.12
        if own:
            job_id = own_id(spec.namespace, spec.queue, f"own-{rng.randint(0, 40)}")
            if job_id in self._own:
                return self._own[job_id]
        else:
            job_id = generated_id(spec.namespace, spec.queue, wall_ms, self._number.to_bytes(8, "big"))
        endless = rng.random() < 0.02
        body = b"%s %d" % (b"endless" if endless else b"args", self._number)
        draft = Draft(job_id, spec, packed, body, delay_ms, due_ms, extra, own, endless, self._some_terms(wall_ms))
        self._lately = [*self._lately[-20:], job_id]
        if own:
            self._own[job_id] = draft
        return draft

    def _some_terms(self, wall_ms: int) -> AskedTerms | None:
        """Times that are often too short, sometimes past, and parents that may be over, or never there."""
        rng = self._terms
        if rng is None or rng.random() < 0.5:
            return None
        expires_in_ms = rng.randint(1, 600) if rng.random() < 0.3 else 0
        deadline_in_ms = rng.randint(1, 1_500) if rng.random() < 0.4 else 0
        expires_ms = wall_ms + rng.randint(-100, 900) if rng.random() < 0.05 else 0
        parent = rng.choice(self._lately) if self._lately and rng.random() < 0.6 else b""
        return AskedTerms(expires_in_ms, expires_ms, deadline_in_ms, 0, parent, bool(parent) and rng.random() < 0.7)
