"""Deciding about jobs that are named by their ids: cancel them, or submit them again.

A job that is refused keeps nobody from the others: it is told on stderr, and by the exit code. A broker that does not
answer ends the command. Called by `jobs`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aioqueue.cli.outcome import DONE, FAILED, out, say
from aioqueue.cli.running import Named
from aioqueue.client.documents import json_text
from aioqueue.client.job import Job
from aioqueue.client.queue import Queue
from aioqueue.errors import BadOption, Refused
from aioqueue.model.durations import to_ms
from aioqueue.monitor.text import plain, short

REASON_CHARACTERS_MAX: Final = 4_096
_SHOWN: Final = 80


async def cancel_jobs(queue: Queue, named: Sequence[Named], reason: str, *, wait: str, json: bool) -> int:
    """Cancel, say how it went, and give the exit code. Raises `BadOption`, and what connecting raises."""
    if len(reason) > REASON_CHARACTERS_MAX or not reason.isprintable():
        why = f"it must be at most {REASON_CHARACTERS_MAX} characters on one line"
        raise BadOption(option="reason", value=short(plain(reason), _SHOWN), reason=why)
    seconds = to_ms(wait, option="wait") / 1000 if wait else None

    async def cancel(job: Job[Any]) -> str:
        return await job.cancel(reason, wait=seconds)

    return await _each(queue, named, cancel, json)


async def retry_jobs(queue: Queue, named: Sequence[Named], *, json: bool) -> int:
    """Submit again, say so, and give the exit code. Raises what connecting raises."""

    async def retry(job: Job[Any]) -> str:
        await job.retry()
        return "submitted"

    return await _each(queue, named, retry, json)


async def _each(queue: Queue, named: Sequence[Named], act: Callable[[Job[Any]], Awaitable[str]], json: bool) -> int:
    code = DONE
    async with queue:
        for one in dict.fromkeys(named):
            try:
                job = await one.found_in(queue)
                outcome = await act(job)
            except Refused as error:
                say(error)
                code = FAILED
                continue
            if json:
                out(json_text({"id": job.id, "outcome": outcome}))
            else:
                out(outcome if len(named) == 1 else f"{job.id} {outcome}")
    return code
