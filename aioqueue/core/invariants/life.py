"""One job as the judges of a journal see it: what they remember of all that was told of it."""

from __future__ import annotations

from functools import lru_cache

from aioqueue.model.spec import Spec, unpack_spec
from aioqueue.model.states import JobState


@lru_cache(maxsize=1_000)
def _spec(packed: bytes) -> Spec:
    return unpack_spec(packed)


class Life:
    """One job as `History` sees it. `place` is where it stands in its line, `fences` all leases ever. `first` is the
    generation with which the present use of its id began, `ended_ms` its latest end, in the batch `ended_at`.
    """

    __slots__ = (
        "cap", "crashes", "due_ms", "ended_at", "ended_ms", "ends", "failures", "fence", "fences", "first", "fit",
        "generation", "line", "place", "priority", "retry", "runs", "session", "state",
    )  # fmt: skip

    def __init__(self, spec: bytes) -> None:
        self.ends: dict[int, JobState] = {}
        self.fences: list[int] = []
        self.generation = -1
        self.ended_ms = self.ended_at = 0
        self.begin_use(spec, 0)

    def begin_use(self, spec: bytes, generation: int) -> None:
        """Another job under the same id, with a spec of its own."""
        known = _spec(spec)
        self.line = (known.namespace, known.queue)
        self.fit = (known.task, known.labels)
        self.priority = known.priority
        self.retry = known.retry
        self.cap = known.retry.attempts
        self.first = generation

    def begin(self, generation: int, state: JobState, due_ms: int) -> None:
        self.generation = generation
        self.state = state
        self.due_ms = due_ms
        self.place = self.failures = self.crashes = self.runs = self.fence = self.session = 0
