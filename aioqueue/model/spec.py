"""What many jobs share: queue, task, priority, retry policy, timeout, retention.

A spec is packed once by the client that submits, travels and is journaled as those bytes, and is interned by them, so
a million jobs of one task hold one `Spec`. It is opaque to the journal, so whoever reads it must know all of it: a spec
with more fields than are known here was packed by a newer aioqueue, and is refused, not read without them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from aioqueue.errors import BadOption, MalformedFrame, PayloadTooLarge, Unsupported
from aioqueue.limits import (
    ATTEMPTS_MAX,
    DURATION_MS_MAX,
    PRIORITY_DEFAULT,
    PRIORITY_MAX,
    SPEC_BYTES_MAX,
)
from aioqueue.model.growth import Shapes, shortened
from aioqueue.model.labels import check_labels
from aioqueue.model.names import check_name

BACKOFFS: Final = ("exponential", "linear", "constant")


class RetryPolicy(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """When a failed attempt is followed by another; see `backoff_ms` in `core.backoff` for the formula."""

    attempts: int = 5
    backoff: str = "exponential"
    base_ms: int = 1_000
    factor: float = 2.0
    cap_ms: int = 300_000
    jitter: bool = True


class Spec(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The options that a job shares with others of its task.

    `timeout_ms` bounds one attempt, 0 means none. `keep_ms` is how long its end is kept, -1 means the broker's rule.
    Only a worker that has all of the `labels` gets the job.
    """

    namespace: str
    queue: str
    task: str
    priority: int = PRIORITY_DEFAULT
    timeout_ms: int = 0
    keep_ms: int = -1
    retry: RetryPolicy = RetryPolicy()
    labels: tuple[str, ...] = ()


# How many fields were there at first: those are always written.
SPEC_FIELDS: Final[dict[type, int]] = {Spec: 7, RetryPolicy: 6}

# As many as a broker may meet in one journal before it forgets that it has looked at one.
_SPECS_LOOKED_AT: Final = 1_000

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Spec)
_shapes = Shapes(Spec)


def pack_spec(spec: Spec) -> bytes:
    """The bytes by which a spec travels and is journaled."""
    return _encoder.encode(shortened(spec, SPEC_FIELDS))


def unpack_spec(data: bytes) -> Spec:
    """A spec that another process packed, checked.

    Raises `Unsupported` for a newer version's, and `MalformedFrame`, `BadName`, `BadOption` or `PayloadTooLarge`.
    """
    if len(data) > SPEC_BYTES_MAX:
        raise PayloadTooLarge(what="the spec of a job", size=len(data), limit=SPEC_BYTES_MAX)
    try:
        spec = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if newer := _shapes.newer_in(data):
            raise Unsupported(what=f"all options in a job's spec ({newer})") from None
        raise MalformedFrame(reason=f"a job's spec: {error}") from None
    check_spec(spec)
    return spec


@lru_cache(maxsize=_SPECS_LOOKED_AT)
def newer_spec(data: bytes) -> str:
    """What of a packed spec is of a newer version; empty where nothing is, be it sound or not."""
    try:
        _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _shapes.newer_in(data)
    return ""


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
    if spec.labels:
        check_labels(spec.labels)
