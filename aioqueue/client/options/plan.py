"""`Plan`: all options of a submit as they travel, packed once for any number of jobs. Asked for by tasks."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from aioqueue.client.options.layers import DEFAULT_QUEUE, NEVER, Options, When
from aioqueue.client.options.retry import Retry
from aioqueue.errors import BadOption, PayloadTooLarge
from aioqueue.limits import HEADERS_BYTES_MAX, PRIORITY_DEFAULT
from aioqueue.model.bodies import pack_headers
from aioqueue.model.spec import RetryPolicy, Spec, check_spec, pack_spec
from aioqueue.protocol.extras import Key, packed
from aioqueue.protocol.messages import Extra

_DEFAULT_POLICY: Final = Retry().policy()


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
        options.get("labels", ()),
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
    namespace: str,
    queue: str,
    task: str,
    priority: int,
    timeout_ms: int,
    keep_ms: int,
    retry: RetryPolicy,
    labels: tuple[str, ...],
) -> tuple[Spec, bytes]:
    spec = Spec(namespace, queue, task, priority, timeout_ms, keep_ms, retry, labels)
    check_spec(spec)
    return spec, pack_spec(spec)


@lru_cache(maxsize=1_024)
def _policy_of(retry: Retry) -> RetryPolicy:
    return retry.policy()
