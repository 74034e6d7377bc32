"""What `Task.options` takes: the options of one submit. What only a declaration can say is refused here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, TypedDict

from aioqueue.client.options.layers import Options, Priority, parsed_layer
from aioqueue.client.options.retry import Retry
from aioqueue.errors import BadOption
from aioqueue.model.durations import Duration


class SubmitOptions(TypedDict, total=False):
    """What `Task.options` takes, for type checkers. See `TaskOptions` for the meanings."""

    queue: str | None
    priority: Priority | None
    delay: Duration | None
    at: datetime | int | None
    retry: Retry | int
    timeout: Duration | None
    deadline: Duration | datetime | None
    expires: Duration | datetime | None
    inherit: bool | None
    id: str | None
    keep: Duration | None
    headers: Mapping[str, str] | None
    labels: Collection[str] | None


def submit_options(given: Mapping[str, Any]) -> Options:
    """The layer of one submit. Raises `BadOption` or `BadName`."""
    if "name" in given:
        raise BadOption(option="name", value=given["name"], reason="a task is named where it is declared")
    if "executor" in given:
        raise BadOption(option="executor", value=given["executor"], reason="it is the task's own; declare it by @task")
    retry = given.get("retry")
    if isinstance(retry, Retry) and (retry.on, retry.never) != ((Exception,), ()):
        raise BadOption(
            option="retry", value=retry, reason="on= and never= are judged by the worker; declare them by @task"
        )
    return parsed_layer(given)
