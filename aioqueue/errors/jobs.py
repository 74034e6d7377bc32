"""How a job ended, told as an error to whoever waits for its result; none of them is a fault of aioqueue."""

from __future__ import annotations

from aioqueue.errors.base import AioqueueError


class JobError(AioqueueError):
    """A job ended without a result; raised by `await job`."""

    code = "job_error"
    sentence = "job {job} ended without a result"


class JobFailed(JobError):
    """The job is dead: `type`, `text` and `traceback` tell of its last failure, as data."""

    code = "job_failed"
    sentence = "job {job} of task {task} failed: {type}: {text}"


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
