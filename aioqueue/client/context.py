"""What a running job knows of itself: the first parameter of a task that is annotated `Context`.

The worker makes one for each run of such a task. A task that is called directly, without a broker, gets one whose
`job` is empty.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from aioqueue.client.children import Family
from aioqueue.client.given import Given
from aioqueue.client.ties import Ties
from aioqueue.errors import NotEntered, Refused
from aioqueue.model.ids import id_text

if TYPE_CHECKING:
    from aioqueue.client.job import Job
    from aioqueue.client.named import NamedTask
    from aioqueue.client.task import Task

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger("aioqueue.job")


class Context(Given):
    """One run of a job, as its task sees it.

    `task` and `queue` are names; `attempt` is 1 plus the failures so far; `crashes` counts the processes that died
    under this job, apart from failures; `headers` are those of the submit; `deadline_ms` is the job's, UTC, by the
    broker's clock, and 0 for none.

    Example::

        @queue.task
        async def fetch(context: Context, url: str) -> str:
            context.log.info("attempt %d of %s", context.attempt, context.job)
            child = await context.submit(send, "ada@example.com")
            return await child

        assert await queue.run(fetch, "https://example.com") == "sent"
    """

    def __init__(
        self,
        job_id: bytes,
        *,
        task: str,
        queue: str,
        attempt: int = 1,
        crashes: int = 0,
        headers: Mapping[str, str] | None = None,
        deadline_ms: int = 0,
        ties: Ties | None = None,
    ) -> None:
        self._job_id = job_id
        self.task = task
        self.queue = queue
        self.attempt = attempt
        self.crashes = crashes
        self.headers: dict[str, str] = dict(headers or {})
        self._deadline_ms = deadline_ms
        self._stop_asked = False
        self._ties = ties
        self._family: Family | None = None

    @cached_property
    def job(self) -> str:
        """The job's id as it is printed, or nothing when the task was called directly."""
        # Printing an id costs 3 us, and few tasks look at it.
        return id_text(self._job_id) if self._job_id else ""

    @property
    def deadline(self) -> datetime | None:
        """When the job must be over at last, if it must: this run is stopped then."""
        return datetime.fromtimestamp(self._deadline_ms / 1000, UTC) if self._deadline_ms else None

    @overload
    def submit(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Job[R]]: ...
    @overload
    def submit(self, task: str | NamedTask[Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Job[Any]]: ...
    def submit(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Submit a child of this job; to be awaited, by a coroutine function.

        A child knows its parent, and has the same id whenever this job makes the same call, the first, the second and
        so on of them: a job that runs again joins the children that it submitted before. With `inherit=True` among the
        task's options it has no later deadline than this job, and is cancelled when this one is cancelled or expires.

        Raises what `Queue.submit` raises; `NotEntered` where the task was called directly or the worker's queue is not
        entered, and `Refused` in a plain function and in a task with `executor="process"`.
        """
        if self._ties is None:
            raise NotEntered
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise Refused(reason=_NO_LOOP) from None
        if self._family is None:
            self._family = Family(self._job_id)
        return self._ties.submit_child(self._family, task, args, kwargs)

    def should_stop(self) -> bool:
        """Whether this run was asked to stop: its job was cancelled, its timeout has passed, or its worker stops.

        For plain functions, which no cancellation reaches: one that looks at it now and then, and returns or raises
        within the worker's `cancel_grace`, ends as a coroutine would. A coroutine is told by `CancelledError`.
        """
        if self._stop_asked:
            return True
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return False
        return task is not None and task.cancelling() > 0

    @cached_property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """The logger `aioqueue.job`; its records begin with task and id, and carry `job`, `task` and `attempt`."""
        return _JobLog(_logger, {"job": self.job, "task": self.task, "attempt": self.attempt})

    def __repr__(self) -> str:
        return f"<Context task={self.task} job={self.job or 'none'} attempt={self.attempt}>"


def alone(task: str, queue: str) -> Context:
    """What a task that is called directly knows of its run."""
    return Context(b"", task=task, queue=queue)


_NO_LOOP = "a plain function cannot submit children; make the task `async def`, or let it return what to submit"


def ask_to_stop(context: Context) -> None:
    """For the worker: from now on the run's `should_stop()` is true."""
    context._stop_asked = True


class _JobLog(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        known = dict(self.extra or {})
        kwargs["extra"] = {**known, **(kwargs.get("extra") or {})}
        return f"{known['task']} {known['job']}: {msg}" if known["job"] else f"{known['task']}: {msg}", kwargs
