"""`aioqueue worker`: processes that run an app's jobs, under a supervisor."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from aioqueue.cli.options import LogLevel
from aioqueue.cli.urls import URL_VARIABLE
from aioqueue.limits import SLOTS_MAX


class OnPartition(Enum):
    """What becomes of jobs that may be given to others."""

    RUN = "run"
    STOP = "stop"


def worker(
    target: Annotated[str, typer.Argument(metavar="MODULE:QUEUE", help="The app's Queue, found from here.")],
    url: Annotated[
        str,
        typer.Option(
            metavar="URL", show_default=False, help=f"The broker. [default: the queue's own URL, else {URL_VARIABLE}]"
        ),
    ] = "",
    queues: Annotated[
        str, typer.Option(metavar="NAMES", show_default=False, help="Queues, by commas. [default: all]")
    ] = "",
    concurrency: Annotated[
        int, typer.Option(min=1, max=SLOTS_MAX, metavar="N", help="Jobs at once, in each process.")
    ] = 100,
    processes: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="Worker processes.")] = 1,
    job_processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000,
            metavar="N",
            show_default=False,
            help='Processes for jobs of executor="process", in each worker process. [default: one a processor]',
        ),
    ] = None,
    grace: Annotated[
        str, typer.Option(metavar="DURATION", help="How long running jobs may go on when the worker is stopped.")
    ] = "30s",
    on_partition: Annotated[
        OnPartition,
        typer.Option(metavar="run|stop", help="Jobs that run when the broker has not answered for its session ttl."),
    ] = OnPartition.RUN,
    labels: Annotated[
        str, typer.Option(metavar="NAMES", show_default=False, help="What this worker has, such as gpu, by commas.")
    ] = "",
    log_level: LogLevel = "info",
) -> None:
    """Run the jobs of an app.

    SIGTERM or Ctrl-C lets running jobs finish within the grace, then cancels them; a second one hurries.
    """
    import asyncio

    from aioqueue.cli import logs
    from aioqueue.cli.supervising import supervise_until_stopped
    from aioqueue.model.durations import to_ms
    from aioqueue.model.labels import check_labels
    from aioqueue.model.names import check_name
    from aioqueue.worker.channel import WorkerOptions

    options = WorkerOptions(
        target=target,
        url=url or None,
        queues=[check_name("queue", name.strip()) for name in queues.split(",")] if queues else None,
        concurrency=concurrency,
        job_processes=job_processes,
        grace_ms=to_ms(grace, option="grace"),
        on_partition=on_partition.value,
        labels=list(check_labels([name.strip() for name in labels.split(",")] if labels else [])),
        log_level=log_level.lower(),
    )
    logs.set_up(log_level)
    raise typer.Exit(asyncio.run(supervise_until_stopped(options, processes)))
