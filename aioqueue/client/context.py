"""What a running job knows of itself: the first parameter of a task that is annotated `Context`.

The worker makes one for each run of such a task. A task that is called directly, without a broker, gets one whose
`job` is empty.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, MutableMapping
from functools import cached_property
from typing import Any

from aioqueue.model.ids import id_text

_logger = logging.getLogger("aioqueue.job")


class Context:
    """One run of a job, as its task sees it.

    `task` and `queue` are names; `attempt` is 1 plus the failures so far; `crashes` counts the processes that died
    under this job, apart from failures; `headers` are those of the submit.
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
    ) -> None:
        self._job_id = job_id
        self.task = task
        self.queue = queue
        self.attempt = attempt
        self.crashes = crashes
        self.headers: dict[str, str] = dict(headers or {})
        self._stop_asked = False

    @cached_property
    def job(self) -> str:
        """The job's id as it is printed, or nothing when the task was called directly."""
        # Printing an id costs 3 us, and few tasks look at it.
        return id_text(self._job_id) if self._job_id else ""

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


def ask_to_stop(context: Context) -> None:
    """For the worker: from now on the run's `should_stop()` is true."""
    context._stop_asked = True


class _JobLog(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        known = dict(self.extra or {})
        kwargs["extra"] = {**known, **(kwargs.get("extra") or {})}
        return f"{known['task']} {known['job']}: {msg}" if known["job"] else f"{known['task']}: {msg}", kwargs
