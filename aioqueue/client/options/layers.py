"""Layers of options: what they are called, what they may be, and which of two layers wins.

Options of a submit beat those of `@task`, which beat the queue's defaults, which beat aioqueue's own. An option given
as None means aioqueue's own default, whatever a lower layer says; only `retry` has no None, which could mean two
things. Everything is checked where it is written; a name that is not known here is refused, never ignored. `task.py`
and `submit.py` say which options belong where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final, Literal, NamedTuple, TypedDict, get_args

from aioqueue.client.options.retry import Retry, is_int
from aioqueue.errors import BadOption
from aioqueue.limits import OWN_ID_CHARACTERS_MAX, PRIORITY_DEFAULT, PRIORITY_MAX
from aioqueue.model.durations import to_instant_ms, to_ms
from aioqueue.model.labels import check_labels
from aioqueue.model.names import check_name

DEFAULT_QUEUE: Final = "default"
PRIORITIES: Final = {"high": 8, "medium": PRIORITY_DEFAULT, "low": 2}

Executor = Literal["async", "thread", "process"]
Priority = int | Literal["high", "medium", "low"]


class When(NamedTuple):
    """A duration from the submit, or an instant UTC; in milliseconds, 0 for the other one, and both for never."""

    in_ms: int = 0
    at_ms: int = 0


NEVER: Final = When()


class Options(TypedDict, total=False):
    """One layer of options, checked, times in milliseconds; a key that is missing is what the layer does not say."""

    name: str
    queue: str
    priority: int
    delay: int
    at: int
    retry: Retry
    timeout: int
    deadline: When
    expires: When
    inherit: bool
    executor: str
    id: str
    keep: int
    headers: dict[str, str]
    labels: tuple[str, ...]


def merged(upper: Options, lower: Options) -> Options:
    """Two layers as one: what `upper` says, else what `lower` says; headers are merged key by key."""
    both: Options = {**lower, **upper}
    if upper.get("headers") and lower.get("headers"):
        both["headers"] = {**lower["headers"], **upper["headers"]}
    return both


def parsed_layer(given: Mapping[str, Any]) -> Options:
    """One layer, checked. Raises `BadOption` or `BadName`."""
    for option, value in given.items():
        if option not in _PARSERS:
            raise BadOption(option=option, value=value, reason=f"it is not known{_meant(option)}")
        if option == "retry" and value is None:
            # Whoever writes it means either, and half of them would get the other.
            raise BadOption(option=option, value=value, reason=_RETRY_NONE)
    parsed = Options()
    for option, value in given.items():
        parsed[option] = _DEFAULTS[option] if value is None else _PARSERS[option](value)  # type: ignore[literal-required]
    if given.get("delay") is not None and given.get("at") is not None:
        raise BadOption(option="at", value=given["at"], reason="delay= says another time; give one of them")
    # The two say one thing, so either, of an upper layer, takes the place of both below it.
    if "delay" in parsed or "at" in parsed:
        parsed.setdefault("delay", 0)
        parsed.setdefault("at", 0)
    return parsed


def _meant(option: str) -> str:
    found = _ELSEWHERE.get(option) or next(iter(get_close_matches(option, _PARSERS, 1)), "")
    return f"; did you mean {found}=?" if found else f"; known options: {', '.join(_PARSERS)}"


def _priority(value: Any) -> int:
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    if is_int(value) and 0 <= value <= PRIORITY_MAX:
        return int(value)
    raise BadOption(
        option="priority", value=value, reason=f"it must be 0 to {PRIORITY_MAX}, or one of {', '.join(PRIORITIES)}"
    )


def _retry(value: Any) -> Retry:
    if isinstance(value, Retry):
        return value
    if is_int(value):
        return Retry(attempts=value)
    raise BadOption(option="retry", value=value, reason="it must be a Retry(...) or a number of attempts, 1 for none")


def _own_id(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= OWN_ID_CHARACTERS_MAX:
        raise BadOption(option="id", value=value, reason=f"it must be text of 1 to {OWN_ID_CHARACTERS_MAX} characters")
    return value


def _headers(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for item in value.items() for part in item):
        raise BadOption(option="headers", value=value, reason="it must be a dict of text to text")
    return dict(value)


def _timeout(value: Any) -> int:
    timeout_ms = to_ms(value, option="timeout")
    if timeout_ms == 0:
        raise BadOption(option="timeout", value=value, reason="it leaves no time to run; leave it out for no timeout")
    return timeout_ms


def _executor(value: Any) -> str:
    if value not in get_args(Executor):
        reason = f"it must be one of {', '.join(get_args(Executor))}; left out, the function decides"
        raise BadOption(option="executor", value=value, reason=reason)
    return str(value)


def _when(value: Any, option: str) -> When:
    if isinstance(value, datetime):
        return When(at_ms=to_instant_ms(value, option=option))
    in_ms = to_ms(value, option=option)
    if in_ms == 0:
        raise BadOption(option=option, value=value, reason=f"it leaves no time to run; leave it out for no {option}")
    return When(in_ms)


def _inherit(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadOption(option="inherit", value=value, reason="it must be True or False")
    return value


_PARSERS: Final[dict[str, Callable[[Any], Any]]] = {
    "name": lambda value: check_name("task", value),
    "queue": lambda value: check_name("queue", value),
    "priority": _priority,
    "delay": lambda value: to_ms(value, option="delay"),
    "at": lambda value: to_instant_ms(value, option="at"),
    "retry": _retry,
    "timeout": _timeout,
    "deadline": lambda value: _when(value, "deadline"),
    "expires": lambda value: _when(value, "expires"),
    "inherit": _inherit,
    "executor": _executor,
    "id": _own_id,
    "keep": lambda value: to_ms(value, option="keep"),
    "headers": _headers,
    "labels": check_labels,
}
_RETRY_NONE: Final = f"write retry=1 for no retry, or leave it out for the usual {Retry().attempts} attempts"
# What other queues call them.
_ELSEWHERE: Final = {
    "countdown": "delay",
    "defer": "delay",
    "eta": "at",
    "run_at": "at",
    "scheduled": "at",
    "attempts": "retry",
    "max_attempts": "retry",
    "max_retries": "retry",
    "max_tries": "retry",
    "retries": "retry",
    "job_timeout": "timeout",
    "time_limit": "timeout",
    "failure_ttl": "keep",
    "result_ttl": "keep",
    "ttl": "expires",
    "job_id": "id",
    "key": "id",
    "task_id": "id",
    "queue_name": "queue",
}
# What None says: the value that aioqueue would use if nobody said anything.
_DEFAULTS: Final[dict[str, Any]] = {
    "name": "",
    "queue": DEFAULT_QUEUE,
    "priority": PRIORITY_DEFAULT,
    "delay": 0,
    "at": 0,
    "timeout": 0,
    "deadline": NEVER,
    "expires": NEVER,
    "inherit": False,
    "executor": "",
    "id": "",
    "keep": -1,
    "headers": {},
    "labels": (),
}
