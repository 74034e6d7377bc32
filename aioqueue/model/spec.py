"""What many jobs share: queue, task, priority, retry policy, timeout, retention.

A spec is packed once by the client that submits, travels and is journaled as those bytes, and is interned by them, so
a million jobs of one task hold one `Spec`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from aioqueue.errors import BadOption, MalformedFrame, PayloadTooLarge
from aioqueue.limits import ATTEMPTS_MAX, DURATION_MS_MAX, PRIORITY_DEFAULT, PRIORITY_MAX, SPEC_BYTES_MAX
from aioqueue.model.names import check_name

BACKOFFS: Final = ("exponential", "linear", "constant")


class RetryPolicy(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When a failed attempt is followed by another; see `backoff_ms` in `core.backoff` for the formula."""

    attempts: int = 5
    backoff: str = "exponential"
    base_ms: int = 1_000
    factor: float = 2.0
    cap_ms: int = 300_000
    jitter: bool = True


class Spec(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The options that a job shares with others of its task.

    `timeout_ms` bounds one attempt, 0 means none. `keep_ms` is how long its end is kept, -1 means the broker's rule.
    """

    namespace: str
    queue: str
    task: str
    priority: int = PRIORITY_DEFAULT
    timeout_ms: int = 0
    keep_ms: int = -1
    retry: RetryPolicy = RetryPolicy()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Spec)


def pack_spec(spec: Spec) -> bytes:
    """The bytes by which a spec travels and is journaled."""
    return _encoder.encode(spec)


def unpack_spec(data: bytes) -> Spec:
    """A spec that another process packed, checked; `MalformedFrame`, `BadName`, `BadOption` or `PayloadTooLarge`."""
    if len(data) > SPEC_BYTES_MAX:
        raise PayloadTooLarge(what="the spec of a job", size=len(data), limit=SPEC_BYTES_MAX)
    try:
        spec = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedFrame(reason=f"a job's spec: {error}") from None
    check_spec(spec)
    return spec


def check_spec(spec: Spec) -> None:
    """Raise `BadName` or `BadOption` for what no job may have."""
    check_name("namespace", spec.namespace)
    check_name("queue", spec.queue)
    check_name("task", spec.task)
    if not 0 <= spec.priority <= PRIORITY_MAX:
        raise BadOption(option="priority", value=spec.priority, reason=f"it must be 0 to {PRIORITY_MAX}")
    if not 0 <= spec.timeout_ms <= DURATION_MS_MAX:
        raise BadOption(option="timeout", value=spec.timeout_ms, reason="it must be 0 ms to 100 years")
    if not -1 <= spec.keep_ms <= DURATION_MS_MAX:
        raise BadOption(option="keep", value=spec.keep_ms, reason="it must be 0 ms to 100 years")
    retry = spec.retry
    if not 1 <= retry.attempts <= ATTEMPTS_MAX:
        raise BadOption(option="retry", value=retry.attempts, reason=f"attempts must be 1 to {ATTEMPTS_MAX}")
    if retry.backoff not in BACKOFFS:
        raise BadOption(option="retry", value=retry.backoff, reason=f"backoff must be one of {', '.join(BACKOFFS)}")
    if not (0 <= retry.base_ms <= DURATION_MS_MAX and 0 <= retry.cap_ms <= DURATION_MS_MAX):
        raise BadOption(
            option="retry", value=[retry.base_ms, retry.cap_ms], reason="base and cap must be 0 ms to 100 years"
        )
    if not 1.0 <= retry.factor <= 1_000.0:
        raise BadOption(option="retry", value=retry.factor, reason="factor must be 1 to 1000")
