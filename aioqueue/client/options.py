"""The options of a task and of a submit: what they are called, what they may be, and which of two wins.

Options come in layers: those of a submit beat those of `@task`, which beat the queue's defaults, which beat aioqueue's
own. An option given as None means aioqueue's own default, whatever a lower layer says. Everything is checked where it
is written; a name that is not known here is refused, never ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypedDict, get_args

import msgspec

from aioqueue.errors import BadOption, PayloadTooLarge
from aioqueue.limits import ATTEMPTS_MAX, HEADERS_BYTES_MAX, OWN_ID_CHARACTERS_MAX, PRIORITY_DEFAULT, PRIORITY_MAX
from aioqueue.model.bodies import pack_headers
from aioqueue.model.durations import Duration, to_instant_ms, to_ms
from aioqueue.model.names import check_name
from aioqueue.model.spec import BACKOFFS, RetryPolicy, Spec, check_spec, pack_spec
from aioqueue.protocol.extras import Key, packed
from aioqueue.protocol.messages import Extra

DEFAULT_QUEUE: Final = "default"
PRIORITIES: Final = {"high": 8, "medium": PRIORITY_DEFAULT, "low": 2}

Executor = Literal["async", "thread", "process"]
ExceptionTypes = type[Exception] | tuple[type[Exception], ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed attempt is followed by another.

    `attempts` counts the first one too. The wait after the n-th failure is, before jitter (0.9 to 1.1 times):
    exponential `min(cap, base * factor ** (n - 1))`, linear `min(cap, base * n)`, constant `base`. `base` and `cap`
    are durations: seconds, `timedelta`, or text such as `"10m"`. An exception is retried if it is one of `on` and none
    of `never`; any other one ends the job at once.

    Example::

        @queue.task(retry=Retry(attempts=10, base="2s", cap="10m", on=(OSError,), never=(FileNotFoundError,)))
        async def upload(path: str) -> None: ...

    Raises `BadOption` for what cannot be used.
    """

    attempts: int = 5
    backoff: Literal["exponential", "linear", "constant"] = "exponential"
    base: Duration = 1.0
    factor: float = 2.0
    cap: Duration = 300.0
    jitter: bool = True
    on: ExceptionTypes = (Exception,)
    never: ExceptionTypes = ()

    def __post_init__(self) -> None:
        if not _is_int(self.attempts) or not 1 <= self.attempts <= ATTEMPTS_MAX:
            raise BadOption(
                option="attempts",
                value=self.attempts,
                reason=f"it must be 1 (no retry) to {ATTEMPTS_MAX}, first included",
            )
        if self.backoff not in BACKOFFS:
            raise BadOption(option="backoff", value=self.backoff, reason=f"it must be one of {', '.join(BACKOFFS)}")
        if isinstance(self.factor, bool) or not isinstance(self.factor, int | float) or not 1 <= self.factor <= 1_000:
            raise BadOption(option="factor", value=self.factor, reason="it must be a number from 1 to 1000")
        if not isinstance(self.jitter, bool):
            raise BadOption(option="jitter", value=self.jitter, reason="it must be True or False")
        to_ms(self.base, option="base")
        to_ms(self.cap, option="cap")
        for option in ("on", "never"):
            object.__setattr__(self, option, _exception_types(option, getattr(self, option)))

    def policy(self) -> RetryPolicy:
        """What of this travels with a job; `on` and `never` stay here."""
        return RetryPolicy(
            attempts=self.attempts,
            backoff=self.backoff,
            base_ms=to_ms(self.base, option="base"),
            factor=float(self.factor),
            cap_ms=to_ms(self.cap, option="cap"),
            jitter=self.jitter,
        )

    def allows(self, error: BaseException) -> bool:
        """Whether another attempt may help after this exception; asked by the worker."""
        return isinstance(error, self.on) and not isinstance(error, self.never)


class When(NamedTuple):
    """A duration from the submit, or an instant UTC; in milliseconds, 0 for the other one, and both for never."""

    in_ms: int = 0
    at_ms: int = 0


NEVER: Final = When()


class SubmitOptions(TypedDict, total=False):
    """What `Task.options` takes, for type checkers. See `TaskOptions` for the meanings."""

    queue: str | None
    priority: int | Literal["high", "medium", "low"] | None
    delay: Duration | None
    at: datetime | int | None
    retry: Retry | int | None
    timeout: Duration | None
    deadline: Duration | datetime | None
    expires: Duration | datetime | None
    inherit: bool | None
    id: str | None
    keep: Duration | None
    headers: Mapping[str, str] | None


class TaskOptions(TypedDict, total=False):
    """What `@queue.task` takes.

    `name` of the task; `queue`, the lane; `priority` 0-9, higher first; `delay` before the first attempt; `retry`, a
    `Retry` or a number of attempts; `timeout` of one attempt; `deadline`, when the whole job must be over; `expires`,
    when it is not worth beginning any more; `inherit`, for a job that another submits, to have no later deadline than
    that one and to end with it where it is cancelled or expires; `executor`, where it runs: "async" for a coroutine
    function on the event loop, "thread" for a plain one, "process" for either in a process of its own; `keep`, how
    long the end of a job is kept; `headers`, text that travels with the job. Durations are counted from the submit. Of
    one submit only: `at`, the instant of the first attempt, and `id`, the caller's own name for the job.
    """

    name: str | None
    queue: str | None
    priority: int | Literal["high", "medium", "low"] | None
    delay: Duration | None
    retry: Retry | int | None
    timeout: Duration | None
    deadline: Duration | datetime | None
    expires: Duration | datetime | None
    inherit: bool | None
    executor: Executor | None
    keep: Duration | None
    headers: Mapping[str, str] | None


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


