"""Many jobs, a line each, or as one JSON array; written as they come, however many there are."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from aioqueue.cli.arguments import Arguments, arguments_text, with_all_arguments
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
_ARGS_HEAD: Final = "ARGS"
_ARGS_WIDTH: Final = 60
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


async def list_jobs(queue: Queue, wanted: Wanted, arguments: Arguments, *, json: bool) -> None:
    """Print the jobs. Raises `BadOption` for a state that there is not, `BadName` for what names no lane or task."""
    where = wanted.filter()
    async with queue:
        # One more than is shown tells whether there are more.
        found = _infos(queue, where, wanted.limit + 1 if wanted.limit is not None else None, arguments)
        told = await (_write_json(found, wanted.limit) if json else _Table(arguments).write(found, wanted.limit))
    if told.more:
        say(f"only the first {told.shown} are shown; --all shows all")
    elif not told.shown:
        # An empty list alone looks the same for a namespace or a filter that was mistyped.
        filtered = wanted._replace(limit=None) != Wanted()
        say(f"no jobs in namespace {queue.namespace}{' match these filters' if filtered else ''}")


async def _infos(queue: Queue, where: Filter, limit: int | None, arguments: Arguments) -> AsyncIterator[JobInfo]:
    questions = queue.session().questions
    async with aclosing(questions.pages(where, limit, args_bytes=arguments.listed_bytes)) as pages:
        async for page in pages:
            for info in map(friendly, page.jobs):
                yield await with_all_arguments(questions, info) if arguments is Arguments.FULL else info


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


class _Table:
    """A line a job, with its arguments where they are wanted; heads stand above the first block."""

    def __init__(self, arguments: Arguments) -> None:
        self._arguments = arguments
        # Before the note, which may be long.
        self._heads = _HEADS if arguments is Arguments.NONE else (*_HEADS[:-1], _ARGS_HEAD, _HEADS[-1])
        self._headed = False

    async def write(self, found: AsyncIterator[JobInfo], limit: int | None) -> _Told:
        now_ms = SystemClock().now().wall_ms
        rows: list[tuple[str, ...]] = []
        shown = 0
        more = False
        async for info in found:
            if shown == limit:
                more = True
                break
            shown += 1
            rows.append(self._row(info, now_ms))
            if len(rows) == _BLOCK_ROWS:
                self._write_rows(rows)
                rows.clear()
        if rows or not shown:
            self._write_rows(rows)
        return _Told(shown, more)

    def _row(self, info: JobInfo, now_ms: int) -> tuple[str, ...]:
        ended_ms = info.finished_ms or now_ms
        width = 0 if self._arguments is Arguments.FULL else _ARGS_WIDTH
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
            *(() if self._arguments is Arguments.NONE else (arguments_text(info, width),)),
            short(plain(_note(info, now_ms)), _NOTE_WIDTH),
        )

    def _write_rows(self, rows: Sequence[tuple[str, ...]]) -> None:
        lines = list(rows) if self._headed else [self._heads, *rows]
        self._headed = True
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        cut = sys.stdout.isatty() and self._arguments is not Arguments.FULL
        screen = shutil.get_terminal_size().columns if cut else 0
        for line in lines:
            text = _GAP.join(self._cells(line, widths)).rstrip()
            sys.stdout.write(f"{short(text, screen) if screen else text}\n")
        sys.stdout.flush()

    def _cells(self, line: Iterable[str], widths: Sequence[int]) -> list[str]:
        return [
            cell.rjust(width) if head in _RIGHT else cell.ljust(width)
            for head, cell, width in zip(self._heads, line, widths, strict=True)
        ]


def _note(info: JobInfo, now_ms: int) -> str:
    if info.state == "scheduled":
        due = f"due in {age(info.due_ms - now_ms)}" if info.due_ms > now_ms else "due"
        return f"{due}, after {info.failure.type}: {info.failure.text}" if info.failure is not None else due
    if info.note:
        return info.note
    if info.failure is not None and info.state != "succeeded":
        return f"{info.failure.type}: {info.failure.text}"
    return f"on {info.worker}" if info.state in {"running", "stopping"} else ""
