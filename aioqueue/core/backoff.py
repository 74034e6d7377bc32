"""When a failed attempt is tried again."""

from __future__ import annotations

import zlib
from typing import Final

from aioqueue.model.spec import RetryPolicy

# Spread over a tenth either way: enough to part a herd, little enough to be predictable.
JITTER_PERMILLE: Final = 100


def backoff_ms(policy: RetryPolicy, job_id: bytes, failures: int) -> int:
    """The pause after the `failures`-th failure, in milliseconds, rounded up.

    `exponential`: base * factor ** (failures - 1); `linear`: base * failures; `constant`: base; at most the cap.
    With jitter the pause is multiplied by 0.9 to 1.1, chosen by a hash of job and failure, so that the same history
    gives the same pause; jitter may lift it above the cap by a tenth.
    """
    if policy.backoff == "constant":
        pause: float = policy.base_ms
    elif policy.backoff == "linear":
        pause = policy.base_ms * failures
    else:
        try:
            pause = policy.base_ms * policy.factor ** (failures - 1)
        except OverflowError:
            # No pause grows to no pause.
            pause = policy.cap_ms if policy.base_ms else 0
    pause = min(pause, policy.cap_ms)
    if policy.jitter:
        spread = zlib.crc32(job_id + failures.to_bytes(4, "big")) % (2 * JITTER_PERMILLE + 1) - JITTER_PERMILLE
        pause = pause * (1000 + spread) / 1000
    return -int(-pause // 1)
