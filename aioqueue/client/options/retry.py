"""`Retry`: when a failed attempt is followed by another. Checked where it is written.

How often and how long to wait travels with the job, as a `RetryPolicy`; which exceptions are worth it stays in the
program, for its worker to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from aioqueue.errors import BadOption
from aioqueue.limits import ATTEMPTS_MAX
from aioqueue.model.durations import Duration, to_ms
from aioqueue.model.spec import BACKOFFS, RetryPolicy

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
        if not is_int(self.attempts) or not 1 <= self.attempts <= ATTEMPTS_MAX:
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


def is_int(value: Any) -> bool:
    """Whether it is a whole number; True and False are none here."""
    return isinstance(value, int) and not isinstance(value, bool)


def _exception_types(option: str, given: Any) -> tuple[type[Exception], ...]:
    kinds = given if isinstance(given, tuple) else tuple(given) if isinstance(given, list | set) else (given,)
    if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        raise BadOption(
            option=option, value=given, reason="it must be exception types, such as (OSError, TimeoutError)"
        )
    return kinds
