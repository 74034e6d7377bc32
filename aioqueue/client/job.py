"""One submitted job, as its caller holds it: await it for the result, or look, cancel, retry.

A job is a name for what the broker knows; it may be dropped and found again by `queue.get(job.id)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Final, Generic, Protocol, TypeVar

from aioqueue.client.asking import CancelOutcome
from aioqueue.client.info import JobInfo
from aioqueue.client.session import Session
from aioqueue.client.waiting import Ending, Endings
from aioqueue.errors import (
    AioqueueError,
    DeadlineExceeded,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobNotFound,
    ResultExpired,
    from_wire,
    tells_an_end,
)
from aioqueue.limits import ARGS_SHOWN_BYTES_MAX
from aioqueue.model.bodies import unpack_failure
from aioqueue.model.durations import Duration, to_ms
from aioqueue.model.ids import id_text, is_own_id
from aioqueue.model.states import JobState
from aioqueue.model.views import Run
from aioqueue.protocol.messages import EndedItem

__tracebackhide__ = tells_an_end

R = TypeVar("R")

# Looking a member up in its enum costs 0.1 us on Python 3.11, and every result asks.
_SUCCEEDED: Final = int(JobState.SUCCEEDED)
# Of an own id in a sentence; more is in the error's fields.
_OWN_ID_SHOWN: Final = 64


class Results(Protocol):
    """How the results of a task are read; `task` is its name."""

    task: str

    def unpack_result(self, body: bytes) -> Any: ...


def result_of(item: EndedItem, results: Results) -> Any:
    """The result that an end carries; raises `BadResult` for one that cannot be read, or how else the job ended."""
    if item.state == _SUCCEEDED:
        return results.unpack_result(item.body)
    error = _how_it_ended(item, id_text(item.job), results.task)
    # Whatever shows the variables of frames would show the bytes of a message.
    del item, results
    raise error


def _how_it_ended(item: EndedItem, job: str, task: str) -> AioqueueError:
    if item.code == ResultExpired.code:
        return ResultExpired(job=job, state=JobState(item.state).label if item.state else "finished")
    if item.state == 0 and item.code in ("", JobNotFound.code):
        return JobNotFound(job=job)
    if item.state == 0:
        return from_wire(item.code, f"the broker cannot tell how job {job} of task {task} ended", {"job": job})
    if item.state == JobState.DEAD:
        failure = unpack_failure(item.body)
        return JobFailed(job=job, task=task, type=failure.type, text=failure.text, traceback=failure.traceback)
    if item.state == JobState.CANCELLED:
        told = JobCancelled.sentence.format(job=job, task=task)
        return JobCancelled(f"{told}: {item.note}" if item.note else told, job=job, task=task, reason=item.note)
    if item.state == JobState.EXPIRED:
        return JobExpired(job=job, task=task, reason=item.note)
    return JobError(f"job {job} of task {task} ended in state {item.state}", job=job, task=task, state=item.state)


def name_own_id(error: AioqueueError, key: bytes, own_id: str) -> None:
    """Write what its caller calls a job behind its id where an error names that first, and among the error's fields."""
    job = id_text(key)
    shown = own_id if len(own_id) <= _OWN_ID_SHOWN else f"{own_id[:_OWN_ID_SHOWN]}…"
    error.args = (str(error).replace(job, f"{job} ({shown!r})", 1),)
    error.fields["own_id"] = own_id


