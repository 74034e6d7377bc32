"""The commands by name, and the one place where errors become a sentence and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from aioqueue import __version__
from aioqueue.cli.backup import backup
from aioqueue.cli.bench import bench
from aioqueue.cli.check import check
from aioqueue.cli.completing import join_words
from aioqueue.cli.demo import demo
from aioqueue.cli.jobs import cancel, export, ls, retry, show
from aioqueue.cli.outcome import (
    DONE,
    FAILED,
    INTERRUPTED,
    JOB_FAILED,
    READER_GONE,
    USAGE,
    drop_output,
    prepare_output,
    say,
)
from aioqueue.cli.serve import serve
from aioqueue.cli.submit import submit
from aioqueue.cli.tasks import tasks
from aioqueue.cli.top import top
from aioqueue.cli.urls import DEFAULT_URL
from aioqueue.cli.worker import worker
from aioqueue.errors import AioqueueError, BrokerUnavailable, JobError

# Help is plain text: it goes through pipes, and rich is not loaded for it.
app: Final = typer.Typer(
    name="aioqueue",
    help="A durable, fair and explainable asyncio job queue.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (serve, worker, submit, tasks, ls, export, show, cancel, retry, top, backup, check, bench, demo):
    app.command()(_command)


_COMPLETE_VARIABLE: Final = "_AIOQUEUE_COMPLETE"

# The base of what the parser raises; typer does not name it, and has moved it between versions.
_Misused: Final[type[Exception]] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aioqueue {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A durable, fair and explainable asyncio job queue."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; gives the exit code, with one sentence on stderr where it is not 0."""
    prepare_output()
    try:
        command = typer.main.get_command(app)
        if _COMPLETE_VARIABLE in os.environ:
            # A shell asks for its completion script, or for what may follow: typer answers, and ends the process.
            join_words()
            command.main(prog_name="aioqueue", complete_var=_COMPLETE_VARIABLE)
        # Not by its `main`: that one ends the process by itself for some errors.
        with command.make_context("aioqueue", list(arguments) or ["--help"]) as context:
            command.invoke(context)
        sys.stdout.flush()
        return DONE
    except typer.Exit as ended:
        return ended.exit_code
    except BrokenPipeError:
        drop_output()
        return READER_GONE
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except JobError as error:
        say(error)
        return JOB_FAILED
    except BrokerUnavailable as error:
        # Whoever named no broker may not have started one yet.
        nowhere = error.fields.get("url") == DEFAULT_URL
        say(f"{error}; start one with `aioqueue serve`, or name another by --url" if nowhere else error)
        return FAILED
    except AioqueueError as error:
        say(error)
        return FAILED
    except OSError as error:
        # Such as a full disk under a redirected output.
        drop_output()
        say(error.strerror or error)
        return FAILED
    except _Misused as error:
        return _misused(error)


def _misused(error: BaseException) -> int:
    context = getattr(error, "ctx", None)
    message = str(getattr(error, "format_message", lambda: error)()).strip().rstrip(".")
    path = context.command_path if context is not None else "aioqueue"
    say(f"{message[0].lower()}{message[1:]}; see {path} --help")
    return USAGE