def task_options(given: Mapping[str, Any]) -> Options:
    """The layer of a declaration. Raises `BadOption` or `BadName`."""
    for option in ("id", "at"):
        if option in given:
            reason = "it belongs to one submit; give it by task.options()"
            raise BadOption(option=option, value=given[option], reason=reason)
    return _parse(given)


def default_options(given: Mapping[str, Any]) -> Options:
    """The layer of a queue's defaults. Raises `BadOption` or `BadName`."""
    if "name" in given:
        raise BadOption(option="name", value=given["name"], reason="tasks cannot share a name")
    return task_options(given)


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
    return _parse(given)


def merged(upper: Options, lower: Options) -> Options:
    """Two layers as one: what `upper` says, else what `lower` says; headers are merged key by key."""
    both: Options = {**lower, **upper}
    if upper.get("headers") and lower.get("headers"):
        both["headers"] = {**lower["headers"], **upper["headers"]}
    return both


class Plan(msgspec.Struct, frozen=True):
    """Everything a submit needs besides its arguments and its id, packed once.

    `own_id` is the caller's text, empty where the id is generated; `delay_ms` and `at_ms` are 0 where not given, and
    never both set; `headers` are packed; `extra` is what few submits have, and `inherit` is asked of children only.
    """

    queue: str
    task: str
    spec: Spec
    spec_bytes: bytes
    delay_ms: int = 0
    at_ms: int = 0
    own_id: str = ""
    headers: bytes = b""
    extra: Extra | None = None
    inherit: bool = False


def plan_for(task: str, options: Options, namespace: str) -> Plan:
    """The plan of submits of `task` with these options. Raises `BadName`, `BadOption` or `PayloadTooLarge`.

    The spec's bytes are shared by all plans that say the same, so `task.options(delay=5)` packs none.
    """
    retry = options.get("retry")
    spec, spec_bytes = _packed(
        namespace,
        options.get("queue", DEFAULT_QUEUE),
        task,
        options.get("priority", PRIORITY_DEFAULT),
        options.get("timeout", 0),
        options.get("keep", -1),
        _DEFAULT_POLICY if retry is None else _policy_of(retry),
    )
    headers = pack_headers(options.get("headers", {}))
    if len(headers) > HEADERS_BYTES_MAX:
        raise PayloadTooLarge(what=f"the headers of task {task}", size=len(headers), limit=HEADERS_BYTES_MAX)
    return Plan(
        spec.queue,
        task,
        spec,
        spec_bytes,
        options.get("delay", 0),
        options.get("at", 0),
        options.get("id", ""),
        headers,
        _terms(options),
        options.get("inherit", False),
    )


def _terms(options: Options) -> Extra | None:
    """When the job is over at last, and when it need not begin any more, as they travel."""
    expires, deadline = options.get("expires", NEVER), options.get("deadline", NEVER)
    if expires == deadline == NEVER:
        return None
    begins = When(options.get("delay", 0), options.get("at", 0))
    for option, end in (("expires", expires), ("deadline", deadline)):
        if 0 < end.in_ms <= begins.in_ms or 0 < end.at_ms <= begins.at_ms:
            late = "at" if begins.at_ms else "delay"
            raise BadOption(
                option=option, value=max(end), reason=f"in ms, it is over before {late}={max(begins)} begins"
            )
    return packed(
        {
            Key.EXPIRES: expires.in_ms,
            Key.EXPIRES_AT: expires.at_ms,
            Key.DEADLINE: deadline.in_ms,
            Key.DEADLINE_AT: deadline.at_ms,
        }
    )


@lru_cache(maxsize=4_096)
def _packed(
    namespace: str, queue: str, task: str, priority: int, timeout_ms: int, keep_ms: int, retry: RetryPolicy
) -> tuple[Spec, bytes]:
    spec = Spec(namespace, queue, task, priority, timeout_ms, keep_ms, retry)
    check_spec(spec)
    return spec, pack_spec(spec)


@lru_cache(maxsize=1_024)
def _policy_of(retry: Retry) -> RetryPolicy:
    return retry.policy()


def _parse(given: Mapping[str, Any]) -> Options:
    for option, value in given.items():
        if option not in _PARSERS:
            raise BadOption(option=option, value=value, reason=f"it is not known{_meant(option)}")
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
    if _is_int(value) and 0 <= value <= PRIORITY_MAX:
        return int(value)
    raise BadOption(
        option="priority", value=value, reason=f"it must be 0 to {PRIORITY_MAX}, or one of {', '.join(PRIORITIES)}"
    )


def _retry(value: Any) -> Retry:
    if isinstance(value, Retry):
        return value
    if _is_int(value):
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


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _exception_types(option: str, given: Any) -> tuple[type[Exception], ...]:
    kinds = given if isinstance(given, tuple) else tuple(given) if isinstance(given, list | set) else (given,)
    if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        raise BadOption(
            option=option, value=given, reason="it must be exception types, such as (OSError, TimeoutError)"
        )
    return kinds


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
}
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
    "retry": Retry(),
    "timeout": 0,
    "deadline": NEVER,
    "expires": NEVER,
    "inherit": False,
    "executor": "",
    "id": "",
    "keep": -1,
    "headers": {},
}
_DEFAULT_POLICY: Final = Retry().policy()
