"""One view of a broker as a picture for a terminal. Pure: the same statistics give the same picture.

Names, errors and all else that jobs brought along goes through `plain` and into `Text`, which knows no markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from rich.console import Group, RenderableType
from rich.text import Text

from aioqueue.limits import LOOP_BLOCKED_MS, SLOW_FROM
from aioqueue.model.ids import ID_END_BYTES, id_text
from aioqueue.model.sizes import size_text
from aioqueue.model.views import (
    AdmissionStatistics,
    QueueStatistics,
    RecentFailure,
    RunningJob,
    Statistics,
    WorkerStatistics,
)
from aioqueue.monitor.rates import Rates, rates, window_ms
from aioqueue.monitor.sheet import Column, Sheet
from aioqueue.monitor.text import age, count, long_age, plain, rate, short

T = TypeVar("T")

# Above the first section; and what a section needs besides its rows: an empty line, its title, its column heads.
_HEADER_LINES: Final = 2
_SECTION_LINES: Final = 3
_ROWS_MIN: Final = 4
_QUEUES_A_WORKER_SHOWN: Final = 3
_NAME_WIDTH: Final = 40
_BAR_CHARACTERS: Final = 10
_ERROR_WIDTH: Final = 200


def render(
    statistics: Statistics,
    previous: Statistics | None = None,
    *,
    url: str = "",
    connected: bool = True,
    height: int | None = None,
) -> RenderableType:
    """The whole screen: header, queues, workers, what blocks them, running jobs, recent failures.

    Rates come from the difference to `previous`, over the time that is said with them, and are dashes without one.
    `height` is how many lines there are; the rows share them, and what does not fit is counted. None shows all rows.
    """
    queues, workers = statistics.queues, statistics.workers
    running, failures = statistics.running, statistics.failures
    blocked = [worker for worker in workers if worker.blocked is not None]
    wanted = [len(queues), len(workers), len(running), len(failures), *([len(blocked)] if blocked else [])]
    fits = wanted if height is None else share(wanted, height - _HEADER_LINES - _SECTION_LINES * len(wanted))
    return Group(
        _header(statistics, url, connected),
        _summary(statistics),
        *_queues(
            _busiest(queues, fits[0]),
            len(queues) + statistics.queues_left_out,
            rates(statistics, previous),
            window_ms(statistics, previous),
        ),
        *_workers(workers[: fits[1]], len(workers) + statistics.workers_left_out),
        *(_blocked(blocked[: fits[4]], len(blocked)) if blocked else ()),
        *_running(running[: fits[2]], sum(queue.running for queue in queues)),
        *_failures(failures[: fits[3]], len(failures), statistics.at_ms),
    )


def share(wanted: Sequence[int], room: int) -> list[int]:
    """Lines for each of several lists that want some: as equal as can be, and none more than it wants."""
    room = max(room, _ROWS_MIN)
    given = [0] * len(wanted)
    while room > 0 and given != list(wanted):
        for index, most in enumerate(wanted):
            if given[index] < most and room > 0:
                given[index] += 1
                room -= 1
    return given


def _busiest(queues: Sequence[QueueStatistics], most: int) -> list[QueueStatistics]:
    """The queues that are shown, in their own order; where not all fit, those with the most jobs."""
    if len(queues) <= most:
        return list(queues)
    ranked = sorted(
        range(len(queues)), key=lambda index: -(queues[index].ready + queues[index].running + queues[index].scheduled)
    )
    return [queues[index] for index in sorted(ranked[:most])]


def _header(statistics: Statistics, url: str, connected: bool) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append("aioqueue", style="bold")
    line.append(f"  {plain(url)}" if url else "")
    if not connected:
        # Ahead of what a narrow terminal cuts off: the rest is old news then.
        line.append("  reconnecting", style="bold red")
    line.append(f"  up {long_age(statistics.at_ms - statistics.started_ms)}")
    line.append(f"  position {statistics.position:,}  {_number(statistics.sessions, 'session')}")
    line.append(f"  {datetime.fromtimestamp(statistics.at_ms / 1000, UTC):%H:%M:%S} UTC", style="dim")
    return line


def _summary(statistics: Statistics) -> Text:
    queues = statistics.queues
    parts = (
        ("ready", sum(queue.ready for queue in queues), "yellow"),
        ("scheduled", sum(queue.scheduled for queue in queues), "cyan"),
        ("running", sum(queue.running - queue.stopping for queue in queues), "green"),
        ("stopping", sum(queue.stopping for queue in queues), "yellow"),
        ("slots", sum(worker.slots + worker.process_slots for worker in statistics.workers), ""),
        ("succeeded", sum(queue.succeeded for queue in queues), ""),
        ("dead", sum(queue.dead for queue in queues), "red"),
    )
    line = Text(no_wrap=True, overflow="ellipsis")
    for label, number, style in parts:
        line.append(f"{label} ", style="dim").append(f"{count(number)}   ", style=style if number else "dim")
    if (full := _full(statistics.admission)) is not None:
        # Ahead of the rest, for nothing new comes in, or soon will not.
        line = full.append("   ").append(line)
    return line


def _full(admission: AdmissionStatistics | None) -> Text | None:
    """What keeps new jobs out, or is about to; None while there is room."""
    if admission is None:
        return None
    if admission.disk_low:
        return Text(f"disk low: {size_text(admission.disk_free)} free, no new jobs", style="bold red")
    fullness = max(admission.jobs / admission.jobs_max, admission.size / admission.size_max)
    if fullness < SLOW_FROM:
        return None
    # Cut rather than rounded: it is full at 100 %, and not before.
    return Text(f"backlog {int(fullness * 100)} %", style="bold red" if fullness >= 1 else "bold yellow")


def _queues(
    queues: Sequence[QueueStatistics], total: int, per_second: dict[tuple[str, str], Rates], window: int
) -> list[RenderableType]:
    table = Sheet(
        Column("queue", flexible=True), Column("ready"), Column("scheduled", 5), Column("running", 1),
        Column("in/s", 3), Column("done/s", 2), Column("failed/s", 4), Column("done", 6), Column("dead", 1),
    )  # fmt: skip
    for queue in queues:
        found = per_second.get((queue.namespace, queue.queue))
        table.add_row(
            _name(queue.queue if queue.namespace == "default" else f"{queue.namespace}/{queue.queue}"),
            _count(queue.ready, "yellow"),
            _count(queue.scheduled, "cyan"),
            _count(queue.running, "green"),
            Text(rate(found.submitted if found else None)),
            Text(rate(found.succeeded if found else None)),
            Text(rate(found.failed if found else None), style="red" if found and found.failed else ""),
            _count(queue.succeeded, ""),
            _count(queue.dead, "bold red"),
        )
    about = f"rates over {window / 1_000:.1f} s" if window else ""
    return _section("Queues", table, len(queues), total, "no job has been submitted yet", about)


def _workers(workers: Sequence[WorkerStatistics], total: int) -> list[RenderableType]:
    # Few will ever see one: it says that a task must be mended.
    deaf = any(worker.deaf for worker in workers)
    told = (Column("deaf", 1),) if deaf else ()
    table = Sheet(
        Column("worker", flexible=True), Column("queues", 3, flexible=True), Column("busy", 1), Column("slots", 1),
        Column("", 5, left=True), Column("lag", 2), *told, Column("heard", left=True),
    )  # fmt: skip
    for worker in workers:
        names = "all" if worker.all_queues else ", ".join(worker.queues[:_QUEUES_A_WORKER_SHOWN])
        slots = worker.slots + worker.process_slots
        more = len(worker.queues) + worker.queues_left_out - _QUEUES_A_WORKER_SHOWN
        heard = f"{age(worker.silent_ms)} ago" if worker.silent_ms >= 1_000 else "now"
        table.add_row(
            _name(worker.name or f"session {worker.session}"),
            _name(f"{names} and {more} more" if more > 0 else names),
            _count(worker.running, "green"),
            _count(slots, ""),
            _bar(worker.running, slots),
            Text(age(worker.lag_ms), style="bold red" if worker.lag_ms >= LOOP_BLOCKED_MS else "dim"),
            *([_count(worker.deaf, "bold red")] if deaf else []),
            _line(heard) if worker.connected else _line(f"lost, {heard}", "bold red"),
        )
    return _section("Workers", table, len(workers), total, "no worker is connected")


def _blocked(workers: Sequence[WorkerStatistics], total: int) -> list[RenderableType]:
    table = Sheet(
        Column("worker", 1, flexible=True), Column("for"), Column("task", flexible=True), Column("job", 3, left=True),
        Column("at", flexible=True),
    )  # fmt: skip
    for worker in workers:
        if (block := worker.blocked) is not None:
            table.add_row(
                _name(worker.name or f"session {worker.session}"),
                Text(age(block.for_ms), style="bold red"),
                _name(block.task),
                _job(block.job) if block.job else _line(""),
                _line(short(plain(block.place), _ERROR_WIDTH)),
            )
    return _section("Event loops that stand still", table, len(workers), total, "")


def _running(jobs: Sequence[RunningJob], total: int) -> list[RenderableType]:
    table = Sheet(
        Column("job", 3, flexible=True), Column("task", flexible=True), Column("queue", 2, flexible=True),
        Column("worker", 4, flexible=True), Column("run", 5), Column("for"),
    )  # fmt: skip
    for job in jobs:
        table.add_row(
            _job(job.id, job.own_id),
            _name(job.task),
            _name(job.queue),
            _name(job.worker),
            Text(str(job.run)),
            Text(age(job.running_ms)),
        )
    return _section("Running, the longest first", table, len(jobs), max(total, len(jobs)), "no job runs")


def _failures(failures: Sequence[RecentFailure], total: int, at_ms: int) -> list[RenderableType]:
    table = Sheet(
        Column("ago"), Column("task", flexible=True), Column("queue", 3, flexible=True),
        Column("job", 4, flexible=True), Column("", 2, left=True), Column("error", flexible=True),
    )  # fmt: skip
    for failure in failures:
        error = plain(f"{failure.type}: {failure.text}" if failure.text else failure.type)
        table.add_row(
            Text(age(at_ms - failure.at_ms)),
            _name(failure.task),
            _name(failure.queue),
            _job(failure.id, failure.own_id),
            _line("dead", "bold red") if failure.dead else _line("again", "yellow"),
            _line(short(error, _ERROR_WIDTH)),
        )
    return _section("Recent failures", table, len(failures), total, "none")


def _section(title: str, table: Sheet, shown: int, total: int, nothing: str, about: str = "") -> list[RenderableType]:
    head = Text(title, style="bold")
    if total > shown:
        head.append(f"  {count(total - shown)} more", style="dim")
    if about:
        head.append(f"  {about}", style="dim")
    return [Text(), head, table if shown else Text(nothing if not total else "", style="dim")]


def _job(job_id: bytes, own_id: str = "") -> Text:
    """What a command takes for the job: its caller's own id (with `--queue`), or the end of the generated one."""
    return _line(short(plain(own_id), _NAME_WIDTH) if own_id else id_text(job_id)[-2 * ID_END_BYTES :], "dim")


def _name(text: str) -> Text:
    return _line(short(plain(text), _NAME_WIDTH))


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _count(number: int, style: str) -> Text:
    return Text(count(number), style=style if number else "dim")


def _bar(running: int, slots: int) -> Text:
    filled = min(_BAR_CHARACTERS, -(-running * _BAR_CHARACTERS // slots)) if slots else 0
    return Text("━" * filled, style="green").append("━" * (_BAR_CHARACTERS - filled), style="bright_black")


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
