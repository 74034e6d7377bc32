"""Deciding about one job: cancel it, or submit it again."""

from __future__ import annotations

from typing import Final

from aioqueue.cli.outcome import out
from aioqueue.cli.running import Named
from aioqueue.client.documents import json_text
from aioqueue.client.queue import Queue
from aioqueue.errors import BadOption
from aioqueue.model.durations import to_ms
from aioqueue.monitor.text import plain, short

REASON_CHARACTERS_MAX: Final = 4_096
_SHOWN: Final = 80


async def cancel_job(queue: Queue, named: Named, reason: str, *, wait: str, json: bool) -> None:
    """Cancel and say how it went. Raises `JobNotFound`, `ResultExpired` or `BadOption`."""
    if len(reason) > REASON_CHARACTERS_MAX or not reason.isprintable():
        why = f"it must be at most {REASON_CHARACTERS_MAX} characters on one line"
        raise BadOption(option="reason", value=short(plain(reason), _SHOWN), reason=why)
    seconds = to_ms(wait, option="wait") / 1000 if wait else None
    async with queue:
        job = await named.found_in(queue)
        outcome = await job.cancel(reason, wait=seconds)
    out(json_text({"id": job.id, "outcome": outcome}) if json else outcome)


async def retry_job(queue: Queue, named: Named, *, json: bool) -> None:
    """Submit again and say so. Raises `JobNotFound`, `ResultExpired` or `NotRetryable`."""
    async with queue:
        job = await named.found_in(queue)
        await job.retry()
    out(json_text({"id": job.id, "outcome": "submitted"}) if json else "submitted")
