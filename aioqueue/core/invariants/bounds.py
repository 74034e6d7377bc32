"""The promises about a job's time (I36) and its parent (I37), as checks; the part of `invariants` that few jobs meet.

`check_terms` judges one state, `Bounds` a journal; like `History`, which asks it, it shares no code with
what it judges.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from aioqueue.core import events as e
from aioqueue.core.invariants.life import Life
from aioqueue.core.state import State
from aioqueue.core.timers import Timers
from aioqueue.model.records import NO_TERMS, Terms
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.states import Cause, JobState

# A parent in these states may still have children that end with it.
_FERTILE: Final = frozenset({JobState.BLOCKED, JobState.SCHEDULED, JobState.READY, JobState.RUNNING})


def check_terms(state: State, *, settled: bool) -> list[str]:
    """What the times and parents of a state break; `settled` as in `check_state`."""
    found: list[str] = []
    entries = {(at_ms, job_id) for at_ms, _, job_id in state.ends}
    children: dict[bytes, dict[bytes, None]] = {}
    families: dict[bytes, dict[bytes, None]] = {}
    for job in state.jobs.values():
        terms = job.terms
        if terms is None or job.state is JobState.STOPPING:
            continue
        for at_ms, counts in ((terms.deadline_ms, True), (terms.expires_ms, not job.runs)):
            if at_ms and counts and (at_ms, job.id) not in entries:
                found.append(f"I36: nothing will end job {job.id.hex()} at {at_ms}")
        if terms.inherits:
            children.setdefault(terms.parent, {})[job.id] = None
        if terms.parent:
            families.setdefault(terms.parent, {})[job.id] = None
    if families != state.families:
        found.append(f"liveness: {len(state.families)} parents have living children, {len(families)} were named")
    if children != state.children:
        found.append(f"I37: {len(state.children)} parents have children that end with them, {len(children)} were named")
    found += [f"I37: {parent.hex()} is doomed and has no children" for parent in state.doomed.keys() - children.keys()]
    if settled and state.doomed:
        found.append(f"I37: children of {len(state.doomed)} parents that are over live on")
    head = state.ends.head()
    if head is not None:
        job_or_none = state.jobs.get(head[2])
        if job_or_none is None or job_or_none.state is JobState.STOPPING:
            found.append("I36: the next job to expire is none that could")
    return found + check_heap(state.ends, "I36")


def check_heap(timers: Timers[Any], promise: str) -> list[str]:
    """The entries stand in the order of a heap."""
    found: list[str] = []
    for heap in (timers.entries, timers.older):
        if any(heap[(index - 1) // 2] > entry for index, entry in enumerate(heap) if index):
            found.append(f"{promise}: the times are out of order")
    return found


class Bounds:
    """The terms of every job, as a journal tells them; `say` is told of what is broken."""

    def __init__(self, say: Callable[[str], None], lives: dict[bytes, Life]) -> None:
        self._say = say
        self._lives = lives
        self._terms: dict[bytes, Terms] = {}
        # By parent: those that end with it; and all.
        self._children: dict[bytes, set[bytes]] = {}
        self._family: dict[bytes, set[bytes]] = {}
        self._doomed: set[bytes] = set()
        # Children with more time than their parents.
        self._boundless: set[bytes] = set()
        self._stops: dict[bytes, Cause] = {}

    def begun(self, event: e.JobSubmitted, line: tuple[str, str]) -> None:
        """A generation of a job begins."""
        before = self._terms.pop(event.id, NO_TERMS)
        self._children.get(before.parent, set()).discard(event.id)
        self._family.get(before.parent, set()).discard(event.id)
        self._doomed.discard(event.id)
        self._boundless.discard(event.id)
        self._stops.pop(event.id, None)
        terms = event.terms
        if terms is None:
            return
        again = event.generation > terms.first_generation
        if again and (terms.expires_ms or terms.deadline_ms or terms.inherits):
            self._say(f"I36: job {event.id.hex()} was requeued with the times of its last life")
        self._terms[event.id] = terms
        if terms.parent:
            self._family.setdefault(terms.parent, set()).add(event.id)
        if not terms.inherits:
            return
        parent = self._lives.get(terms.parent)
        if parent is None or terms.parent == event.id or parent.state not in _FERTILE or parent.line[0] != line[0]:
            self._doomed.add(event.id)
        elif 0 < self.of(terms.parent).deadline_ms < (terms.deadline_ms or 2**63):
            self._boundless.add(event.id)
        self._children.setdefault(terms.parent, set()).add(event.id)

    def of(self, job_id: bytes) -> Terms:
        """What bounds the job."""
        return self._terms.get(job_id, NO_TERMS)

    def ancestors(self, job_id: bytes) -> list[bytes]:
        """The parent and those above it, up to the first that is over."""
        found: list[bytes] = []
        parent = self.of(job_id).parent
        while parent and parent not in found:
            found.append(parent)
            life = self._lives.get(parent)
            parent = b"" if life is None or life.generation in life.ends else self.of(parent).parent
        return found

    def children(self, job_id: bytes) -> list[Life]:
        """Its living children."""
        lives = [self._lives[child] for child in self._family.get(job_id, ())]
        return [life for life in lives if life.generation not in life.ends]

    def carried(self, event: e.JobCarried) -> None:
        """The whole record of a job is written again."""
        if (event.terms or NO_TERMS) != self.of(event.id) or event.cause is not self._stops.get(event.id):
            self._say(f"I36: job {event.id.hex()} was carried with {event.terms}, and stopped by {event.cause}")

    def leased(self, job_id: bytes, run: int, wall_ms: int) -> None:
        """A run begins."""
        terms = self.of(job_id)
        if 0 < terms.deadline_ms <= wall_ms or (run == 1 and 0 < terms.expires_ms <= wall_ms):
            self._say(f"I36: job {job_id.hex()} was leased at {wall_ms}, its terms are {terms}")
        if job_id in self._doomed:
            self._say(f"I37: job {job_id.hex()} was leased, and its parent is over")
        if job_id in self._boundless:
            self._say(f"I37: job {job_id.hex()} has more time than its parent")

    def paused(self, job_id: bytes, due_ms: int) -> None:
        """A job waits for its next attempt."""
        if 0 < self.of(job_id).deadline_ms <= due_ms:
            self._say(f"I36: job {job_id.hex()} waits for {due_ms}, its deadline is {self.of(job_id).deadline_ms}")

    def stopping(self, job_id: bytes, cause: Cause, wall_ms: int) -> None:
        """A run is told to stop."""
        self._stops[job_id] = cause
        if cause is Cause.EXPIRES or (cause is Cause.DEADLINE and not self._is_over(job_id, cause, wall_ms)):
            self._say(f"I36: job {job_id.hex()} was told to stop for its {cause.name.lower()} at {wall_ms}")
        self.doom(job_id)

    def stopped_end(self, job_id: bytes) -> JobState:
        """What a run that was told to stop makes of its job."""
        return JobState.EXPIRED if self._stops.get(job_id) is Cause.DEADLINE else JobState.CANCELLED

    def expired(self, job_id: bytes, life: Life, cause: Cause, wall_ms: int) -> None:
        """A waiting job is over by its time."""
        if not self._is_over(job_id, cause, wall_ms) or (cause is Cause.EXPIRES and life.runs):
            self._say(
                f"I36: job {job_id.hex()} expired at {wall_ms} by {cause.name} after {life.runs} runs, "
                f"its terms are {self.of(job_id)}"
            )
        self.doom(job_id)

    def _is_over(self, job_id: bytes, cause: Cause, wall_ms: int) -> bool:
        terms = self.of(job_id)
        return 0 < (terms.deadline_ms if cause is Cause.DEADLINE else terms.expires_ms) <= wall_ms

    def doom(self, parent: bytes) -> None:
        """A parent was cancelled or expired: no child that ends with it may begin any more."""
        self._doomed |= self._children.get(parent, set())

    def unended(self) -> list[str]:
        """When all is quiet: the children that live on."""
        return [
            f"I37: job {job_id.hex()} is {life.state.label}, and its parent is over"
            for job_id in sorted(self._doomed)
            if (life := self._lives[job_id]).generation not in life.ends
        ]


def pause_bounds(policy: RetryPolicy, failures: int) -> tuple[int, int]:
    """The shortest and longest pause that a policy allows, from the table of options in the reference."""
    factor = {"constant": 1.0, "linear": float(failures)}.get(policy.backoff)
    if factor is None:
        growth = (failures - 1) * math.log(policy.factor)
        factor = math.exp(growth) if growth < 700 else math.inf
    pause = min(float(policy.cap_ms), policy.base_ms * factor) if policy.base_ms else 0.0
    spread = 0.1 if policy.jitter else 0.0
    # One ms for the rounding up, and the difference between a power and the exponential of a logarithm.
    slack = 1 + pause * 1e-9
    return math.floor(pause * (1 - spread) - slack), math.ceil(pause * (1 + spread) + slack)
