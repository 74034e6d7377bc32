"""`aioqueue serve`: a broker that listens, until it is told to stop."""

from __future__ import annotations

from typing import Annotated

import typer

from aioqueue.cli.options import Json, LogLevel
from aioqueue.limits import (
    ARCHIVE_BYTES_MAX,
    ARCHIVE_BYTES_MAX_MIN,
    BACKLOG_BYTES_MAX,
    BACKLOG_BYTES_MAX_MIN,
    BACKLOG_JOBS_MAX,
    BODY_CACHE_BYTES,
    BODY_CACHE_BYTES_MIN,
    DISK_RESERVE_BYTES,
    JOURNAL_BOUND_BYTES,
    JOURNAL_BOUND_BYTES_MIN,
    JOURNAL_HISTORY_BYTES,
)
from aioqueue.model.sizes import size_text, to_bytes

Port = Annotated[
    int, typer.Option(min=0, max=65_535, metavar="PORT", help="The port to listen on; 0 takes a free one.")
]
MustExist = Annotated[
    bool, typer.Option("--must-exist", help="Refuse to start where no journal is, instead of making a new one.")
]


def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    port: Port = 7411,
    journal: Annotated[
        str, typer.Option(metavar="URL", help="Where jobs are kept: sqlite:PATH, or memory: to forget them at the end.")
    ] = "sqlite:aioqueue.db",
    must_exist: MustExist = False,
    session_ttl: Annotated[
        str, typer.Option(metavar="DURATION", help="After so much silence a worker counts as dead.")
    ] = "10s",
    max_backlog_jobs: Annotated[
        int, typer.Option(min=1, metavar="N", help="With so many jobs that have not ended, new ones are refused.")
    ] = BACKLOG_JOBS_MAX,
    max_backlog_bytes: Annotated[
        str, typer.Option(metavar="SIZE", help="The same, in bytes of their arguments and headers.")
    ] = size_text(BACKLOG_BYTES_MAX),
    disk_reserve: Annotated[
        str, typer.Option(metavar="SIZE", help="With less than this free on its disk, new jobs are refused; 0 never.")
    ] = size_text(DISK_RESERVE_BYTES),
    keep_succeeded: Annotated[str, typer.Option(metavar="DURATION", help="How long successes are kept.")] = "1d",
    keep_dead: Annotated[str, typer.Option(metavar="DURATION", help="How long dead jobs are kept.")] = "30d",
    keep_cancelled: Annotated[str, typer.Option(metavar="DURATION", help="How long cancelled jobs are kept.")] = "30d",
    keep_expired: Annotated[str, typer.Option(metavar="DURATION", help="How long expired jobs are kept.")] = "30d",
    archive_bound: Annotated[
        str, typer.Option(metavar="SIZE", help="What ended jobs may have of the disk; the oldest successes go first.")
    ] = size_text(ARCHIVE_BYTES_MAX),
    journal_bound: Annotated[
        str, typer.Option(metavar="SIZE", help="So much of the journal, or twice what lives, is read at a start.")
    ] = size_text(JOURNAL_BOUND_BYTES),
    journal_history: Annotated[
        str, typer.Option(metavar="SIZE", help="How much more of the journal, which no start reads, stays on the disk.")
    ] = size_text(JOURNAL_HISTORY_BYTES),
    body_cache: Annotated[
        str, typer.Option(metavar="SIZE", help="Arguments held in memory; more are read back from the journal.")
    ] = size_text(BODY_CACHE_BYTES),
    log_level: LogLevel = "info",
    json: Json = False,
) -> None:
    """Run a broker. Prints one line when it listens; SIGTERM or Ctrl-C stops it in good order, a second one at once."""
    from aioqueue.archive.base import KeepRule
    from aioqueue.broker.storage import JournalBounds
    from aioqueue.cli import logs
    from aioqueue.cli.running import run_long
    from aioqueue.cli.serving import Place, at_least, journal_address, serve_until_stopped, session_ttl_of
    from aioqueue.core.admission import BacklogLimits
    from aioqueue.model.durations import to_ms

    place = Place(
        host,
        port,
        journal_address(journal, must_exist=must_exist),
        session_ttl_of(session_ttl),
        BacklogLimits(max_backlog_jobs, at_least(BACKLOG_BYTES_MAX_MIN, max_backlog_bytes, option="max-backlog-bytes")),
        to_bytes(disk_reserve, option="disk-reserve"),
        at_least(BODY_CACHE_BYTES_MIN, body_cache, option="body-cache"),
        KeepRule(
            to_ms(keep_succeeded, option="keep-succeeded"),
            to_ms(keep_dead, option="keep-dead"),
            to_ms(keep_cancelled, option="keep-cancelled"),
            to_ms(keep_expired, option="keep-expired"),
            at_least(ARCHIVE_BYTES_MAX_MIN, archive_bound, option="archive-bound"),
        ),
        JournalBounds(
            at_least(JOURNAL_BOUND_BYTES_MIN, journal_bound, option="journal-bound"),
            to_bytes(journal_history, option="journal-history"),
        ),
        must_exist,
    )
    logs.set_up(log_level)
    run_long(serve_until_stopped(place, json=json))
