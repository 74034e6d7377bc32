"""What `aioqueue bench` shows while it measures, and at the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from aioqueue.bench.report import Size, as_json, measure, table


async def bench_and_tell(names: Sequence[str], size: Size, *, json: bool) -> None:
    """Measure, with the progress on stderr and the figures on stdout."""
    progress = Console(stderr=True)
    with progress.status("starting") as status:
        found = [figure async for figure in measure(names, size, status.update)]
    if json:
        print(as_json(found))
    else:
        Console().print(table(found))
