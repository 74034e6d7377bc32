"""The demo's live picture. Pure: the same progress gives the same picture."""

from __future__ import annotations

from collections import Counter
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aioqueue.client.info import JobInfo
from aioqueue.demo.progress import Progress
from aioqueue.model.views import Failure
from aioqueue.monitor.text import age, plain, short

_BAR_WIDTH: Final = 40
_RUNNING_SHOWN: Final = 8
_STYLES: Final = {
    "ready": "yellow",
    "scheduled": "cyan",
    "running": "green",
    "succeeded": "bold green",
    "dead": "bold red",
}


def render(progress: Progress, now_ms: int) -> RenderableType:
    """The whole picture; `now_ms` is UTC, for the times of jobs that run or wait."""
    parts = (_header(progress), _bars(progress), _running(progress, now_ms), *_retries(progress, now_ms))
    return Group(*(line for part in parts for line in (part, Text())))


def _header(progress: Progress) -> Text:
    line = Text("aioqueue demo", style="bold", no_wrap=True, overflow="ellipsis")
    photos = len({wanted.photo for wanted in progress.wanted.values()})
    about = f"   {progress.url}   {photos} photographs   {progress.processes} worker processes"
    return line.append(about, style="not bold dim")


def _bars(progress: Progress) -> RenderableType:
    counts: Counter[str] = progress.states()
    total = max(1, len(progress.wanted))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for state, style in _STYLES.items():
        if not counts[state] and state == "dead":
            continue
        filled = -(-counts[state] * _BAR_WIDTH // total)
        bar = Text("━" * filled, style=style).append("━" * (_BAR_WIDTH - filled), style="bright_black")
        table.add_row(Text(state), bar, Text(str(counts[state]), justify="right", style=style))
    done = f"{len(progress.done)} of {len(progress.wanted)}"
    speed = f"{progress.per_second:.1f} a second, {progress.elapsed_ms / 1000:.1f} s"
    table.add_row(Text("done", style="bold"), Text(speed, style="dim"), Text(done, style="bold"))
    return table


def _running(progress: Progress, now_ms: int) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in ("running now", "worker", "for"):
        table.add_column(Text(head), no_wrap=True, overflow="ellipsis")
    for info in progress.in_state("running")[:_RUNNING_SHOWN]:
        for_ms = age(max(0, now_ms - info.started_ms))
        table.add_row(Text(progress.wanted[info.id].label), Text(plain(info.worker)), Text(for_ms))
    return table


def _retries(progress: Progress, now_ms: int) -> list[RenderableType]:
    return [Text(told(progress, info, now_ms), style="yellow") for info in progress.retried()]


def told(progress: Progress, info: JobInfo, now_ms: int) -> str:
    """One sentence of a job that failed at least once."""
    times = "once" if info.failures == 1 else "twice" if info.failures == 2 else f"{info.failures} times"
    line = f"the {progress.wanted[info.id].label} failed {times}"
    failure = last_failure(info)
    if failure is not None:
        line += f", last with {plain(failure.type)}: {short(plain(failure.text), 80)}"
    if info.id in progress.done:
        return f"{line}; it succeeded at attempt {info.failures + 1}"
    if info.state == "scheduled":
        return f"{line}; again in {max(0, info.due_ms - now_ms) / 1000:.1f} s"
    return f"{line}; attempt {info.failures + 1} is next" if info.state != "dead" else f"{line}; it is dead"


def last_failure(info: JobInfo) -> Failure | None:
    """Of a job that lives or died, and of one that succeeded in the end."""
    ends = (attempt.failure for attempt in reversed(info.attempts))
    return info.failure or next((failure for failure in ends if failure is not None), None)
