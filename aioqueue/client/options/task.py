"""What `@queue.task` takes, and a queue's `defaults`. Called by `Declares` and by `Queue`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, TypedDict

from aioqueue.client.options.layers import Executor, Options, Priority, parsed_layer
from aioqueue.client.options.retry import Retry
from aioqueue.errors import BadOption
from aioqueue.model.durations import Duration


class TaskOptions(TypedDict, total=False):
    """What `@queue.task` takes.

    `name` of the task; `queue` its jobs wait in; `priority` 0-9, higher first; `delay` before the first attempt;
    `retry`, a `Retry` or a number of attempts; `timeout` of one attempt; `deadline`, when the whole job must be over;
    `expires`, when it is not worth beginning any more; `inherit`, for a job that another submits, to have no later
    deadline than that one and to end with it where it is cancelled or expires; `executor`, where it runs: "async" for a
    coroutine function on the event loop, "thread" for a plain one, "process" for either in a process of its own;
    `labels`, such as `["gpu"]`: only workers that have all of them get the job; `keep`, how long the end of a job is
    kept; `headers`, text that travels with the job. Durations are counted from the submit. Of one submit only: `at`,
    the instant of the first attempt, and `id`, the caller's own name for the job.
    """

    name: str | None
    queue: str | None
    priority: Priority | None
    delay: Duration | None
    retry: Retry | int
    timeout: Duration | None
    deadline: Duration | datetime | None
    expires: Duration | datetime | None
    inherit: bool | None
    executor: Executor | None
    keep: Duration | None
    headers: Mapping[str, str] | None
    labels: Collection[str] | None


def task_options(given: Mapping[str, Any]) -> Options:
    """The layer of a declaration. Raises `BadOption` or `BadName`."""
    for option in ("id", "at"):
        if option in given:
            reason = "it belongs to one submit; give it by task.options()"
            raise BadOption(option=option, value=given[option], reason=reason)
    return parsed_layer(given)


def default_options(given: Mapping[str, Any]) -> Options:
    """The layer of a queue's defaults. Raises `BadOption` or `BadName`."""
    if "name" in given:
        raise BadOption(option="name", value=given["name"], reason="tasks cannot share a name")
    return task_options(given)
