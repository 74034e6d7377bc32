"""Clients that give their jobs ids of their own: ids that several of them use, for different tasks, over and over.

They live in worlds of their own (`has_owners`), in which the archive forgets what these ids stood for, an id is free
again soon after, and nobody sets the clock. Each submit has arguments of its own, so that the journal tells which of
them made a job; `Uses` holds what the owners are told against that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

from aioqueue.archive.base import Tombstone
from aioqueue.clock import ManualClock
from aioqueue.core import events as e
from aioqueue.core.commands import SubmitOutcome
from aioqueue.core.decide import own_ids
from aioqueue.core.invariants import history
from aioqueue.errors import DiskLow, Duplicate, JobNotFound, NotRetryable, QueueFull, Refused
from aioqueue.model.ids import id_text, own_id
from aioqueue.model.records import NO_TERMS, FinishedJob
from aioqueue.model.spec import RetryPolicy, Spec, pack_spec
from aioqueue.model.states import JobState
from tests.simulator.broker import Archive
from tests.simulator.checker import Checker, Violation
from tests.simulator.drafts import NAMESPACE, Draft, Drafts
from tests.simulator.network import Connection, Reply
from tests.simulator.peers import Client, Submission

# In every eighth world from this seed on, in which the log is cut, and memory is small; those below are as they were.
OWNERS_SEEDS: Final = 200_000
# An id is free so long after its job was forgotten; an owner sends again for less, and the network holds it for little
# longer. A world lasts some ten seconds.
FREED_MS: Final = 1_000
RESEND_MS: Final = 300
STALE_MS: Final = 400
_IDS: Final = 3
_TASKS: Final = ("pay", "refund")


def has_owners(seed: int) -> bool:
    return seed >= OWNERS_SEEDS and seed % 8 == 3


@contextmanager
def ids_freed_after(ms: int = FREED_MS) -> Iterator[None]:
    """Let an id be free after so long, for broker and judge alike."""
    usual = own_ids.OWN_ID_FREED_MS
    own_ids.OWN_ID_FREED_MS = history.OWN_ID_FREED_MS = ms  # type: ignore[misc, attr-defined]
    try:
        yield
    finally:
        own_ids.OWN_ID_FREED_MS = history.OWN_ID_FREED_MS = usual  # type: ignore[misc, attr-defined]


class Uses:
    """What the ids of the owners were used for, as the journal tells it."""

    def __init__(self, queue: str) -> None:
        self.ids = [own_id(NAMESPACE, queue, f"mine-{number}") for number in range(_IDS)]
        self._specs = {
            task: Spec(NAMESPACE, queue, task, retry=RetryPolicy(attempts=2, backoff="constant", base_ms=10))
            for task in _TASKS
        }
        self._number = 0
        # By arguments: what may be submitted, and what was.
        self._offered: dict[bytes, Draft] = {}
        self._used: dict[bytes, Draft] = {}
        self._by_id: dict[bytes, list[bytes]] = {}
        self.forgotten: set[bytes] = set()

    def make(self, rng: Random, job_id: bytes) -> Draft:
        """A submit of any of the tasks, under this id."""
        spec = self._specs[rng.choice(_TASKS)]
        self._number += 1
        body = b"mine %d" % self._number
        draft = Draft(job_id, spec, pack_spec(spec), body, 0, 0, None, True)
        self.offer(body, draft)
        return draft

    def offer(self, body: bytes, draft: Draft) -> None:
        """Somebody submits this, by its arguments."""
        self._offered.setdefault(body, draft)

    def used_by(self, job_id: bytes) -> list[bytes]:
        """The arguments of the submits that made jobs of this id."""
        return self._by_id.get(job_id, [])

    def begun(self, event: e.JobSubmitted, body: bytes, before: Draft | None) -> Draft:
        """The submit that a job was made of; of a requeue the one that the job before was made of."""
        first = (event.terms or NO_TERMS).first_generation
        if before is not None and event.generation > first:
            return before
        if body in self._used:
            raise Violation(f"I14: submit {body!r} made two jobs, the second of generation {event.generation}")
        draft = self._used[body] = self._offered[body]
        self._by_id.setdefault(event.id, []).append(body)
        return draft

    def forget(self, archive: Archive, rng: Random, wall_ms: int) -> None:
        """The retention of some is past."""
        for job_id in self.ids:
            row = archive.rows.get(job_id)
            if row is not None and rng.random() < 0.5:
                del archive.rows[job_id]
                archive.stones[job_id] = Tombstone(job_id, row.state, row.generation, wall_ms)
                self.forgotten.add(job_id)

    def judge(self, draft: Draft, answer: SubmitOutcome | Refused) -> None:
        """What an owner was told of its submit."""
        tasks = {used.spec.task for used in self._used.values() if used.id == draft.id}
        name = f"submit {draft.body!r} of task {draft.spec.task}"
        if answer is SubmitOutcome.ACCEPTED and draft.body not in self._used:
            raise Violation(f"I1: {name} was accepted, and the journal has no job of it")
        if answer is SubmitOutcome.EXISTS and draft.spec.task not in tasks and draft.id not in self.forgotten:
            raise Violation(f"I14: {name} was told that its job exists, and that is one of {tasks}")
        if isinstance(answer, Duplicate):
            if draft.body in self._used:
                raise Violation(f"I14: {name} was accepted, and refused: {answer}")
            if answer.asked != draft.spec.task or answer.task == answer.asked or answer.task not in tasks:
                raise Violation(f"I14: {name} was refused, and its id is used by {tasks}: {answer}")


class Owner(Client):
    """Submits under ids that others use too, sends again for a while, and asks for the same retry again and again."""

    def __init__(
        self, name: str, rng: Random, checker: Checker, drafts: Drafts, uses: Uses, clock: ManualClock
    ) -> None:  # fmt: skip
        super().__init__(name, rng, checker, drafts)
        self._uses = uses
        self._clock = clock
        # Retries that were asked for, of whatever job had the id then.
        self._retries: list[tuple[bytes, int]] = []

    def act(self, wall_ms: int) -> None:
        """As any client; what was sent first too long ago is given up."""
        for key in [key for key, kept in self.unanswered.items() if wall_ms - kept.since_ms > RESEND_MS]:
            del self.unanswered[key]
        super().act(wall_ms)
        idle = self.connection is None or not self.welcome or self.steady
        if not idle and self._retries and self._rng.random() < 0.1:
            assert self.connection is not None
            self.connection.ask("retry", self._rng.choice(self._retries))

    def _submit(self, connection: Connection, wall_ms: int) -> None:
        rng = self._rng
        drafts = [self._uses.make(rng, job_id) for job_id in rng.sample(self._uses.ids, rng.randint(1, _IDS))]
        submission = Submission(drafts, rng.random() < 0.3, True, since_ms=wall_ms)
        self.unanswered[submission.key] = submission
        self._ask_submit(connection, submission._replace(resend=False))

    def _ask_submit(self, connection: Connection, submission: Submission) -> None:
        since_ms = submission.since_ms or self._since_ms(submission)
        if self._clock.wall_ms - since_ms <= RESEND_MS:
            connection.ask("submit", submission._replace(since_ms=since_ms))

    def _since_ms(self, part: Submission) -> int:
        """When what is sent again in part was sent first; long ago, if that was given up."""
        body = part.drafts[0].body
        kept = [each for each in self.unanswered.values() if any(draft.body == body for draft in each.drafts)]
        return max((each.since_ms for each in kept), default=0)

    def _submitted(self, submission: Submission, answer: list[SubmitOutcome | Refused] | Exception) -> None:
        self.unanswered.pop(submission.key, None)
        if isinstance(answer, Duplicate) and submission.atomic:
            self._uses.judge(next(each for each in submission.drafts if id_text(each.id) == answer.job), answer)
            return
        if isinstance(answer, Exception):
            if not isinstance(answer, QueueFull | DiskLow):
                raise Violation(f"I1: a submit was refused: {answer}")
            return
        if submission.atomic and any(isinstance(outcome, Refused) for outcome in answer):
            raise Violation(f"I2: an atomic submit was taken in part: {answer}")
        for draft, outcome in zip(submission.drafts, answer, strict=True):
            self._uses.judge(draft, outcome)
            if not isinstance(outcome, Refused):
                self._mine.append(draft.id)
                self._wait(draft.id)

    def answered(self, reply: Reply) -> None:
        if reply.to.kind != "retry":
            super().answered(reply)
        elif isinstance(reply.answer, int):
            self._checker.requeued(reply.to.content[0], reply.answer)
        elif not isinstance(reply.answer, NotRetryable | QueueFull | DiskLow | JobNotFound):
            raise Violation(f"I1: a retry was answered by {reply.answer}")

    def _waited(self, job_id: bytes, answer: FinishedJob | None) -> None:
        if answer is None and job_id in self._uses.forgotten:
            self.waiting.discard(job_id)
            return
        super()._waited(job_id, answer)

    def told(self, message: FinishedJob) -> None:
        super().told(message)
        if message.state is not JobState.SUCCEEDED:
            self._retries = [*self._retries[-5:], (message.id, message.generation + 1)]
