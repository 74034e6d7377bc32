"""Waiting for the ends of jobs, looking at them, acting on one, and watching the figures of all."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from aioqueue.limits import (
    ERROR_CHARACTERS_MAX,
    ITEMS_A_FRAME_MAX,
    JOB_ID_BYTES,
    PAGE_JOBS_MAX,
)
from aioqueue.model.views import JobInfo, Statistics
from aioqueue.protocol.messages.base import SHORT, Array, Body, JobId, Name, Number, Runs, Text


class Wait(Struct, array_like=True, tag=30, gc=False):
    """Tell me the end of these jobs, each by one `Ended`; an unknown one is answered so too."""

    jobs: Annotated[list[JobId], Meta(max_length=ITEMS_A_FRAME_MAX)]


class EndedItem(Array):
    """How a job ended: `state` is a `JobState`, or 0 where no such job is known or its result has expired (`code`).

    `note` says why one was cancelled or expired, for people.
    """

    job: JobId
    state: Number
    body: Body = b""
    code: Name = ""
    note: Text = ""


class Ended(Struct, array_like=True, tag=31, gc=False):
    """Ends of jobs that this connection waited for."""

    items: Annotated[list[EndedItem], Meta(max_length=ITEMS_A_FRAME_MAX)]
    position: Number = 0


class GetJob(Struct, array_like=True, tag=32, gc=False):
    """With `runs` the answer holds every run of the job, with `args_bytes` its arguments if they are no longer."""

    request: Number
    job: JobId
    runs: bool = False
    args_bytes: Number = 0


class JobRecord(Struct, array_like=True, tag=33, gc=False):
    """The answer to `GetJob`; `runs` oldest first, of all generations, where they were asked for."""

    request: Number
    info: JobInfo
    runs: Runs = []


class FindJobs(Struct, array_like=True, tag=34, gc=False):
    """One page of jobs, newest first; an empty field means any. `after` is the page's cursor.

    `since_ms` and `until_ms` (not itself included) are UTC: of the submit of a living job, the end of a finished one.
    `id_prefix` is how the id begins, in hexadecimal digits, and `id_suffix` its last 12; `error` stands in the failure,
    written as `Type: text`. A broker of before `id_suffix` passes over it: who asks looks at the answer once more.
    With `args_bytes` each job comes with its arguments, if they are no longer than that and `ARGS_LISTED_BYTES_MAX`.
    """

    request: Number
    states: Annotated[list[int], Meta(max_length=SHORT)] = []
    queue: Name = ""
    task: Name = ""
    limit: Number = 50
    after: Annotated[bytes, Meta(max_length=64)] = b""
    since_ms: Number = 0
    until_ms: Number = 0
    id_prefix: Annotated[str, Meta(max_length=2 * JOB_ID_BYTES)] = ""
    error: Annotated[str, Meta(max_length=ERROR_CHARACTERS_MAX)] = ""
    runs: bool = False
    id_suffix: Annotated[str, Meta(max_length=2 * JOB_ID_BYTES)] = ""
    args_bytes: Number = 0


class JobPage(Struct, array_like=True, tag=35, gc=False):
    """The answer to `FindJobs`; an empty `next` says that this was the last page. `runs` has a list for each job."""

    request: Number
    jobs: Annotated[list[JobInfo], Meta(max_length=PAGE_JOBS_MAX)]
    next: bytes = b""
    runs: Annotated[list[Runs], Meta(max_length=PAGE_JOBS_MAX)] = []


class CancelJob(Struct, array_like=True, tag=36, gc=False):
    request: Number
    job: JobId
    reason: Text = ""


class Cancelled(Struct, array_like=True, tag=37, gc=False):
    """The answer to `CancelJob`: `cancelled`, `finished`, or `stopping` for a job that runs."""

    request: Number
    outcome: Name
    position: Number = 0


class RetryJob(Struct, array_like=True, tag=38, gc=False):
    """Once more, as this generation, so that a request which is said again does nothing again; 0 is the next one."""

    request: Number
    job: JobId
    generation: Number = 0


class Requeued(Struct, array_like=True, tag=39, gc=False):
    """The answer to `RetryJob`."""

    request: Number
    generation: Number
    position: Number = 0


class Watch(Struct, array_like=True, tag=40, gc=False):
    """Send me the statistics of my namespace, once a second at most, until `stop`."""

    stop: bool = False


class StatisticsUpdate(Struct, array_like=True, tag=41, gc=False):
    statistics: Statistics
