"""`aioqueue bench`: the figures of this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from aioqueue.cli.options import Json


def bench(
    figures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIGURE",
            help="throughput, archive, steady, roundtrip, sleep, idle, connections or backlog; all for none.",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=10_000, metavar="N", help="Jobs of each throughput figure.")] = 100_000,
    waiting: Annotated[
        int, typer.Option(min=10_000, metavar="N", help="Jobs that wait in the backlog figure.")
    ] = 1_000_000,
    seconds: Annotated[
        float, typer.Option(min=1.0, metavar="SECONDS", help="How long the steady and idle figures run.")
    ] = 20.0,
    connections: Annotated[int, typer.Option(min=100, metavar="N", help="Connections of that figure.")] = 10_000,
    json: Json = False,
) -> None:
    """Measure this machine. A real broker, worker and journal, in a new folder here that is removed again.

    CPU figures need Linux's /proc. A figure over its bound is marked; the exit code is 0 all the same.
    """
    from aioqueue.bench.report import Size
    from aioqueue.cli.benching import bench_and_tell
    from aioqueue.cli.running import run_long

    run_long(bench_and_tell(figures or [], Size(jobs, waiting, seconds, connections), json=json))
