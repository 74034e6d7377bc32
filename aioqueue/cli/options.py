"""Options that several commands have, said once."""

from __future__ import annotations

from typing import Annotated

import typer

from aioqueue.cli import completing
from aioqueue.cli.urls import DEFAULT_URL, URL_VARIABLE

Url = Annotated[
    str,
    typer.Option(
        metavar="URL",
        envvar=URL_VARIABLE,
        show_default=False,
        help=f"The broker: tcp://HOST:PORT, or sqlite:PATH on this machine. [default: {DEFAULT_URL}]",
    ),
]
AppUrl = Annotated[
    str,
    typer.Option(
        "--url",
        metavar="URL",
        show_default=False,
        help=f"The broker. [default: the module's own, else {URL_VARIABLE}; for a task's name alone {DEFAULT_URL} if "
        "that is not set]",
    ),
]
Namespace = Annotated[str, typer.Option(metavar="NAME", help="The namespace that the jobs belong to.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
JobIdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        autocompletion=completing.ids,
        help="A job's id, its beginning (4 digits or more), or its last 12 digits.",
    ),
]
JobIdArguments = Annotated[
    list[str],
    typer.Argument(
        metavar="ID",
        autocompletion=completing.ids,
        help="Ids of jobs, their beginnings (4 digits or more), or last 12 digits.",
    ),
]
Limit = Annotated[
    int | None, typer.Option(min=0, metavar="N", show_default=False, help="How many at most. [default: 50]")
]
ArgsFull = Annotated[bool, typer.Option("--args-full", help="Arguments as they are, however long.")]
All = Annotated[bool, typer.Option("--all", help="All of them, however many.")]
LogLevel = Annotated[
    str,
    typer.Option(
        metavar="LEVEL",
        autocompletion=completing.levels,
        help="What to log on stderr: debug, info, warning, error or critical.",
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        autocompletion=completing.states,
        help="Only these states; may be given several times.",
    ),
]
Lane = Annotated[
    str, typer.Option("--queue", metavar="NAME", autocompletion=completing.queues, help="Only this queue.")
]
OwnIdLane = Annotated[
    str,
    typer.Option(
        "--queue",
        metavar="NAME",
        autocompletion=completing.queues,
        help="ID is your own name for it, of a job in this queue.",
    ),
]
TaskName = Annotated[
    str, typer.Option("--task", metavar="NAME", autocompletion=completing.tasks, help="Only this task.")
]
Since = Annotated[
    str, typer.Option(metavar="TIME", help="Only what was submitted, or ended, then or later: 2h (ago), or ISO 8601.")
]
Until = Annotated[str, typer.Option(metavar="TIME", help="Only what was submitted, or ended, before then.")]
IdPrefix = Annotated[
    str, typer.Option("--id", metavar="PREFIX", autocompletion=completing.ids, help="Only ids that begin so.")
]
ErrorText = Annotated[str, typer.Option("--error", metavar="TEXT", help="Only those whose last error has this text.")]
