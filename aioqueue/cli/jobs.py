"""`aioqueue ls`, `export`, `show`, `cancel` and `retry`: looking at jobs and deciding about them."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from aioqueue.cli.options import (
    All,
    ArgsFull,
    ErrorText,
    IdPrefix,
    JobIdArgument,
    JobIdArguments,
    Json,
    Lane,
    Limit,
    Namespace,
    OwnIdLane,
    Since,
    States,
    TaskName,
    Until,
    Url,
)

# A screen or two; whoever wants more says so.
_LISTED: Final = 50


def ls(
    state: States = None,
    queue: Lane = "",
    task: TaskName = "",
    since: Since = "",
    until: Until = "",
    job_id: IdPrefix = "",
    error: ErrorText = "",
    limit: Limit = None,
    every: All = False,
    args: Annotated[bool, typer.Option("--args", help="Show the arguments, shortened.")] = False,
    args_full: ArgsFull = False,
    url: Url = "",
    namespace: Namespace = "default",
    json: Json = False,
) -> None:
    """List jobs, newest first. The living come before the finished."""
    from aioqueue.cli.arguments import Arguments
    from aioqueue.cli.listing import Wanted, list_jobs
    from aioqueue.cli.running import queue_at, run_short

    if every and limit is not None:
        raise typer.BadParameter("give --limit or --all, not both")
    if limit is None and not every:
        limit = _LISTED
    wanted = Wanted(tuple(state or ()), queue, task, since, until, job_id, error, limit)
    arguments = Arguments.FULL if args_full else Arguments.SHORT if args else Arguments.NONE
    run_short(list_jobs(queue_at(url, namespace), wanted, arguments, json=json))


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
    limit: Annotated[
        int | None, typer.Option(min=0, metavar="N", show_default=False, help="How many at most. [default: all]")
    ] = None,
    args_full: ArgsFull = False,
    url: Url = "",
    namespace: Namespace = "default",
) -> None:
    """Write jobs with all their runs as JSON lines. The living come before the finished, the newest first."""
    from aioqueue.cli.exporting import export_jobs
    from aioqueue.cli.listing import Wanted
    from aioqueue.cli.running import queue_at, run_short

    wanted = Wanted(tuple(state or ()), queue, task, since, until, job_id, error, limit)
    run_short(export_jobs(queue_at(url, namespace), wanted, out, args_full=args_full))


def show(
    job: JobIdArgument,
    args_full: ArgsFull = False,
    queue: OwnIdLane = "",
    url: Url = "",
    namespace: Namespace = "default",
    json: Json = False,
) -> None:
    """Show one job. With its arguments, times, every run, last failure and traceback, and result."""
    from aioqueue.cli.running import Named, queue_at, run_short
    from aioqueue.cli.showing import show_job

    run_short(show_job(queue_at(url, namespace), Named(job, queue), args_full=args_full, json=json))


def cancel(
    jobs: JobIdArguments,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why.")] = "",
    wait: Annotated[str, typer.Option(metavar="TIME", help="How long to wait for a running one to stop.")] = "",
    queue: OwnIdLane = "",
    url: Url = "",
    namespace: Namespace = "default",
    json: Json = False,
) -> None:
    """Keep jobs from running, or stop them. Says `cancelled`, `stopping`, or `finished` for one that had ended.

    With several ids each line begins with the id. An id that is refused is told on stderr, the others are done, and
    the exit code is 1.
    """
    from aioqueue.cli.deciding import cancel_jobs
    from aioqueue.cli.running import Named, queue_at, run_short

    named = [Named(job, queue) for job in jobs]
    raise typer.Exit(run_short(cancel_jobs(queue_at(url, namespace), named, reason, wait=wait, json=json)))


def retry(
    jobs: JobIdArguments, queue: OwnIdLane = "", url: Url = "", namespace: Namespace = "default", json: Json = False
) -> None:
    """Submit dead, cancelled or expired jobs once more.

    With several ids each line begins with the id. An id that is refused is told on stderr, the others are done, and
    the exit code is 1.
    """
    from aioqueue.cli.deciding import retry_jobs
    from aioqueue.cli.running import Named, queue_at, run_short

    named = [Named(job, queue) for job in jobs]
    raise typer.Exit(run_short(retry_jobs(queue_at(url, namespace), named, json=json)))
