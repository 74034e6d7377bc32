"""Which figures there are, how they are chosen, and how they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import msgspec
from msgspec import Struct
from rich.table import Table

from aioqueue.bench import figures as f
from aioqueue.bench.backlog import backlog
from aioqueue.bench.connections import connections
from aioqueue.errors import BadOption


class Size(Struct, frozen=True):
    """How much to measure: jobs of the throughput figures, jobs that wait in the backlog, seconds of the slow ones,
    connections that stand and do nothing.
    """

    jobs: int = 100_000
    waiting_jobs: int = 1_000_000
    seconds: float = 20.0
    connections: int = 10_000


Measure = Callable[[Size, f.Progress], Awaitable[list[f.Figure]]]

MEASURES: Final[dict[str, Measure]] = {
    "throughput": lambda size, progress: f.throughput(size.jobs, progress),
    "archive": lambda size, progress: f.archive(size.jobs, progress),
    "steady": lambda size, progress: f.steady(1_000, size.seconds, progress),
    "roundtrip": lambda size, progress: f.round_trip(1_000, progress),
    "sleep": lambda size, progress: f.sleeping(5_000, 0.05, 1_000, progress),
    "idle": lambda size, progress: f.idle(size.seconds, progress),
    "connections": lambda size, progress: connections(size.connections, progress),
    "backlog": lambda size, progress: backlog(size.waiting_jobs, progress),
}


async def measure(names: Sequence[str], size: Size, progress: f.Progress) -> AsyncIterator[f.Figure]:
    """The named figures one after the other, all of them for no name. Raises `BadOption` for an unknown one."""
    for name in names:
        if name not in MEASURES:
            raise BadOption(option="figure", value=name, reason=f"known figures: {', '.join(MEASURES)}")
    for name in names or MEASURES:
        for figure in await MEASURES[name](size, progress):
            yield figure


def table(found: Sequence[f.Figure]) -> Table:
    """The figures for people."""
    shown = Table(title="aioqueue bench", title_justify="left")
    shown.add_column("figure")
    shown.add_column("measured", justify="right")
    shown.add_column("unit")
    shown.add_column("bound", justify="right")
    for figure in found:
        bound = ""
        if figure.bound is not None:
            bound = f"{'>=' if figure.at_least else '<='} {_number(figure.bound)}"
        shown.add_row(figure.name, _number(figure.value), figure.unit, bound, style=None if figure.holds else "yellow")
    return shown


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:,.2f}"


def as_json(found: Sequence[f.Figure]) -> str:
    """The figures for programs: a list of objects with `name`, `value`, `unit`, `bound`, `at_least`, `holds`."""
    rows = [{**msgspec.structs.asdict(figure), "holds": figure.holds} for figure in found]
    return msgspec.json.encode(rows).decode()
