"""`aioqueue serve`: a broker that listens, until it is told to stop."""

from __future__ import annotations

from typing import Annotated

import typer

from aioqueue.cli.options import Json, LogLevel
from aioqueue.limits import BACKLOG_JOBS_MAX


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port to listen on; 0 takes a free one.")] = 7411,
    journal: Annotated[
        str, typer.Option(metavar="URL", help="Where jobs are kept: sqlite:PATH, or memory: to forget them at the end.")
    ] = "sqlite:aioqueue.db",
    session_ttl: Annotated[
        str, typer.Option(metavar="DURATION", help="After so much silence a worker counts as dead.")
    ] = "10s",
    max_backlog_jobs: Annotated[
        int, typer.Option(min=1, help="With so many jobs that have not ended, new ones are refused.")
    ] = BACKLOG_JOBS_MAX,
    max_backlog_bytes: Annotated[
        str, typer.Option(metavar="SIZE", help="The same, in bytes of their arguments and headers.")
    ] = "2GiB",
    disk_reserve: Annotated[
        str, typer.Option(metavar="SIZE", help="With less than this free on its disk, new jobs are refused; 0 never.")
    ] = "256MiB",
    keep_succeeded: Annotated[str, typer.Option(metavar="DURATION", help="How long successes are kept.")] = "1d",
    keep_dead: Annotated[str, typer.Option(metavar="DURATION", help="How long dead jobs are kept.")] = "30d",
    keep_cancelled: Annotated[str, typer.Option(metavar="DURATION", help="How long cancelled jobs are kept.")] = "30d",
    keep_expired: Annotated[str, typer.Option(metavar="DURATION", help="How long expired jobs are kept.")] = "30d",
    archive_bound: Annotated[
        str, typer.Option(metavar="SIZE", help="What ended jobs may have of the disk; the oldest successes go first.")
    ] = "10GiB",
    journal_bound: Annotated[
        str, typer.Option(metavar="SIZE", help="So much of the journal, or twice what lives, is read at a start.")
    ] = "256MiB",
    journal_history: Annotated[
        str, typer.Option(metavar="SIZE", help="How much more of the journal, which no start reads, stays on the disk.")
    ] = "1GiB",
    body_cache: Annotated[
        str, typer.Option(metavar="SIZE", help="Arguments held in memory; more are read back from the journal.")
    ] = "256MiB",
    log_level: LogLevel = "info",
    json: Json = False,
) -> None:
    """Run a broker. Prints one line when it listens; SIGTERM or Ctrl-C stops it in good order, a second one at once."""
    from aioqueue.cli import logs
    from aioqueue.cli.running import run_long
    from aioqueue.cli.serving import Kept, Place, checked, serve_until_stopped

    kept = Kept(keep_succeeded, keep_dead, keep_cancelled, keep_expired, archive_bound, journal_bound, journal_history)
    place = checked(
        Place(host, port, journal, session_ttl, max_backlog_jobs, max_backlog_bytes, disk_reserve, body_cache, kept)
    )
    logs.set_up(log_level)
    run_long(serve_until_stopped(place, json=json))
