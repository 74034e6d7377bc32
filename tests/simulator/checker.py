"""What the world's people were told, held against the journal.

The checker reads every batch as it becomes durable and keeps what the promises are judged by; clients and workers ask
it when an answer reaches them. It never looks into the broker's memory, so an answer that is true there and nowhere
else is a violation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioqueue.core import events as e
from aioqueue.core.commands import AskedTerms, RunEnd, SettleOutcome
from aioqueue.core.effects import DeliverJob
from aioqueue.core.invariants import History, Life, Offers
from aioqueue.core.invariants.offers import Fit, Line
from aioqueue.model.records import NO_TERMS, FinishedJob
from aioqueue.model.states import Cause, JobState
from tests.simulator.drafts import Draft

if TYPE_CHECKING:
    from tests.simulator.owners import Uses

_SETTLES: dict[type, RunEnd | None] = {
    e.JobSucceeded: RunEnd.SUCCEEDED,
    e.JobFailed: RunEnd.FAILED,
    e.JobReleased: RunEnd.RELEASED,
    e.JobMisfit: RunEnd.MISFIT,
    e.JobCrashed: None,
}

_STOPPED = frozenset({JobState.CANCELLED, JobState.EXPIRED})
_WHY = {Cause.DEADLINE: "its deadline passed", Cause.EXPIRES: "it had not begun in time"}


class Violation(AssertionError):
    """A promise was broken; the text begins with its number."""


class Checker:
    """All that is known outside the broker."""

    def __init__(self) -> None:
        self.history = History()
        self.drafts: dict[bytes, Draft] = {}
        self.atomic: list[list[bytes]] = []
        self.acknowledged: set[bytes] = set()
        self.events = 0
        # (id, generation) -> how it ended, with the body, as the journal has it and as somebody saw it.
        self._ends: dict[tuple[bytes, int], tuple[JobState, bytes]] = {}
        self._seen: dict[tuple[bytes, int], tuple[JobState, bytes]] = {}
        # How each lease ended in the journal, and which were answered with OK.
        self._lease_ends: dict[int, RunEnd | None] = {}
        # Fence -> which attempt its run was, and whether the job was to go on after its failure.
        self._attempts: dict[int, int] = {}
        self._goes_on: dict[int, bool] = {}
        self._settled: set[int] = set()
        # (id, generation) of what was told to stop while it ran; and why each that did not run on is over.
        self._stopping: dict[tuple[bytes, int], Cause] = {}
        self._why: dict[tuple[bytes, int], str] = {}
        # Fence -> the deadline of its job, and its arguments.
        self._deadlines: dict[int, int] = {}
        self._arguments: dict[int, bytes] = {}
        # Set where ids are used again: they are not what their drafts say, but what the journal tells.
        self.uses: Uses | None = None

    def place_of(self, job_id: bytes) -> tuple[Line, Fit]:
        """Where a job stands that somebody submitted: its queue, and what must be taken for it."""
        spec = self.drafts[job_id].spec
        return (spec.namespace, spec.queue), (spec.task, spec.labels)

    # --- the journal ---

    def observe(
        self, events: list[e.JournaledEvent], bodies: bytes, wall_ms: int, position: int, offers: Offers | None = None
    ) -> None:
        """A batch became durable."""
        self.events += len(events)
        broken = self.history.observe(events, wall_ms, position, offers)
        if broken:
            raise Violation(broken[0])
        lives = self.history.lives
        for event in events:
            if isinstance(event, e.JobSucceeded | e.JobFailed | e.JobReleased | e.JobMisfit | e.JobCrashed):
                self._lease_ends[event.fence] = _SETTLES[type(event)]
            if isinstance(event, e.JobFailed) and self._tells_of_cap(event):
                self._goes_on[event.fence] = event.state is JobState.SCHEDULED
            if isinstance(event, e.JobSubmitted):
                self._judge_submit(event, bodies, wall_ms)
            elif isinstance(event, e.JobCarried):
                body = bodies[event.body_offset : event.body_offset + event.body_bytes]
                same = body == self.drafts[event.id].body
                self._require(same, f"I2: job {event.id.hex()} was carried with other arguments")
            elif isinstance(event, e.JobLeased):
                self._attempts[event.fence] = self._life(event.id, "leased").failures + 1
                self._deadlines[event.fence] = self.history.bounds.of(event.id).deadline_ms
                self._arguments[event.fence] = self.drafts[event.id].body
            elif isinstance(event, e.JobStopping):
                key = event.id, lives[event.id].generation
                self._stopping[key] = event.cause
                self._why[key] = _WHY.get(event.cause, event.reason)
            elif isinstance(event, e.BulkFreed):
                for start in range(0, len(event.cancelled), 16):
                    job_id = event.cancelled[start : start + 16]
                    self._ends[job_id, lives[job_id].generation] = (JobState.CANCELLED, b"")
                    self._why[job_id, lives[job_id].generation] = "its bulk was not committed"
            elif isinstance(event, e.JobEvent):
                life = lives[event.id]
                end = life.ends.get(life.generation)
                if end is not None:
                    body = b""
                    if isinstance(event, e.JobCancelled | e.JobExpired):
                        why = event.reason if isinstance(event, e.JobCancelled) else _WHY[event.cause]
                        self._why[event.id, life.generation] = why
                    if end not in _STOPPED and isinstance(event, e.JobSucceeded | e.JobFailed):
                        body = bodies[event.body_offset : event.body_offset + event.body_bytes]
                    self._ends[event.id, life.generation] = (end, body)
        for group in self.atomic:
            there = sum(job_id in lives for job_id in group)
            self._require(there in (0, len(group)), f"I2: {there} of {len(group)} jobs of an atomic submit are there")

    def _tells_of_cap(self, event: e.JobFailed) -> bool:
        """Whether a failure says that the job may fail once more, or may not; a deadline may come before the cap."""
        if event.state is JobState.DEAD:
            return not self._deadlines[event.fence]
        return event.state is JobState.SCHEDULED

    def _judge_submit(self, event: e.JobSubmitted, bodies: bytes, wall_ms: int) -> None:
        body = bodies[event.body_offset : event.body_offset + event.body_bytes]
        if self.uses is not None and event.id in self.uses.ids:
            self.drafts[event.id] = self.uses.begun(event, body, self.drafts.get(event.id))
        draft = self.drafts[event.id]
        self._require(body == draft.body, f"I2: job {event.id.hex()} was journaled with other arguments")
        if event.generation == 0:
            due_ms = draft.due_ms or (wall_ms + draft.delay_ms if draft.delay_ms else 0)
            due_ms = due_ms if due_ms > wall_ms else 0
            self._require(event.due_ms == due_ms, f"I9: job {event.id.hex()} is due {event.due_ms}, asked was {due_ms}")
            self._judge_terms(event, draft.terms or AskedTerms(), wall_ms)

    def _judge_terms(self, event: e.JobSubmitted, asked: AskedTerms, wall_ms: int) -> None:
        terms = event.terms or NO_TERMS
        name = f"job {event.id.hex()}"
        expires_ms = asked.expires_ms or (wall_ms + asked.expires_in_ms if asked.expires_in_ms else 0)
        deadline_ms = wall_ms + asked.deadline_in_ms if asked.deadline_in_ms else 0
        kept = terms.deadline_ms == deadline_ms or (asked.inherits and 0 < terms.deadline_ms < (deadline_ms or 2**63))
        self._require(terms.expires_ms == expires_ms and kept, f"I36: {name} has {terms}, asked was {asked}")
        self._require(
            (terms.parent, terms.inherits) == (asked.parent, asked.inherits), f"I37: {name} has {terms}, asked {asked}"
        )

    # --- what clients are told ---

    def accepted(self, job_id: bytes) -> None:
        """A submit was answered: accepted now, or there before."""
        self._require(job_id in self.history.lives, f"I1: job {job_id.hex()} was acknowledged, the journal has none")
        self.acknowledged.add(job_id)

    def cancelled(self, job_id: bytes, answer: str) -> None:
        life = self._life(job_id, "cancelled")
        ends = life.ends.values()
        if answer == "cancelled":
            self._require(JobState.CANCELLED in ends, f"I6: job {job_id.hex()} was told cancelled, and is not")
        elif answer == "stopping":
            asked = any(key == job_id for key, _ in self._stopping)
            self._require(asked, f"I6: job {job_id.hex()} was told stopping, and nobody told its worker")
        else:
            self._require(bool(ends), f"I6: job {job_id.hex()} was told {answer}, and has no end")

    def requeued(self, job_id: bytes, generation: int) -> None:
        life = self._life(job_id, "requeued")
        self._require(life.generation >= generation, f"I1: generation {generation} of job {job_id.hex()} is not there")

    def unknown(self, job_id: bytes) -> None:
        """A job was told to be unknown."""
        forgotten = self.uses is not None and job_id in self.uses.forgotten
        lost = job_id in self.acknowledged and not forgotten
        self._require(not lost, f"I2: job {job_id.hex()} was acknowledged, and is unknown now")

    def ended(self, finished: FinishedJob) -> None:
        """Somebody was told how a job ended."""
        key = (finished.id, finished.generation)
        told = (finished.state, finished.body)
        name = f"generation {finished.generation} of job {finished.id.hex()}"
        self._require(key in self._ends, f"I1: {name} was told {finished.state.label}, the journal has no end of it")
        self._require(self._ends[key] == told, f"I7: {name} was told otherwise than the journal says")
        why = self._why.get(key, "") if finished.state in _STOPPED else ""
        self._require(finished.note == why, f"I7: {name} was told {finished.note!r}, the journal says {why!r}")
        self._require(self._seen.setdefault(key, told) == told, f"I7: {name} was seen with another end before")

    # --- what workers are told ---

    def delivered(self, run: DeliverJob) -> None:
        life = self._life(run.id, "delivered")
        name = f"job {run.id.hex()}"
        self._require(run.fence in life.fences, f"I8: {name} was delivered before its run was journaled")
        self._require(run.body == self._arguments[run.fence], f"I2: {name} was delivered with other arguments")
        deadline_ms = self._deadlines[run.fence]
        self._require(run.deadline_ms == deadline_ms, f"I36: {name} was told {run.deadline_ms}, not {deadline_ms}")
        attempt = self._attempts[run.fence]
        self._require(run.attempt == attempt <= life.cap, f"I8: attempt {attempt} of {name} was told {run.attempt}")

    def settled(self, job_id: bytes, fence: int, end: RunEnd, answer: SettleOutcome, retry: bool) -> None:
        """A worker was told that its settle is recorded, or was before."""
        if answer is SettleOutcome.STALE:
            return
        name = f"job {job_id.hex()} with fence {fence}"
        life = self._life(job_id, "settled")
        self._require(fence in self._lease_ends, f"I1: the end of {name} was acknowledged, the journal has none")
        if answer is SettleOutcome.OK:
            ended = self._lease_ends[fence]
            # What nobody is left to take has failed, and a run that was told to stop is over anyhow.
            kept = ended is end or (end is RunEnd.MISFIT and ended in (RunEnd.FAILED, RunEnd.RELEASED))
            self._require(kept, f"I4: the end {end.name} of {name} was acknowledged")
            self._require(fence not in self._settled, f"I5: the end of {name} was acknowledged twice")
            self._settled.add(fence)
            if end is RunEnd.FAILED:
                may = retry and self._attempts[fence] < life.cap
                self._require(
                    self._goes_on.get(fence, may) is may, f"I8: {name} failed and {'ended' if may else 'goes on'}"
                )

    def _life(self, job_id: bytes, what: str) -> Life:
        life = self.history.lives.get(job_id)
        self._require(life is not None, f"I1: job {job_id.hex()} was told {what}, the journal has none")
        assert life is not None
        return life

    def _require(self, kept: bool, otherwise: str) -> None:
        if not kept:
            raise Violation(otherwise)

    # --- when all is quiet ---

    def finish(self) -> None:
        """Faults have stopped and nothing is left to do: every job that ever was must have its end."""
        for job_id, life in self.history.lives.items():
            if life.generation not in life.ends:
                raise Violation(f"liveness: job {job_id.hex()} is {life.state.label} for ever")
        for key, cause in self._stopping.items():
            end = self._ends[key][0]
            otherwise = JobState.EXPIRED if cause is Cause.DEADLINE else JobState.CANCELLED
            kept = end in (otherwise, JobState.SUCCEEDED)
            self._require(kept, f"I6: job {key[0].hex()} was told to stop, and is {end.label}")
        unended = self.history.bounds.unended()
        self._require(not unended, unended[0] if unended else "")
        lost = self.acknowledged.difference(self.history.lives)
        self._require(not lost, f"I2: {len(lost)} acknowledged jobs are not in the journal")
        wrong = [key for key, told in self._seen.items() if self._ends[key] != told]
        self._require(not wrong, f"I7: {len(wrong)} results that were seen are others now")
