"""Many jobs, a line each, or as one JSON array; written as they come, however many there are."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from aioqueue.cli.outcome import out, say
from aioqueue.client.documents import document, json_text
from aioqueue.client.filters import Filter, make_filter
from aioqueue.client.info import JobInfo, friendly
from aioqueue.client.queue import Queue
from aioqueue.clock import SystemClock
from aioqueue.monitor.text import age, plain, short

# Columns fit the rows of one block, so that a million jobs need not be held to be shown.
_BLOCK_ROWS: Final = 1_000
_HEADS: Final = ("ID", "STATE", "TASK", "QUEUE", "PRIORITY", "SUBMITTED", "TOOK", "RUNS", "OWN ID", "NOTE")
_RIGHT: Final = frozenset({"PRIORITY", "SUBMITTED", "TOOK", "RUNS"})
_OWN_ID_WIDTH: Final = 40
_NOTE_WIDTH: Final = 120
_GAP: Final = "  "


class Wanted(NamedTuple):
    """Which jobs, as it was written: any where empty, and at most `limit` of them unless it is None."""

    states: Sequence[str] = ()
    queue: str = ""
    task: str = ""
    since: str = ""
    until: str = ""
    id: str = ""
    error: str = ""
    limit: int | None = None

    def filter(self) -> Filter:
        """What is asked of the broker. Raises `BadOption` or `BadName`."""
        return make_filter(
            SystemClock().now().wall_ms,
            state=self.states or None, queue=self.queue, task=self.task, since=self.since or None,
            until=self.until or None, id=self.id, error=self.error,
        )  # fmt: skip


async def list_jobs(queue: Queue, wanted: Wanted, *, json: bool) -> None:
    """Print the jobs. Raises `BadOption` for a state that there is not, `BadName` for what names no lane or task."""
    where = wanted.filter()
    async with queue:
        # One more than is shown tells whether there are more.
        found = _infos(queue, where, wanted.limit + 1 if wanted.limit is not None else None)
        told = await (_write_json if json else _write_table)(found, wanted.limit)
    if told.more:
        say(f"only the first {told.shown} are shown; --all shows all")
    elif not told.shown:
        # An empty list alone looks the same for a namespace or a filter that was mistyped.
        filtered = wanted._replace(limit=None) != Wanted()
        say(f"no jobs in namespace {queue.namespace}{' match these filters' if filtered else ''}")


async def _infos(queue: Queue, where: Filter, limit: int | None) -> AsyncIterator[JobInfo]:
    async with aclosing(queue.session().questions.pages(where, limit)) as pages:
        async for page in pages:
            for info in page.jobs:
                yield friendly(info)


class _Told(NamedTuple):
    """How many jobs were shown, and whether there are more."""

    shown: int
    more: bool


async def _write_json(found: AsyncIterator[JobInfo], limit: int | None) -> _Told:
    shown = 0
    separator = "["
    async for info in found:
        if shown == limit:
            out("]" if shown else "[]")
            return _Told(shown, True)
        sys.stdout.write(f"{separator}{json_text(document(info))}")
        separator = ",\n"
        shown += 1
    out("]" if shown else "[]")
    return _Told(shown, False)


async def _write_table(found: AsyncIterator[JobInfo], limit: int | None) -> _Told:
    now_ms = SystemClock().now().wall_ms
    rows: list[tuple[str, ...]] = []
    shown = 0
    async for info in found:
        if shown == limit:
            _write_rows(rows, heads=shown <= _BLOCK_ROWS)
            return _Told(shown, True)
        shown += 1
        rows.append(_row(info, now_ms))
        if len(rows) == _BLOCK_ROWS:
            _write_rows(rows, heads=shown == _BLOCK_ROWS)
            rows.clear()
    if rows or not shown:
        _write_rows(rows, heads=shown <= _BLOCK_ROWS)
    return _Told(shown, False)


def _row(info: JobInfo, now_ms: int) -> tuple[str, ...]:
    ended_ms = info.finished_ms or now_ms
    return (
        info.id,
        info.state,
        info.task,
        info.queue,
        str(info.priority),
        f"{age(now_ms - info.submitted_ms)} ago",
        age(ended_ms - info.started_ms) if info.started_ms else "-",
        str(info.runs),
        short(plain(info.own_id), _OWN_ID_WIDTH) if info.own_id else "-",
        short(plain(_note(info, now_ms)), _NOTE_WIDTH),
    )


def _note(info: JobInfo, now_ms: int) -> str:
    if info.state == "scheduled":
        due = f"due in {age(info.due_ms - now_ms)}" if info.due_ms > now_ms else "due"
        return f"{due}, after {info.failure.type}: {info.failure.text}" if info.failure is not None else due
    if info.note:
        return info.note
    if info.failure is not None and info.state != "succeeded":
        return f"{info.failure.type}: {info.failure.text}"
    return f"on {info.worker}" if info.state in {"running", "stopping"} else ""


def _write_rows(rows: Sequence[tuple[str, ...]], *, heads: bool) -> None:
    lines = [_HEADS, *rows] if heads else list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    screen = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in lines:
        text = _GAP.join(_cells(line, widths)).rstrip()
        sys.stdout.write(f"{short(text, screen) if screen else text}\n")
    sys.stdout.flush()


def _cells(line: Iterable[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if head in _RIGHT else cell.ljust(width)
        for head, cell, width in zip(_HEADS, line, widths, strict=True)
    ]
