"""`aioqueue tasks`: what workers have told the broker of their tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from aioqueue.cli import completing
from aioqueue.cli.options import Json, Namespace, Url


def tasks(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", autocompletion=completing.tasks, show_default=False, help="Only these tasks. [default: all]"
        ),
    ] = None,
    url: Url = "",
    namespace: Namespace = "default",
    json: Json = False,
) -> None:
    """List the tasks that workers have registered. Exit code 1 if one that is named is not among them."""
    from aioqueue.cli.registered import list_tasks
    from aioqueue.cli.running import queue_at, run_short

    raise typer.Exit(run_short(list_tasks(queue_at(url, namespace), names or [], json=json)))
