"""What `submit --wait` says on stderr while the job has no end: its failures as they come, and what it waits for.

It looks once a second; a job that ends at once is never looked at. Whoever waits calls, and cancels it at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from aioqueue.cli.outcome import say
from aioqueue.client.info import JobInfo
from aioqueue.client.job import Job
from aioqueue.client.queue import Queue
from aioqueue.clock import SystemClock
from aioqueue.errors import AioqueueError
from aioqueue.model.views import Attempt, Statistics
from aioqueue.monitor.text import count, long_age

LOOK_SECONDS: Final = 1.0
# A job that waits so long is worth a word; most have begun by then.
PATIENT_SECONDS: Final = 3.0
_OVER: Final = frozenset({"succeeded", "dead", "cancelled", "expired"})


async def tell_while_waiting(
    queue: Queue, job: Job[Any], *, reasons: bool, look_seconds: float = LOOK_SECONDS,
    patient_seconds: float = PATIENT_SECONDS,
) -> None:  # fmt: skip
    """Until cancelled, or the job is over. A broker that is away meanwhile is no reason to say anything.

    `reasons` are for a person who sits there: a script is told of failures only.
    """
    patient_at = asyncio.get_running_loop().time() + patient_seconds
    failures = Failures()
    said = ""
    while True:
        await asyncio.sleep(look_seconds)
        with contextlib.suppress(AioqueueError):
            info = await queue.session().questions.info(job.key)
            for line in failures.new_in(info):
                say(line)
            if info.state in _OVER:
                return
            if reasons and asyncio.get_running_loop().time() >= patient_at and info.state != said:
                # Once for each state: what it waits for changes all the time, and this is no monitor.
                said = info.state
                say(f"job {info.id} of task {info.task}: {waits_for(info, await _picture(queue))}")


class Failures:
    """The runs that were told of, those before a retry by hand not among them."""

    def __init__(self) -> None:
        self._told: set[int] = set()

    def new_in(self, info: JobInfo) -> list[str]:
        """A line for each run that has ended badly since. The last one of a dead job is told by its end."""
        ended = [attempt for attempt in info.attempts if attempt.outcome in ("failed", "crashed")]
        fresh = [attempt for attempt in ended if attempt.run not in self._told]
        self._told.update(attempt.run for attempt in fresh)
        last = ended[-1] if ended else None
        if info.state in _OVER:
            fresh = [attempt for attempt in fresh if attempt is not last]
        return [f"{_ended(attempt)}{_again(info) if attempt is last else ''}" for attempt in fresh]


def waits_for(info: JobInfo, picture: Statistics | None) -> str:
    """Why it has no end yet, as far as can be seen."""
    now_ms = SystemClock().now().wall_ms
    if info.state == "scheduled":
        until = f"in {long_age(info.due_ms - now_ms)}" if info.due_ms > now_ms else "now"
        return f"it is tried again {until}" if info.failures else f"it is due {until}"
    if info.state == "running":
        blocked = f", whose event loop stands still at {info.blocked.place}" if info.blocked is not None else ""
        return f"it runs since {long_age(now_ms - info.started_ms)} on {info.worker}{blocked}"
    if info.state == "ready":
        return f"it waits in queue {info.queue}{_why_ready(info, picture)}"
    return f"it is {info.state}"


def _why_ready(info: JobInfo, picture: Statistics | None) -> str:
    if info.unserved:
        return f": {info.unserved}; start one with `aioqueue worker MODULE:QUEUE`"
    if picture is None:
        return ""
    takers = [worker for worker in picture.workers if worker.all_queues or info.queue in worker.queues]
    # Those that are not named may be of any queue.
    if picture.workers_left_out or any(worker.queues_left_out for worker in picture.workers):
        return ""
    if not takers:
        # Of a broker that does not say why.
        return ", from which no connected worker takes jobs; start one with `aioqueue worker MODULE:QUEUE`"
    slots = sum(worker.slots + worker.process_slots for worker in takers)
    busy = sum(worker.running for worker in takers)
    ready = next((each.ready for each in picture.queues if each.queue == info.queue), 1)
    others = f", with {count(ready - 1)} others" if ready > 1 else ""
    return f"{others}; {count(busy)} of {count(slots)} slots of its workers are busy"


async def _picture(queue: Queue) -> Statistics | None:
    async with contextlib.aclosing(queue.statistics()) as pictures:
        return await anext(pictures, None)


def _ended(attempt: Attempt) -> str:
    if attempt.failure is None:
        return f"run {attempt.run} was lost with its worker {attempt.worker}"
    failure = attempt.failure
    return f"run {attempt.run} failed on {attempt.worker}: {failure.type}: {failure.text}"


def _again(info: JobInfo) -> str:
    ms = info.due_ms - SystemClock().now().wall_ms
    if info.state == "scheduled" and ms > 0:
        return f"; again in {ms / 1_000:.1f} s" if ms < 60_000 else f"; again in {long_age(ms)}"
    # It may have waited: it was not looked at meanwhile.
    return "; again now"
