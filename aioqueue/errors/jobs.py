"""How a job ended, told as an error to whoever waits for its result; none of them is a fault of aioqueue."""

from __future__ import annotations

from typing import Any

from aioqueue.errors.base import AioqueueError


class JobError(AioqueueError):
    """A job ended without a result; raised by `await job`."""

    code = "job_error"
    sentence = "job {job} ended without a result"


class JobFailed(JobError):
    """The job is dead: `type`, `text` and `traceback` tell of its last failure, as data.

    The traceback is a note too, so that one that nobody catches is shown with the lines of the task that failed.
    """

    code = "job_failed"
    sentence = "job {job} of task {task} failed: {type}: {text}"

    def __init__(self, message: str | None = None, /, **fields: Any) -> None:
        super().__init__(message, **fields)
        if traceback := str(fields.get("traceback", "")).rstrip():
            self.add_note(f"\nThe task's own traceback, from its worker:\n\n{traceback}\n")


class ProcessDied(JobError):
    """The process of a job of `executor="process"` died under it; a failure of this type, raised to nobody."""

    code = "process_died"
    sentence = "the process of job {job} of task {task} {how}"


class JobCancelled(JobError):
    code = "job_cancelled"
    sentence = "job {job} of task {task} was cancelled"


class JobExpired(JobError):
    """The job had not begun in time (`expires`), or was not over by its `deadline`; `reason` says which."""

    code = "job_expired"
    sentence = "job {job} of task {task} expired: {reason}"


def tells_an_end(raised: Any) -> bool:
    """Whether what was raised is how a job ended. `raised` is pytest's `ExceptionInfo`.

    A module whose `__tracebackhide__` this is has no frames in pytest's report of such an error: what it would show of
    them is this package's code with a message of the wire, and the reader looks for the line of a task.
    """
    return isinstance(raised.value, JobError)
