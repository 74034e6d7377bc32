"""What was said on the wires and what people were told, held against the journal as it becomes durable.

It listens at both ends of every connection, before the network does its worst: whatever leaves the broker must be
durable at that very moment. It never looks into the memory of a process. What the journal must be like by itself is
judged by the same `History` as everywhere, through the `Checker` of the small simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, NamedTuple

from aioqueue.broker.translate import submits
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.records import decode_events
from aioqueue.journal.batch import Batch, BatchKind
from aioqueue.limits import FRAME_BYTES_MAX
from aioqueue.model.bodies import CRASHED, unpack_body, unpack_failure
from aioqueue.model.states import TERMINAL, JobState
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.frames import FrameReader
from tests.simulator.checker import Checker, Violation
from tests.simulator.shells.network import Wire

_ENDS: Final = {m.RunEnd(int(end)): end for end in c.RunEnd}
_ANSWERS: Final = {m.SettleAnswer(int(answer)): answer for answer in c.SettleOutcome}
# What cannot go on for ever where people ask for nothing more. Leases that are given back can, and so can sessions.
_PROGRESS: Final = (
    e.JobSubmitted, e.JobSucceeded, e.JobFailed, e.JobCrashed, e.JobCancelled, e.JobExpired,
    e.BulkStaged, e.BulkCommitted, e.BulkFreed,
)  # fmt: skip
_LEASED: Final = (JobState.RUNNING, JobState.STOPPING)


class Refusing(Exception):
    """What a task fails with."""


# The types of failures that a run may have.
_MEANT: Final = frozenset({f"{Refusing.__module__}.{Refusing.__qualname__}", TimeoutError.__name__})


class Asked(NamedTuple):
    """A job as its client said it."""

    body: bytes
    delay_ms: int
    due_ms: int
    terms: c.AskedTerms | None = None


class Plan(NamedTuple):
    """What a job is to do, and so how it may end. `timeout` says that it may take longer than it has.

    `child` is the number of the job that it submits, 0 for none; one that `inherits` is such a child.
    """

    number: int
    task: str
    sleep_ms: int = 0
    failures: int = 0
    crashes: int = 0
    stubborn: bool = False
    timeout: bool = False
    endless: bool = False
    attempts: int = 3
    expires_ms: int = 0
    deadline_ms: int = 0
    child: int = 0
    inherits: bool = False

    @property
    def may_fail(self) -> bool:
        # One that fails dies where its next attempt would come after its deadline, or its parent's.
        may_be_late = self.deadline_ms > 0 or self.inherits
        return self.failures >= self.attempts or self.timeout or (self.failures > 0 and may_be_late)

    def is_over_before(self, delay_ms: int) -> bool:
        """Whether it would be over before it begins, so that nobody takes it."""
        return 0 < self.expires_ms <= delay_ms or 0 < self.deadline_ms <= delay_ms


class Witness(Checker):
    """All that is known outside the processes."""

    def __init__(self, session_ttl_ms: int, now_ms: Callable[[], int], decided_ms: Callable[[], int]) -> None:
        super().__init__()
        self.plans: dict[int, Plan] = {}
        self.position = 0
        self._ttl_ms = session_ttl_ms
        self._now_ms = now_ms
        # When what is appended now was decided.
        self._decided_ms = decided_ms
        # The first promise that was broken. It is kept here, for it is found in the midst of somebody else's task.
        self.broken: Violation | None = None
        self._began: set[int] = set()
        # Where and when each lease ended in the journal.
        self._ended_at: dict[int, int] = {}
        self.ended_ms: dict[int, int] = {}
        # When each lease was told to stop.
        self.stopped_ms: dict[int, int] = {}
        # Leases whose task came to its end by itself.
        self._done: set[int] = set()
        self._grouped: set[bytes] = set()
        # By its parent and its plan.
        self._children: dict[tuple[bytes, int], bytes] = {}
        # By the name of a bulk: what each of its parts brought.
        self._staged: dict[bytes, dict[int, list[bytes]]] = {}
        # By session: when something of it last arrived at the broker, and when the present broker began.
        self.heard_ms: dict[int, int] = {}
        self.begun_ms = 0
        # When the journal last had something that brings the world nearer to its end.
        self.progress_ms = 0

    @contextmanager
    def judging(self) -> Iterator[None]:
        """What is found broken within is kept, and whoever runs there goes on."""
        try:
            yield
        except Violation as violation:
            self.broken = self.broken or violation

    # --- the journal ---

    def landed(self, batch: Batch) -> None:
        """A batch is durable."""
        with self.judging():
            self._landed(batch)

    def _landed(self, batch: Batch) -> None:
        self.position = batch.position
        if batch.kind is not BatchKind.EVENTS:
            return
        events = decode_events(batch.events, "simulated")
        self.observe(events, batch.bodies, batch.wall_ms, batch.position)
        if any(isinstance(event, _PROGRESS) for event in events):
            self.progress_ms = self._now_ms()
        for event in events:
            if isinstance(event, e.JobSucceeded | e.JobFailed | e.JobReleased | e.JobMisfit | e.JobCrashed):
                self._ended_at[event.fence] = batch.position
                self.ended_ms[event.fence] = self._now_ms()
            if isinstance(event, e.JobReleased) and event.fence in self._done:
                self._require(False, f"I7: job {event.id.hex()} with fence {event.fence} was done, and is given back")
            if isinstance(event, e.BulkFreed):
                given_up = {event.cancelled[start : start + 16] for start in range(0, len(event.cancelled), 16)}
                wrong = next(iter(sorted(given_up & self.acknowledged)), b"").hex()
                self._require(not wrong, f"I2: job {wrong} was acknowledged, and its bulk is given up")
            if isinstance(event, e.JobStopping):
                self.stopped_ms[event.fence] = self._now_ms()
            if isinstance(event, e.SessionEnded) and event.cause is c.SessionEnd.EXPIRED:
                self._judge_expiry(event.number)

    def _judge_expiry(self, session: int) -> None:
        silent_ms = self._decided_ms() - max(self.heard_ms.get(session, 0), self.begun_ms)
        # A session is said to be heard of ten times a ttl.
        least_ms = self._ttl_ms - self._ttl_ms // 10 - 1
        # It may be heard again while the disk is slow.
        kept = silent_ms >= least_ms or silent_ms < 0
        self._require(kept, f"I19: session {session} expired, it was heard {silent_ms} ms before")

    # --- what people saw ---

    def began(self, job_id: bytes, fence: int, deadline_ms: int) -> None:
        """A task begins to run, and is told when it must be over."""
        with self.judging():
            self._began_once(job_id, fence)
            right_ms = self._deadlines[fence]
            self._require(deadline_ms == right_ms, f"I36: job {job_id.hex()} was told {deadline_ms}, not {right_ms}")

    def _began_once(self, job_id: bytes, fence: int) -> None:
        name = f"job {job_id.hex()} with fence {fence}"
        life = self._life(job_id, "run")
        self._require(fence in life.fences, f"I8: {name} began before its run was journaled")
        self._require(fence not in self._began, f"I8: {name} began twice")
        self._began.add(fence)

    def born(self, parent: bytes, number: int, job_id: bytes) -> None:
        """A task was told that its child is accepted: whenever it runs, the same one."""
        with self.judging():
            self.accepted(job_id)
            same = self._children.setdefault((parent, number), job_id) == job_id
            self._require(same, f"I14: the child {number} of job {parent.hex()} is there twice")

    def done(self, fence: int) -> None:
        """A task has returned or raised what it meant to, in a process that lives."""
        self._done.add(fence)

    def result(self, job_id: bytes, plan: Plan, value: object) -> None:
        """Somebody was given a result, or the name of an error in its place."""
        with self.judging():
            self._judge_result(job_id, plan, value)

    def _judge_result(self, job_id: bytes, plan: Plan, value: object) -> None:
        life = self._life(job_id, "over")
        name = f"job {job_id.hex()}"
        if value == "failed":
            self._require(JobState.DEAD in life.ends.values(), f"I7: {name} was said to be dead, and is not")
        elif value == "expired":
            self._require(JobState.EXPIRED in life.ends.values(), f"I7: {name} was said to have expired, and has not")
        elif value == "cancelled":
            self._require(JobState.CANCELLED in life.ends.values(), f"I7: {name} was said to be cancelled, and is not")
        else:
            self._require(JobState.SUCCEEDED in life.ends.values(), f"I7: {name} was said to succeed, and did not")
            self._require(value == answer_of(plan), f"I7: {name} gave {value}, and {answer_of(plan)} is right")

    def looked(self, job_id: bytes, state: str) -> None:
        """Somebody was told in which state a job is; an end must be in the journal."""
        if JobState[state.upper()] in TERMINAL:
            self._require(state in {end.label for end in self._life(job_id, state).ends.values()}, f"I1: {state}")

    def is_over(self, job_id: bytes) -> bool:
        """Whether the journal has an end of the job's present life."""
        life = self.history.lives.get(job_id)
        return life is not None and life.generation in life.ends

    def finish(self) -> None:
        """See `Checker.finish`; beyond that, nobody died who was innocent."""
        super().finish()
        for job_id, life in self.history.lives.items():
            plan = self.plans.get(number_in(self.drafts[job_id].body))
            if plan is None:
                continue
            for end in life.ends.values():
                if end is JobState.DEAD and not plan.may_fail and not plan.crashes:
                    killed = any(self._lease_ends.get(fence) is None for fence in life.fences)
                    self._require(killed, f"I8: job {job_id.hex()} is dead, and never did anything wrong")
                if end is JobState.SUCCEEDED and plan.failures >= plan.attempts:
                    raise Violation(f"I8: job {job_id.hex()} succeeded, and can only fail")

    # --- what was said ---

    def asked(self, message: Any) -> None:
        """A client or worker has sent this."""
        if isinstance(message, m.Submit | m.SubmitAtomic | m.BulkStage):
            for item in message.items:
                terms = _terms_asked(item.extra) if item.extra else None
                self.drafts.setdefault(item.job, Asked(item.args, item.delay_ms, item.at_ms, terms))  # type: ignore[arg-type]
            if isinstance(message, m.BulkStage):
                self._staged.setdefault(message.bulk, {})[message.part] = [item.job for item in message.items]
            if isinstance(message, m.SubmitAtomic) and message.items[0].job not in self._grouped:
                self._grouped.add(message.items[0].job)
                self.atomic.append([item.job for item in message.items])
        elif isinstance(message, m.Settle | m.Resume):
            with self.judging():
                for item in message.items if isinstance(message, m.Settle) else message.settles:
                    self._judge_failure(item)

    def _judge_failure(self, item: m.SettleItem) -> None:
        """To the worker an error of its own is a failure of the job, which may well succeed the next time."""
        if item.end is m.RunEnd.FAILED:
            failure = unpack_failure(item.body)
            name = f"job {item.job.hex()} with fence {item.fence}"
            why = f"{failure.type}: {failure.text}"
            self._require(failure.type in _MEANT, f"defect: {name} failed, and nobody meant it to: {why}")

    def told(self, message: Any, question: Any) -> None:
        """The broker says this, in answer to that; None where it was not asked."""
        position = getattr(message, "position", 0)
        said = type(message).__name__
        self._require(position <= self.position, f"I1: {said} tells of position {position}, durable is {self.position}")
        judge = _JUDGE.get(type(message))
        if judge is not None:
            judge(self, message, question)

    def submitted(self, message: m.Submitted, question: Any) -> None:
        if isinstance(question, m.BulkStage):
            # Nothing is promised of a part.
            return
        if isinstance(question, m.BulkCommit):
            for job_id in chain(*self._staged[question.bulk].values()):
                self.accepted(job_id)
            return
        refused = {item.index for item in message.refused}
        for index, item in enumerate(question.items):
            if index not in refused:
                self.accepted(item.job)

    def ends_told(self, message: m.Ended, question: Any) -> None:
        for item in message.items:
            name = f"job {item.job.hex()}"
            if item.state == 0:
                self.unknown(item.job)
                continue
            ends = [end for key, end in self._ends.items() if key[0] == item.job]
            # Of a job that crashed there is no word but the broker's own.
            told = (JobState(item.state), b"" if item.body == CRASHED else item.body)
            self._require(bool(ends), f"I1: {name} was told {told[0].label}, the journal has no end of it")
            self._require(told in ends, f"I7: {name} was told {told[0].label} otherwise than the journal says")

    def runs_told(self, message: m.Deliver, question: Any) -> None:
        for item in message.items:
            life = self._life(item.job, "delivered")
            name = f"job {item.job.hex()}"
            self._require(item.fence in life.fences, f"I8: {name} was delivered before its run was journaled")
            self._require(item.args == self._arguments[item.fence], f"I2: {name} was delivered with other arguments")
            attempt = self._attempts[item.fence]
            self._require(
                item.attempt == attempt <= life.cap, f"I8: attempt {attempt} of {name} was told {item.attempt}"
            )

    def settles_told(self, message: m.Settled, question: m.Settle) -> None:
        self._answers(question.items, message.answers or [m.SettleAnswer.OK] * len(question.items))

    def resume_told(self, message: m.Resumed, question: m.Resume) -> None:
        self._answers(question.settles, message.answers or [m.SettleAnswer.OK] * len(question.settles))
        for held, verdict in zip(question.held, message.verdicts, strict=True):
            life = self._life(held.job, "held")
            name = f"job {held.job.hex()} with fence {held.fence}"
            if verdict is m.Verdict.STALE:
                lives = life.fence == held.fence and life.state in _LEASED
                self._require(not lives, f"I3: {name} was told that it is over, and it is not")
            else:
                # It may have ended in this very batch.
                ended = self._ended_at.get(held.fence, message.position)
                self._require(ended >= message.position, f"I3: {name} was told {verdict.name}, it ended before")

    def _answers(self, items: list[m.SettleItem], answers: list[m.SettleAnswer]) -> None:
        for item, answer in zip(items, answers, strict=True):
            self.settled(item.job, item.fence, _ENDS[item.end], _ANSWERS[answer], item.retry)

    def cancel_told(self, message: m.Cancelled, question: m.CancelJob) -> None:
        self.cancelled(question.job, message.outcome)

    def requeue_told(self, message: m.Requeued, question: m.RetryJob) -> None:
        self.requeued(question.job, message.generation)


