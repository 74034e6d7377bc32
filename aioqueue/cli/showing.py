"""One job with all that is known of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from aioqueue.cli.outcome import out
from aioqueue.client.info import JobInfo
from aioqueue.client.queue import Queue
from aioqueue.clock import SystemClock
from aioqueue.errors import BadResult, ResultExpired
from aioqueue.model.ids import id_text
from aioqueue.model.views import Attempt, Failure
from aioqueue.monitor.documents import document, json_text
from aioqueue.monitor.text import age, long_age, plain

# A job that has ended answers at once.
_RESULT_SECONDS: Final = 10.0


async def show_job(queue: Queue, job_id: str, *, json: bool) -> None:
    """Print the job. Raises `JobNotFound` or `ResultExpired`."""
    async with queue:
        job = await queue.get(job_id)
        info = await job.info()
        known: dict[str, Any] = {}
        if info.state == "succeeded":
            # Without its result the rest of it can still be shown.
            with contextlib.suppress(BadResult, ResultExpired):
                known["result"] = await job.result(_RESULT_SECONDS)
    if json:
        out(json_text({**document(info), **known}, indent=2))
    else:
        out("\n".join(_lines(info, known, SystemClock().now().wall_ms)))


def _lines(info: JobInfo, known: dict[str, Any], now_ms: int) -> Iterator[str]:
    facts = {
        "id": info.id,
        "own id": plain(info.own_id or ""),
        "task": info.task,
        "state": info.state,
        "queue": info.queue if info.namespace == "default" else f"{info.queue} of namespace {info.namespace}",
        "priority": str(info.priority),
        "submitted": _moment(info.submitted_ms, now_ms),
        "due": _moment(info.due_ms, now_ms) if info.state == "scheduled" else "",
        "started": _moment(info.started_ms, now_ms),
        "finished": _moment(info.finished_ms, now_ms),
        "worker": plain(info.worker),
        "blocked": _blocked(info),
        "runs": f"{info.runs} ({info.failures} failed, {info.crashes} crashed)" if info.runs else "0",
        "retried": f"{info.generation} times by hand" if info.generation > 1 else "once by hand",
        "headers": plain(", ".join(f"{name}={value}" for name, value in sorted(info.headers.items()))),
    }
    if not info.generation:
        del facts["retried"]
    if "result" in known:
        facts["result"] = json_text(known["result"])
    for name, fact in facts.items():
        if fact:
            yield f"{name + ':':<11}{fact}"
    yield from _attempts(info.attempts)
    if info.failure is not None:
        yield from _failure(info.failure)


def _blocked(info: JobInfo) -> str:
    """Why a job that runs does not get on: the event loop of its worker stands still, in this job or in another."""
    if (block := info.blocked) is None:
        return ""
    place = f"at {plain(block.place)}, for {long_age(block.for_ms)}"
    if not block.job:
        return f"the event loop of its worker stands still, {plain(block.place)}, for {long_age(block.for_ms)}"
    if id_text(block.job) == info.id:
        return f"it blocks the event loop of its worker {place}"
    return f"job {id_text(block.job)} of task {plain(block.task)} blocks the event loop of its worker {place}"


def _attempts(attempts: tuple[Attempt, ...]) -> Iterator[str]:
    if attempts:
        yield "attempts:"
    for attempt in attempts:
        failure = attempt.failure
        why = f"  {plain(failure.type)}: {plain(failure.text)}" if failure is not None else ""
        took = age(attempt.ended_ms - attempt.started_ms)
        line = f"{attempt.run:>3}  {_iso(attempt.started_ms)}  {attempt.outcome:<9} after {took:<6}"
        yield f"  {line} on {plain(attempt.worker)}{why}"


def _failure(failure: Failure) -> Iterator[str]:
    yield f"failure:   {plain(failure.type)}: {plain(failure.text)}"
    for line in plain(failure.traceback.rstrip(), lines=True).split("\n") if failure.traceback else ():
        yield f"  {line}".rstrip()


def _moment(at_ms: int, now_ms: int) -> str:
    if not at_ms:
        return ""
    distance = f"in {long_age(at_ms - now_ms)}" if at_ms > now_ms else f"{long_age(now_ms - at_ms)} ago"
    return f"{_iso(at_ms)} ({distance})"


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
