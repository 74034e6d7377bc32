"""Questions to the broker: one request, one answer, asked again after a reconnect as long as its caller waits.

Most change nothing, and one that is not answered is a `DeadlineExceeded`. A cancel or a retry is an **act**: what was
not sent is withdrawn, and of what was sent nobody knows; asking again does no harm.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from itertools import count
from typing import Literal, cast

from aioqueue.client.filters import Filter
from aioqueue.client.info import JobInfo, friendly
from aioqueue.client.link import Link
from aioqueue.client.patience import Patience, Timeouts
from aioqueue.client.unanswered import Unanswered
from aioqueue.errors import AioqueueError, DeadlineExceeded, Unsupported
from aioqueue.limits import PAGE_JOBS_MAX
from aioqueue.model.ids import id_text
from aioqueue.model.names import check_text
from aioqueue.model.views import Run
from aioqueue.protocol.messages import (
    BackupPart,
    CancelJob,
    Cancelled,
    Capability,
    ControlKind,
    ControlPage,
    FindJobs,
    GetJob,
    JobPage,
    JobRecord,
    ListControl,
    ReadBackup,
    Requeued,
    RetryJob,
    TaskEntry,
)

CancelOutcome = Literal["cancelled", "finished", "stopping"]
Request = GetJob | FindJobs | CancelJob | RetryJob | ReadBackup | ListControl
Answer = JobRecord | JobPage | Cancelled | Requeued | BackupPart | ControlPage


Needs = Sequence[tuple[Capability, str]]


class Question:
    """A request to be: `build` makes the message of a request's number.

    `acts_on` is the job that an act changes. `needs` is what not every broker can do, and what that is for. `late` is
    asked for the error when its patience is over.
    """

    __slots__ = ("acts_on", "answer", "build", "late", "needs", "number", "sent", "what")

    def __init__(self, what: str, build: Callable[[int], Request], *, acts_on: bytes = b"", needs: Needs = ()) -> None:
        self.what: str = what
        self.build: Callable[[int], Request] = build
        self.acts_on: bytes = acts_on
        self.needs: Needs = needs
        self.number: int = 0
        self.sent: bool = False
        self.late: Callable[[Question], AioqueueError]
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def give_up(self) -> None:
        """The patience of its caller is over."""
        if not self.answer.done():
            self.answer.set_exception(self.late(self))


class Questions:
    """The questions that are not answered yet, by the number they were last asked with."""

    def __init__(self, link: Link, timeouts: Timeouts, unanswered: Unanswered, patience: Patience) -> None:
        self._link = link
        self._timeouts = timeouts
        self._unanswered = unanswered
        self._patience = patience
        self._open: dict[int, Question] = {}

    def __len__(self) -> int:
        return len(self._open)

    def within(self, patience: Patience) -> Questions:
        """The same, for callers of another patience."""
        view = Questions(self._link, self._timeouts, self._unanswered, patience)
        view._open = self._open
        return view

    def counts(self) -> tuple[int, int]:
        """How many wait to be sent, and how many were sent and not answered."""
        sent = sum(question.sent for question in self._open.values())
        return len(self._open) - sent, sent

    async def ask(self, question: Question) -> Answer:
        """The answer; raises the broker's refusal, or what is raised when none came in time."""
        seconds = self._patience.seconds
        question.late = self._late
        try:
            self._send(question)
            self._timeouts.begin(question, seconds)
            return await question.answer
        finally:
            self._open.pop(question.number, None)
            self._timeouts.end(question, seconds)

    async def info(self, key: bytes, *, args_bytes: int = 0) -> JobInfo:
        """What the broker knows of a job now, with its arguments if they are no longer than so many bytes.

        Raises `JobNotFound` or `ResultExpired`.
        """
        answer = await self.ask(
            Question("what is known of a job", lambda number: GetJob(number, key, False, args_bytes))
        )
        assert isinstance(answer, JobRecord)
        return friendly(answer.info)

    async def history(self, key: bytes) -> tuple[JobInfo, tuple[Run, ...]]:
        """The same, and every run of the job, oldest first. `Unsupported` by a broker that cannot tell them."""
        needs = ((Capability.RUNS, "the runs of a job"),)
        answer = await self.ask(Question("the history of a job", lambda number: GetJob(number, key, True), needs=needs))
        assert isinstance(answer, JobRecord)
        return friendly(answer.info), tuple(answer.runs)

    async def page(
        self, where: Filter, limit: int, after: bytes, *, runs: bool = False, args_bytes: int = 0
    ) -> JobPage:
        """One page of jobs; its `next` is where the following one begins, empty after the last.

        It may be short, and empty, and still not the last.
        """
        needs: list[tuple[Capability, str]] = []
        if where.beyond_names:
            needs.append((Capability.FILTERS, "a list by time, id or error"))
        if runs:
            needs.append((Capability.RUNS, "the runs of jobs"))
        answer = await self.ask(
            Question(
                "a page of jobs",
                lambda number: FindJobs(
                    number, list(where.states), where.queue, where.task, limit, after, where.since_ms, where.until_ms,
                    where.id_prefix, where.error, runs, where.id_suffix, args_bytes,
                ),
                needs=needs,
            )
        )  # fmt: skip
        assert isinstance(answer, JobPage)
        return answer

    async def pages(
        self, where: Filter, limit: int | None = None, *, runs: bool = False, args_bytes: int = 0
    ) -> AsyncGenerator[JobPage, None]:
        """A list, a page at a time, at most `limit` jobs in all; with `runs`, all runs of each.

        With `args_bytes` with the arguments of each, if they are no longer than that and `ARGS_LISTED_BYTES_MAX`.
        """
        rest = limit
        after = b""
        while rest is None or rest > 0:
            most = PAGE_JOBS_MAX if rest is None else min(rest, PAGE_JOBS_MAX)
            page = await self.page(where, most, after, runs=runs, args_bytes=args_bytes)
            yield page
            after = page.next
            if not after:
                return
            rest = None if rest is None else rest - len(page.jobs)

    async def backup(self) -> AsyncGenerator[bytes, None]:
        """The parts of a copy of all that the broker has, for `protocol.backup.RecordReader`.

        Raises `BackupFailed`, also where the connection is lost meanwhile, and `Unsupported` by a broker that is too
        old.
        """
        needs = ((Capability.BACKUP, "a backup"),)
        for part in count():
            answer = await self.ask(Question("a part of a backup", partial(_read_backup, part), needs=needs))
            assert isinstance(answer, BackupPart)
            yield answer.data
            if answer.last:
                return

    async def registered(self, names: Sequence[str], after: str = "", *, names_only: bool = False) -> ControlPage:
        """A page of the registry of tasks: these of it, or all behind a name. `Unsupported` by a broker without one."""
        asked = Question(
            "a page of the registry of tasks",
            lambda number: ListControl(number, ControlKind.TASKS, list(names), after, names_only=names_only),
            needs=((Capability.CONTROL, "the registry of tasks"),),
        )
        answer = await self.ask(asked)
        assert isinstance(answer, ControlPage)
        return answer

    async def all_registered(self, *, names_only: bool = False) -> AsyncGenerator[TaskEntry, None]:
        """The registry of tasks, a page at a time."""
        after, more = "", True
        while more:
            page = await self.registered((), after, names_only=names_only)
            for entry in page.tasks:
                yield entry
                after = entry.name
            more = page.more

    async def cancel(self, key: bytes, reason: str) -> CancelOutcome:
        """How the cancel went. Raises `JobNotFound`."""
        # Asking again does no harm: a job that the first one cancelled is answered `cancelled` once more.
        check_text("reason", reason)
        cancel = Question(
            f"the cancel of job {id_text(key)}", lambda number: CancelJob(number, key, reason), acts_on=key
        )
        answer = await self.ask(cancel)
        assert isinstance(answer, Cancelled)
        return cast(CancelOutcome, answer.outcome)

    async def retry(self, key: bytes) -> None:
        """Submit a job again that did not succeed. Raises `NotRetryable`, `JobNotFound` or `ResultExpired`.

        The request names the generation that it makes, so that it makes one however often it is repeated: the first may
        have arrived, and what it brought back may have ended, before its answer was lost.
        """
        what = f"the retry of job {id_text(key)}"
        try:
            generation = (await self.info(key)).generation + 1
        except DeadlineExceeded:
            raise self._unanswered.not_sent(what, self._patience.seconds, key) from None
        await self.ask(Question(what, lambda number: RetryJob(number, key, generation), acts_on=key))

    # --- what the session calls ---

    def connected(self) -> None:
        """A connection stands anew: ask all again."""
        questions = list(self._open.values())
        self._open.clear()
        for question in questions:
            self._send(question)

    def answered(self, message: Answer) -> None:
        """An answer came; one to a question that nobody asks any more is dropped."""
        question = self._open.pop(message.request, None)
        if question is not None and not question.answer.done():
            question.answer.set_result(message)

    def refused(self, request: int, error: AioqueueError) -> None:
        question = self._open.pop(request, None)
        if question is not None and not question.answer.done():
            question.answer.set_exception(error)

    def fail(self, error: AioqueueError) -> None:
        """No answer will come any more."""
        for number in list(self._open):
            self.refused(number, copy.copy(error))

    def _send(self, question: Question) -> None:
        number = question.number = self._link.next_request()
        self._open[number] = question
        if not self._link.connected:
            return
        for capability, what in question.needs:
            if capability not in self._link.capabilities:
                self.refused(number, Unsupported(what=what))
                return
        self._link.send_nowait(question.build(number))
        question.sent = True

    def _late(self, question: Question) -> AioqueueError:
        what, seconds = question.what, self._patience.seconds
        if not question.acts_on:
            return self._unanswered.not_answered(what, seconds)
        if question.sent:
            return self._unanswered.unknown_act(what, question.acts_on, seconds)
        return self._unanswered.not_sent(what, seconds, question.acts_on)


def _read_backup(part: int, number: int) -> ReadBackup:
    return ReadBackup(number, part)
