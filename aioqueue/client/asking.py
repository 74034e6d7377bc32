"""Questions to the broker: one request, one answer, asked again after a reconnect until its deadline."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable
from functools import partial
from itertools import count
from typing import Literal, cast

from aioqueue.client.filters import Filter
from aioqueue.client.info import JobInfo, friendly
from aioqueue.client.link import Link
from aioqueue.errors import AioqueueError, DeadlineExceeded, Unsupported
from aioqueue.limits import PAGE_JOBS_MAX
from aioqueue.model.names import check_text
from aioqueue.model.views import Run
from aioqueue.protocol.messages import (
    BackupPart,
    CancelJob,
    Cancelled,
    Capability,
    ControlPage,
    FindJobs,
    GetJob,
    JobPage,
    JobRecord,
    ListControl,
    ReadBackup,
    Requeued,
    RetryJob,
)

CancelOutcome = Literal["cancelled", "finished", "stopping"]
Request = GetJob | FindJobs | CancelJob | RetryJob | ReadBackup | ListControl
Answer = JobRecord | JobPage | Cancelled | Requeued | BackupPart | ControlPage


class Question:
    """A request to be: `build` makes the message of a request's number."""

    __slots__ = ("answer", "build", "number", "what")

    def __init__(self, what: str, build: Callable[[int], Request]) -> None:
        self.what = what
        self.build = build
        self.number = 0
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()


class Questions:
    """The questions that are not answered yet, by the number they were last asked with."""

    def __init__(self, link: Link, *, ask_seconds: float) -> None:
        self._link = link
        self._ask_seconds = ask_seconds
        self._open: dict[int, Question] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def ask(self, question: Question) -> Answer:
        """The answer; raises the broker's refusal, or `DeadlineExceeded`."""
        try:
            self._send(question)
            async with asyncio.timeout(self._ask_seconds):
                return await question.answer
        except TimeoutError:
            raise DeadlineExceeded(what=question.what, seconds=self._ask_seconds) from None
        finally:
            self._open.pop(question.number, None)

    async def info(self, key: bytes) -> JobInfo:
        """What the broker knows of a job now. Raises `JobNotFound` or `ResultExpired`."""
        answer = await self.ask(Question("what is known of a job", lambda number: GetJob(number, key)))
        assert isinstance(answer, JobRecord)
        return friendly(answer.info)

    async def history(self, key: bytes) -> tuple[JobInfo, tuple[Run, ...]]:
        """The same, and every run of the job, oldest first. `Unsupported` by a broker that cannot tell them."""
        self.need(Capability.RUNS, "the runs of a job")
        answer = await self.ask(Question("the history of a job", lambda number: GetJob(number, key, True)))
        assert isinstance(answer, JobRecord)
        return friendly(answer.info), tuple(answer.runs)

    async def page(self, where: Filter, limit: int, after: bytes, *, runs: bool = False) -> JobPage:
        """One page of jobs; its `next` is where the following one begins, empty after the last.

        It may be short, and empty, and still not the last.
        """
        if where.beyond_names:
            self.need(Capability.FILTERS, "a list by time, id or error")
        if runs:
            self.need(Capability.RUNS, "the runs of jobs")
        answer = await self.ask(
            Question(
                "a page of jobs",
                lambda number: FindJobs(
                    number, list(where.states), where.queue, where.task, limit, after, where.since_ms, where.until_ms,
                    where.id_prefix, where.error, runs,
                ),
            )
        )  # fmt: skip
        assert isinstance(answer, JobPage)
        return answer

    async def pages(
        self, where: Filter, limit: int | None = None, *, runs: bool = False
    ) -> AsyncGenerator[JobPage, None]:
        """A list, a page at a time, at most `limit` jobs in all; with `runs`, all runs of each."""
        rest = limit
        after = b""
        while rest is None or rest > 0:
            page = await self.page(where, PAGE_JOBS_MAX if rest is None else min(rest, PAGE_JOBS_MAX), after, runs=runs)
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
        self.need(Capability.BACKUP, "a backup")
        for part in count():
            answer = await self.ask(Question("a part of a backup", partial(_read_backup, part)))
            assert isinstance(answer, BackupPart)
            yield answer.data
            if answer.last:
                return

    def need(self, capability: Capability, what: str) -> None:
        """`Unsupported` if the broker of the last connection is too old to do this."""
        if capability not in self._link.capabilities:
            raise Unsupported(what=what)

    async def cancel(self, key: bytes, reason: str) -> CancelOutcome:
        """How the cancel went. Raises `JobNotFound`."""
        # Asking again does no harm: a job that the first one cancelled is answered `cancelled` once more.
        check_text("reason", reason)
        answer = await self.ask(Question("the cancel of a job", lambda number: CancelJob(number, key, reason)))
        assert isinstance(answer, Cancelled)
        return cast(CancelOutcome, answer.outcome)

    async def retry(self, key: bytes) -> None:
        """Submit a job again that did not succeed. Raises `NotRetryable`, `JobNotFound` or `ResultExpired`.

        The request names the generation that it makes, so that it makes one however often it is repeated: the first may
        have arrived, and what it brought back may have ended, before its answer was lost.
        """
        generation = (await self.info(key)).generation + 1
        await self.ask(Question("the retry of a job", lambda number: RetryJob(number, key, generation)))

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
        if self._link.connected:
            self._link.send_nowait(question.build(number))


def _read_backup(part: int, number: int) -> ReadBackup:
    return ReadBackup(number, part)