_JUDGE: Final[dict[type[Any], Callable[[Witness, Any, Any], None]]] = {
    m.Submitted: Witness.submitted,
    m.Ended: Witness.ends_told,
    m.Deliver: Witness.runs_told,
    m.Settled: Witness.settles_told,
    m.Resumed: Witness.resume_told,
    m.Cancelled: Witness.cancel_told,
    m.Requeued: Witness.requeue_told,
}


def answer_of(plan: Plan) -> int:
    """The one right result."""
    return plan.number * 7 + 1


def number_in(body: bytes) -> int:
    """The number of the plan that a job's arguments carry."""
    return int(unpack_body(body)[0][0])


# The program's own, whatever becomes of them.
_feed: Final = FrameReader.feed
_terms_asked: Final = submits._asked_terms


class Tap:
    """Both directions of one connection, as they were said."""

    _codec: Final = Codec()

    def __init__(self, witness: Witness, wire: Wire) -> None:
        self._witness = witness
        self._wire = wire
        self._session = 0
        self._questions: dict[int, Any] = {}
        self._out = FrameReader(FRAME_BYTES_MAX)
        self._in = FrameReader(FRAME_BYTES_MAX)
        self._arriving = FrameReader(FRAME_BYTES_MAX)
        wire.near.tap = self._asked
        wire.far.tap = self._told
        wire.far.arrived = self._arrived

    def _asked(self, data: bytes) -> None:
        for payload in _feed(self._out, data):
            message = self._codec.decode_client(payload)
            if isinstance(message, m.Hello):
                self._wire.role = message.role
            request = getattr(message, "request", 0)
            if request:
                self._questions[request] = message
            self._witness.asked(message)

    def _told(self, data: bytes) -> None:
        for payload in _feed(self._in, data):
            message = self._codec.decode_broker(payload)
            if isinstance(message, m.Welcome):
                self._session = message.session
                self._wire.welcomed_ms = self._witness._now_ms()
            question = self._questions.pop(getattr(message, "request", 0), None)
            with self._witness.judging():
                self._witness.told(message, question)

    def _arrived(self, data: bytes) -> None:
        # A part of a frame is no word.
        if _feed(self._arriving, data) and self._session:
            self._witness.heard_ms[self._session] = self._witness._now_ms()
