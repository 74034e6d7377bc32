"""Clients and workers, who remember what they were told, and hold the broker to it.

A peer acts when it is told to and may do nothing then; it is never told how things stand at the broker. `steady` peers
(faults are over) finish what they began and begin nothing.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from aioqueue.core.commands import EndRun, HeldRun, RunEnd, RunVerdict, SettleOutcome, SubmitOutcome
from aioqueue.core.effects import DeliverJob, StopRun
from aioqueue.errors import DiskLow, JobNotFound, NotRetryable, QueueFull, Refused, SessionOver
from aioqueue.model.records import FinishedJob
from aioqueue.model.states import JobState
from tests.simulator.checker import Checker, Violation
from tests.simulator.drafts import Draft, Drafts
from tests.simulator.network import Connection, Reply


class Hello(NamedTuple):
    """Who a peer says it is."""

    secret: bytes
    name: str


class Submission(NamedTuple):
    """What one submit carries. `there` are those of its jobs that the journal had when it was sent; `since_ms` is when
    it was sent first, 0 where nobody has to know.
    """

    drafts: list[Draft]
    atomic: bool
    resend: bool
    there: frozenset[bytes] = frozenset()
    since_ms: int = 0

    @property
    def key(self) -> bytes:
        return b"".join(draft.id for draft in self.drafts)


class Resumption(NamedTuple):
    """What a returning worker carries."""

    held: list[HeldRun]
    settles: list[EndRun]


class Peer:
    """What clients and workers share: a secret, at most one connection, and a hello before all else."""

    def __init__(self, name: str, rng: Random, checker: Checker) -> None:
        self.name = name
        self.connection: Connection | None = None
        self.welcome = False
        self.steady = False
        self._rng = rng
        self._checker = checker
        self._lives = 0
        self._new_life()

    def _new_life(self) -> None:
        self._lives += 1
        self.secret = f"{self.name}.{self._lives}".encode()

    def connect(self) -> Connection:
        """Begin a connection with a hello; what was there before is cut."""
        self.connection = Connection()
        self.welcome = False
        self.connection.ask("hello", Hello(self.secret, self.name))
        return self.connection

    def hear(self, message: Any) -> None:
        """One message from the broker."""
        if isinstance(message, Reply):
            if message.to.kind == "hello":
                if isinstance(message.answer, Exception):
                    raise Violation(f"liveness: {self.name} was refused: {message.answer}")
                self.welcome = True
                self.welcomed(message.answer[1])
            else:
                self.answered(message)
        else:
            self.told(message)

    def calm_down(self) -> None: ...

    def welcomed(self, fresh: bool) -> None: ...

    def answered(self, reply: Reply) -> None: ...

    def told(self, message: Any) -> None: ...


class Client(Peer):
    """Submits, cancels, requeues and waits; sends again what was not answered."""

    def __init__(self, name: str, rng: Random, checker: Checker, drafts: Drafts) -> None:
        super().__init__(name, rng, checker)
        self._drafts = drafts
        # Submissions by all of their ids: two that begin with the same own id are two.
        self.unanswered: dict[bytes, Submission] = {}
        self.waiting: set[bytes] = set()
        self._mine: list[bytes] = []
        # Of those, what has to be cancelled at last, every generation of it.
        self._endless: dict[bytes, None] = {}
        self._knocking = False
        self._failed: list[bytes] = []

    def act(self, wall_ms: int) -> None:
        """Something that a program might do next."""
        connection = self.connection
        if connection is None or not self.welcome:
            return
        if self.steady:
            # Now and then, for a cancel is looked up as long as anything is left to do.
            if self._rng.random() < 0.03:
                for job_id in self._endless:
                    connection.ask("cancel", job_id)
            return
        what = self._rng.random()
        if what < 0.60:
            self._submit(connection, wall_ms)
        elif what < 0.82 and self._mine:
            # Mostly a late one, which may not have been leased yet.
            lately = self._mine[-12:] if self._rng.random() < 0.8 else self._mine
            connection.ask("cancel", self._rng.choice(lately))
        elif self._mine:
            connection.ask("requeue", self._rng.choice(self._failed or self._mine))
        if self.unanswered and self._rng.random() < 0.25:
            again = self._rng.choice(list(self.unanswered.values()))
            if not again.atomic and self._rng.random() < 0.7:
                # Who sends again may pack otherwise than the first time.
                again = Submission([self._rng.choice(again.drafts)], False, True)
            self._ask_submit(connection, again)

    def _submit(self, connection: Connection, wall_ms: int) -> None:
        atomic = self._rng.random() < 0.15
        drafts = [self._drafts.make(wall_ms, plain=atomic) for _ in range(self._rng.randint(1, 6))]
        for draft in drafts:
            self._checker.drafts[draft.id] = draft
        if atomic and len(drafts) > 1:
            self._checker.atomic.append([draft.id for draft in drafts])
        submission = Submission(drafts, atomic, False)
        self.unanswered[submission.key] = submission._replace(resend=True)
        self._ask_submit(connection, submission)

    def _ask_submit(self, connection: Connection, submission: Submission) -> None:
        lives = self._checker.history.lives
        there = frozenset(draft.id for draft in submission.drafts if draft.id in lives)
        connection.ask("submit", submission._replace(there=there))

    def knock(self, wall_ms: int) -> None:
        """Nothing lives any more, so there is room for one job: whoever asks now must not be refused."""
        assert self.connection is not None
        self._knocking = True
        draft = self._drafts.make(wall_ms, plain=True)
        self._checker.drafts[draft.id] = draft
        submission = Submission([draft], False, False)
        self.unanswered[draft.id] = submission._replace(resend=True)
        self._ask_submit(self.connection, submission)

    def welcomed(self, fresh: bool) -> None:
        connection = self.connection
        assert connection is not None
        for key, submission in list(self.unanswered.items()):
            if not submission.atomic and self._rng.random() < 0.3:
                del self.unanswered[key]
                for draft in submission.drafts:
                    single = Submission([draft], False, True)
                    self.unanswered[draft.id] = single
                    self._ask_submit(connection, single)
            else:
                self._ask_submit(connection, submission)
        # While faults go on, some of them, for the next fault is near.
        waiting = sorted(self.waiting)
        for job_id in waiting if self.steady else self._rng.sample(waiting, min(6, len(waiting))):
            connection.ask("wait", job_id)

    def calm_down(self) -> None:
        """Faults are over: nothing new, and every end is asked for."""
        self.steady = True
        if self.connection is not None and self.welcome:
            self.welcomed(False)

    def answered(self, reply: Reply) -> None:
        content, answer = reply.to.content, reply.answer
        match reply.to.kind:
            case "submit":
                self._submitted(content, answer)
            case "cancel":
                if isinstance(answer, JobNotFound):
                    self._checker.unknown(content)
                else:
                    self._checker.cancelled(content, answer)
            case "requeue":
                if isinstance(answer, JobNotFound):
                    self._checker.unknown(content)
                elif not isinstance(answer, NotRetryable | QueueFull | DiskLow):
                    self._checker.requeued(content, answer)
                    self._wait(content)
            case "wait":
                self._waited(content, answer)

    def _submitted(self, submission: Submission, answer: list[SubmitOutcome | Refused] | Exception) -> None:
        if isinstance(answer, Exception):
            if not (submission.atomic and isinstance(answer, QueueFull | DiskLow)):
                raise Violation(f"I1: a submit was refused: {answer}")
            answer = [answer] * len(submission.drafts)
        self.unanswered.pop(submission.key, None)
        for draft, outcome in zip(submission.drafts, answer, strict=True):
            if draft.endless:
                # Though it was refused: another copy of this submit may be on its way, and find room.
                self._endless[draft.id] = None
            if isinstance(outcome, Refused):
                if draft.id in submission.there:
                    raise Violation(f"I14: job {draft.id.hex()} was there, and was refused as a new one")
                if self._knocking:
                    raise Violation(f"liveness: nothing lives, and a job was refused: {outcome}")
                continue
            self._checker.accepted(draft.id)
            self._mine.append(draft.id)
            if outcome is SubmitOutcome.EXISTS:
                self._wait(draft.id)
            else:
                self.waiting.add(draft.id)

    def _wait(self, job_id: bytes) -> None:
        self.waiting.add(job_id)
        if self.connection is not None:
            self.connection.ask("wait", job_id)

    def _waited(self, job_id: bytes, answer: FinishedJob | None) -> None:
        if answer is None:
            self._checker.unknown(job_id)
        else:
            self.told(answer)

    def told(self, message: FinishedJob) -> None:
        self._checker.ended(message)
        self.waiting.discard(message.id)
        if message.state is not JobState.SUCCEEDED:
            self._failed.append(message.id)


class Worker(Peer):
    """Runs jobs: some succeed, some fail, some are given back; now and then it falls silent or its process dies."""

    def __init__(self, name: str, rng: Random, checker: Checker, queues: tuple[str, ...]) -> None:
        self.runs: dict[bytes, DeliverJob] = {}
        # Fences of runs that were told to stop.
        self.stopping: set[int] = set()
        self.unsettled: dict[tuple[bytes, int], EndRun] = {}
        self.silent_until_ms = 0
        self.leaving = False
        self._queues = queues
        self._slots = 0
        self._results = 0
        super().__init__(name, rng, checker)

    def _new_life(self) -> None:
        super()._new_life()
        self.runs.clear()
        self.stopping.clear()
        self.unsettled.clear()
        self.leaving = False

    def act(self, mono_ms: int) -> None:
        """Beat, and perhaps settle, or ask for more or fewer runs, or leave."""
        connection, rng = self.connection, self._rng
        if connection is None or not self.welcome or mono_ms < self.silent_until_ms:
            return
        what = rng.random()
        if what < 0.75 or self.steady:
            self._settle(connection)
        elif what < 0.80:
            self._offer(connection)
        elif what < 0.82 and not self.leaving:
            self.leaving = True
            connection.ask("goodbye")
        elif what < 0.84:
            self.silent_until_ms = mono_ms + rng.randint(100, 5_000)
        elif what < 0.88 and self.unsettled:
            connection.ask("settle", [again(rng.choice(list(self.unsettled.values())))])
        else:
            connection.ask("beat")

    def die(self) -> bytes:
        """The process ends; another takes its place. The secret of the one that died, for its supervisor."""
        secret = self.secret
        self._new_life()
        self.connection = None
        self.silent_until_ms = 0
        return secret

    def _settle(self, connection: Connection) -> None:
        rng = self._rng
        chosen = [
            run
            for run in self.runs.values()
            if (run.fence in self.stopping or not run.body.startswith(b"endless"))
            and not self._awaits_children(run)
            and rng.random() < (0.9 if self.steady else 0.5)
        ]
        ends: list[EndRun] = []
        for run in chosen:
            del self.runs[run.id]
            end = self._end(run)
            self.unsettled[run.id, run.fence] = end
            ends.append(again(end))
            if rng.random() < 0.03:
                ends.append(again(end))
        if not self.steady and ends and rng.random() < 0.03:
            # Someone who guesses, or who is long out of date.
            ends.append(EndRun(rng.choice(ends).id, rng.choice((0, 1, ends[0].fence - 1)), RunEnd.SUCCEEDED, b"guess"))
        connection.ask("settle" if ends else "beat", ends)

    def _awaits_children(self, run: DeliverJob) -> bool:
        """Every other job awaits what it submitted; where that would fill the worker, it gives up."""
        return (
            run.id[-1] % 2 == 0
            and run.fence not in self.stopping
            and len(self.runs) < self._slots
            and bool(self._checker.history.bounds.children(run.id))
        )

    def _end(self, run: DeliverJob) -> EndRun:
        self._results += 1
        body = b"%s/%d" % (self.secret, self._results)
        what = self._rng.random()
        if run.fence in self.stopping and self._rng.random() < 0.7:
            return EndRun(run.id, run.fence, RunEnd.RELEASED, b"")
        if what < (0.8 if self.steady else 0.5):
            return EndRun(run.id, run.fence, RunEnd.SUCCEEDED, body)
        if what < 0.88:
            return EndRun(run.id, run.fence, RunEnd.FAILED, body, retry=self._rng.random() < 0.85)
        return EndRun(run.id, run.fence, RunEnd.RELEASED, b"")

    def calm_down(self) -> None:
        """Faults are over: speak again, and take from all queues."""
        self.steady = True
        self.silent_until_ms = 0
        if self.connection is not None and self.welcome:
            self._offer(self.connection)

    def _offer(self, connection: Connection) -> None:
        slots = self._rng.randint(2, 12) if self.steady else self._rng.choice((0, 1, 2, 4, 8, 16))
        self._slots = slots
        count = len(self._queues) if self.steady else self._rng.randint(1, len(self._queues))
        connection.ask("capacity", (slots, *self._queues_offered(tuple(self._rng.sample(self._queues, count)))))

    def _begin(self) -> None:
        """Say what it knows, before it says how much it can take."""

    def _queues_offered(self, queues: tuple[str, ...]) -> tuple[Any, ...]:
        """The fields of a capacity behind its slots."""
        return (queues,)

    def welcomed(self, fresh: bool) -> None:
        connection = self.connection
        assert connection is not None
        # A goodbye whose answer was lost was perhaps never heard.
        self.leaving = False
        if self.runs or self.unsettled or not fresh:
            held = [HeldRun(run.id, run.fence) for run in self.runs.values()]
            connection.ask("resume", Resumption(held, [again(end) for end in self.unsettled.values()]))
        self._begin()
        self._offer(connection)

    def answered(self, reply: Reply) -> None:
        content, answer = reply.to.content, reply.answer
        if isinstance(answer, QueueFull | DiskLow):
            raise Violation(f"I20: a {reply.to.kind} was refused: {answer}")
        match reply.to.kind:
            case "settle":
                self._settled(content, answer)
            case "resume":
                if isinstance(answer, SessionOver):
                    return
                verdicts, outcomes = answer
                for run, verdict in zip(content.held, verdicts, strict=True):
                    held = self.runs.get(run.id)
                    if verdict is RunVerdict.CANCEL:
                        self.stopping.add(run.fence)
                    elif verdict is RunVerdict.STALE and held is not None and held.fence == run.fence:
                        del self.runs[run.id]
                self._settled(content.settles, outcomes)
            case "goodbye":
                self._new_life()
                self.connection = None
            case "capacity":
                if isinstance(answer, Refused) and not isinstance(answer, SessionOver):
                    raise Violation(f"liveness: {self.name} offered capacity and was refused: {answer}")

    def _settled(self, ends: list[EndRun], answers: list[SettleOutcome]) -> None:
        for end, answer in zip(ends, answers, strict=True):
            self._checker.settled(end.id, end.fence, end.end, answer, end.retry)
            self.unsettled.pop((end.id, end.fence), None)

    def told(self, message: DeliverJob | StopRun) -> None:
        if isinstance(message, StopRun):
            self.stopping.add(message.fence)
            return
        self._checker.delivered(message)
        if not self.leaving:
            self.runs[message.id] = message


def again(end: EndRun) -> EndRun:
    """The settle as it is sent; a new object each time, for the shell writes into it."""
    return EndRun(end.id, end.fence, end.end, end.body, end.retry)
