"""One job with all that is known of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aioqueue.cli.arguments import WHOLE_BYTES, arguments_text
from aioqueue.cli.outcome import out
from aioqueue.cli.running import Named
from aioqueue.client.documents import document, json_text
from aioqueue.client.info import JobInfo
from aioqueue.client.queue import Queue
from aioqueue.clock import SystemClock
from aioqueue.errors import BadResult, ResultExpired
from aioqueue.limits import ARGS_SHOWN_BYTES_MAX
from aioqueue.model.ids import id_text
from aioqueue.model.views import Failure, Run
from aioqueue.monitor.text import age, long_age, plain

# A job that has ended answers at once.
_RESULT_SECONDS: Final = 10.0
_ARGS_WIDTH: Final = 200
_HEADS: Final = ("RUN", "ATTEMPT", "STARTED", "WAITED", "TOOK", "OUTCOME", "WORKER", "ERROR")


async def show_job(queue: Queue, named: Named, *, args_full: bool, json: bool) -> None:
    """Print the job. Raises `JobNotFound` or `ResultExpired`."""
    async with queue:
        job = await named.found_in(queue)
        # A line is cut here, a document is not.
        args_bytes = ARGS_SHOWN_BYTES_MAX if json and not args_full else WHOLE_BYTES
        info = await queue.session().questions.info(job.key, args_bytes=args_bytes)
        runs = await job.history()
        known: dict[str, Any] = {}
        if info.state == "succeeded":
            # Without its result the rest of it can still be shown.
            with contextlib.suppress(BadResult, ResultExpired):
                known["result"] = await job.result(_RESULT_SECONDS)
    if json:
        out(json_text({**document(info), "history": document(runs), **known}, indent=2))
    else:
        out("\n".join(described(info, runs, known, SystemClock().now().wall_ms, args_full=args_full)))


def described(
    info: JobInfo, history: Sequence[Run], known: dict[str, Any], now_ms: int, *, args_full: bool = False
) -> Iterator[str]:
    """The job in lines; `known` is its result, if it has one."""
    retries = info.generation - info.first_generation
    facts = {
        "id": info.id,
        "own id": plain(info.own_id or ""),
        "task": info.task,
        "args": arguments_text(info, 0 if args_full else _ARGS_WIDTH),
        "parent": info.parent or "",
        "state": info.state,
        "queue": info.queue if info.namespace == "default" else f"{info.queue} of namespace {info.namespace}",
        "priority": str(info.priority),
        "submitted": _moment(info.submitted_ms, now_ms),
        "due": _moment(info.due_ms, now_ms) if info.state == "scheduled" else "",
        "expires": _moment(info.expires_ms, now_ms),
        "deadline": _moment(info.deadline_ms, now_ms),
        "started": _moment(info.started_ms, now_ms),
        "finished": _moment(info.finished_ms, now_ms),
        "why": plain(info.note),
        "waits": plain(info.unserved),
        "worker": plain(info.worker),
        "blocked": _blocked(info),
        "deaf": _deaf(info),
        "runs": f"{info.runs} ({info.failures} failed, {info.crashes} crashed)" if info.runs else "0",
        "retried": f"{retries} times by hand" if retries > 1 else "once by hand",
        "headers": plain(", ".join(f"{name}={value}" for name, value in sorted(info.headers.items()))),
    }
    if not retries:
        del facts["retried"]
    if "result" in known:
        facts["result"] = json_text(known["result"])
    for name, fact in facts.items():
        if fact:
            yield f"{name + ':':<11}{fact}"
    yield from _history(history, info.first_generation, now_ms)
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


def _deaf(info: JobInfo) -> str:
    """What nobody would expect of a job that is over, or that runs somewhere else by now."""
    return f"a run of it heeds no cancellation and still goes on, on {plain(', '.join(info.deaf_at))}" * bool(
        info.deaf_at
    )


def _history(runs: Sequence[Run], first: int, now_ms: int) -> Iterator[str]:
    """Every run on a line. Those before a retry by hand count from 1 too, so they are set apart."""
    rows = [_run(run, now_ms) for run in runs]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    if rows:
        yield _row(_HEADS, widths)
    generation = first
    for run, row in zip(runs, rows, strict=True):
        if run.generation != generation:
            generation = run.generation
            yield f"retried by hand ({generation - first}):"
        yield _row(row, widths)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    numbers = [cell.rjust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    return "  ".join([*numbers, *map(str.ljust, cells[2:], widths[2:])]).rstrip()


def _run(run: Run, now_ms: int) -> tuple[str, ...]:
    failure = run.failure
    took = run.duration_ms
    return (
        str(run.run),
        str(run.attempt),
        _iso(run.started_ms),
        age(run.started_ms - run.queued_ms) if run.queued_ms else "-",
        age(now_ms - run.started_ms if took is None else took),
        run.outcome,
        plain(run.worker),
        plain(f"{failure.type}: {failure.text}") if failure is not None else "",
    )


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
