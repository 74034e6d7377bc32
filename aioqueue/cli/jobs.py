"""`aioqueue ls`, `export`, `show`, `cancel` and `retry`: looking at jobs and deciding about them."""

from __future__ import annotations

from typing import Annotated

import typer

from aioqueue.cli.options import (
    ErrorText,
    IdPrefix,
    JobIdArgument,
    Json,
    Lane,
    Namespace,
    OwnIdLane,
    Since,
    States,
    TaskName,
    Until,
    Url,
)


def ls(
    state: States = None,
    queue: Lane = "",
    task: TaskName = "",
    since: Since = "",
    until: Until = "",
    job_id: IdPrefix = "",
    error: ErrorText = "",
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="How many at most; 0 is all.")] = 50,
    url: Url = "",
    namespace: Namespace = "default",
    json: Json = False,
) -> None:
    """List jobs, newest first. The living come before the finished."""
    from aioqueue.cli.listing import Wanted, list_jobs
    from aioqueue.cli.running import queue_at, run_short

    wanted = Wanted(tuple(state or ()), queue, task, since, until, job_id, error, limit)
    run_short(list_jobs(queue_at(url, namespace), wanted, json=json))


def export(
    out: Annotated[
        str, typer.Option(metavar="FILE", show_default=False, help="A new file to write to. [default: stdout]")
    ] = "",
    state: States = None,
    queue: Lane = "",
    task: TaskName = "",
    since: Since = "",
    until: Until = "",
    job_id: IdPrefix = "",
    error: ErrorText = "",
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="How many at most; 0 is all.")] = 0,
    url: Url = "",
    namespace: Namespace = "default",
) -> None:
    """Write jobs with all their runs as JSON lines. The living come before the finished, the newest first."""
    from aioqueue.cli.exporting import export_jobs
    from aioqueue.cli.listing import Wanted
    from aioqueue.cli.running import queue_at, run_short

    wanted = Wanted(tuple(state or ()), queue, task, since, until, job_id, error, limit)
    run_short(export_jobs(queue_at(url, namespace), wanted, out))


def show(
    job: JobIdArgument, queue: OwnIdLane = "", url: Url = "", namespace: Namespace = "default", json: Json = False
) -> None:
    """Show one job. With its times, every run, last failure and traceback, and result."""
    from aioqueue.cli.running import Named, queue_at, run_short
    from aioqueue.cli.showing import show_job

    run_short(show_job(queue_at(url, namespace), Named(job, queue), json=json))


def cancel(
    job: JobIdArgument,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why.")] = "",
    wait: Annotated[str, typer.Option(metavar="TIME", help="How long to wait for a running one to stop.")] = "",
    queue: OwnIdLane = "",
    url: Url = "",
    namespace: Namespace = "default",
    json: Json = False,
) -> None:
    """Keep a job from running, or stop it. Says `cancelled`, `stopping`, or `finished` for one that had ended."""
    from aioqueue.cli.deciding import cancel_job
    from aioqueue.cli.running import Named, queue_at, run_short

    run_short(cancel_job(queue_at(url, namespace), Named(job, queue), reason, wait=wait, json=json))


def retry(
    job: JobIdArgument, queue: OwnIdLane = "", url: Url = "", namespace: Namespace = "default", json: Json = False
) -> None:
    """Submit a dead, cancelled or expired job once more."""
    from aioqueue.cli.deciding import retry_job
    from aioqueue.cli.running import Named, queue_at, run_short

    run_short(retry_job(queue_at(url, namespace), Named(job, queue), json=json))