class Job(Generic[R]):
    """A submitted job. `await job` gives the task's result, or raises how the job ended otherwise.

    Awaiting may be done again and by many. `key` is the id as 16 bytes, `id` as text.

    Example::

        job = await queue.submit(send, "ada@example.com")
        try:
            print(await job.result(timeout="10s"))
        except JobFailed as error:
            print(error.type, error.text, error.traceback)
        same = await queue.get(job.id)  # in another program, too
        assert (await same.info()).state == "succeeded"
    """

    __slots__ = ("_batch", "_ending", "_existed", "_own_id", "_results", "_session", "key")

    def __init__(
        self,
        session: Callable[[], Session],
        key: bytes,
        results: Results,
        ending: Ending | None = None,
        batch: list[Job[Any]] | None = None,
    ) -> None:
        self.key: bytes = key
        # Asked each time, for the job may outlive the connection it was submitted over.
        self._session = session
        self._results = results
        self._ending = ending
        # The jobs of one `submit_many`: whoever awaits them one after the other should not pay a round trip for each.
        self._batch = batch
        # Few jobs have these two, so they cost none of the others anything.
        self._existed: bool
        self._own_id: str

    @property
    def id(self) -> str:
        """The id as it is printed and as `queue.get` takes it."""
        # Made when it is looked at: it costs 3 us.
        return id_text(self.key)

    @property
    def task(self) -> str:
        """The name of the job's task."""
        return self._results.task

    @property
    def existed(self) -> bool:
        """Whether the submit that gave this object found the job there: a job of the same task had your own id.

        Then nothing was submitted, and the job has the arguments and options of its own submit: `await job.info()`
        tells of it. A child of `Context.submit` was there where an earlier run of the parent submitted it. A submit
        whose answer was lost with the connection is sent again, and may find the job that it made itself.
        """
        return getattr(self, "_existed", False)

    @property
    def own_id(self) -> str | None:
        """Your own id, if the job was submitted, or asked for, by it; errors of this object name it too."""
        return getattr(self, "_own_id", None)

    def __repr__(self) -> str:
        return f"<Job {self.id} of {self.task}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __await__(self) -> Generator[Any, None, R]:
        ending = self._ending
        if ending is not None and ending.item is not None:
            # It came already; a coroutine for it costs 0.5 us.
            try:
                found: R = result_of(ending.item, self._results)
            except AioqueueError as error:
                self._name(error)
                raise
            return found
        return (yield from self._result().__await__())

    async def result(self, timeout: Duration | None = None) -> R:
        """The result, waited for at most `timeout` (seconds, `timedelta`, or text such as `"10m"`).

        Raises `JobFailed` (with the last failure's `type`, `text` and `traceback`), `JobCancelled`, `JobExpired`,
        `ResultExpired`, `JobNotFound`, `DeadlineExceeded` (the job goes on), or `QueueClosed`.
        """
        if timeout is None:
            return await self._result()
        seconds = to_ms(timeout, option="timeout") / 1000
        try:
            async with asyncio.timeout(seconds):
                return await self._result()
        except TimeoutError:
            what, absence = f"the result of job {self.id}", self._session().unanswered.absence()
            told = DeadlineExceeded.sentence.format(what=what, seconds=seconds)
            raise DeadlineExceeded(f"{told}; {absence}" if absence else told, what=what, seconds=seconds) from None

    async def info(self) -> JobInfo:
        """What the broker knows of the job now, with its arguments if they have at most 64 KiB.

        Raises `JobNotFound` or `ResultExpired`.
        """
        try:
            return await self._session().questions.info(self.key, args_bytes=ARGS_SHOWN_BYTES_MAX)
        except AioqueueError as error:
            self._name(error)
            raise

    async def history(self) -> tuple[Run, ...]:
        """Every run of the job that is known, oldest first, those before a `retry()` included; the one that is on too.

        Raises `JobNotFound` or `ResultExpired`, and `Unsupported` by a broker that is too old to tell.
        """
        try:
            return (await self._session().questions.history(self.key))[1]
        except AioqueueError as error:
            self._name(error)
            raise

    async def cancel(self, reason: str = "", *, wait: Duration | None = None) -> CancelOutcome:
        """Keep the job from running, or stop it: `cancelled`, `finished` when it had ended before, or `stopping`.

        A job that runs is told to stop: a coroutine by its cancellation, a plain function by `ctx.should_stop()`. It
        runs never again, whatever comes of this run: `cancelled`, or `finished` where it succeeded all the same. With
        `wait` that is waited for, so long at most; without, or when it takes longer, the answer is `stopping`.

        Raises `JobNotFound`, `ResultExpired` or `BadOption`.
        """
        seconds = None if wait is None else to_ms(wait, option="wait") / 1000
        try:
            outcome = await self._session().questions.cancel(self.key, reason)
        except AioqueueError as error:
            self._name(error)
            raise
        if outcome != "stopping" or seconds is None:
            return outcome
        try:
            async with asyncio.timeout(seconds):
                item = await self._end()
        except TimeoutError:
            return outcome
        return "cancelled" if item.state == JobState.CANCELLED else "finished"

    async def retry(self) -> None:
        """Submit a dead, cancelled or expired job once more; awaiting this object then waits for the new end.

        It has the time it needs: `expires` and `deadline` were those of its first submit, and a child does not end with
        its parent any more. Raises `NotRetryable` for a job in another state, and `JobNotFound` or `ResultExpired`.
        """
        try:
            await self._session().questions.retry(self.key)
        except AioqueueError as error:
            self._name(error)
            raise
        self._ending = None

    async def _result(self) -> R:
        try:
            found: R = result_of(await self._end(), self._results)
        except AioqueueError as error:
            self._name(error)
            raise
        return found

    def _name(self, error: AioqueueError) -> None:
        """Let the error name the own id too, if the job has one."""
        if (own_id := self.own_id) is not None:
            name_own_id(error, self.key, own_id)

    async def _end(self) -> EndedItem:
        """How the job ended, when it has."""
        ending = self._ending
        if ending is not None and ending.item is not None:
            return ending.item
        endings = self._session().endings
        if ending is None or ending.error is not None or ending.abandoned():
            # An end that was not told before the queue was closed may be told by another connection; one whose last
            # waiter gave up is not listened for any more.
            ending = self._ask(endings)
        return await endings.reached(ending)

    def _ask(self, endings: Endings) -> Ending:
        if self._batch:
            for job in self._batch:
                if job._ending is None:
                    job._ending = endings.ask(job.key)
            self._batch.clear()
        self._ending = endings.ask(self.key)
        return self._ending


def marked(job: Job[R], own_id: str = "", *, existed: bool = False) -> Job[R]:
    """For whoever submitted the job, or asked for it: what its caller calls it; whether the broker knew it before."""
    if own_id:
        job._own_id = own_id
    if existed:
        # A generated id it knows from this very submit.
        job._existed = is_own_id(job.key)
    return job
