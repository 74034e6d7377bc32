"""`aioqueue submit`: one job, from a shell."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aioqueue.cli import completing
from aioqueue.cli.options import AppUrl, Json


def submit(
    task: Annotated[
        str, typer.Argument(metavar="TASK", autocompletion=completing.tasks, help="MODULE:TASK, or the name of a task.")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARG",
            help="Each is JSON, or else text; put -- before negative numbers. After a task's name a single JSON array "
            "is the list of all arguments.",
        ),
    ] = None,
    args: Annotated[str, typer.Option(metavar="JSON", help="All arguments, as a JSON array.")] = "",
    kwargs: Annotated[str, typer.Option(metavar="JSON", help="Keyword arguments, as a JSON object.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end, and print the result as JSON.")] = False,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="How long to wait for the end at most, with --wait.")
    ] = "",
    queue: Annotated[
        str, typer.Option(metavar="NAME", autocompletion=completing.queues, help="The queue, if not the task's own.")
    ] = "",
    priority: Annotated[str, typer.Option(metavar="0-9", help="Higher first; or high, medium, low.")] = "",
    delay: Annotated[str, typer.Option(metavar="DURATION", help="Not before so much time, such as 10m.")] = "",
    expires: Annotated[str, typer.Option(metavar="DURATION", help="Not worth beginning after so much time.")] = "",
    deadline: Annotated[str, typer.Option(metavar="DURATION", help="To be over by then, all attempts included.")] = "",
    own_id: Annotated[
        str | None, typer.Option("--id", metavar="TEXT", help="Your name for it: one job, however often.")
    ] = None,
    url: AppUrl = "",
    namespace: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False, help="The namespace. [default: the module's own, else default]"
        ),
    ] = None,
    unregistered: Annotated[
        bool, typer.Option("--unregistered", help="Submit a name that no worker has registered.")
    ] = False,
    json: Json = False,
) -> None:
    """Submit a job and print its id. Exit code 3 if it was waited for and ended without a result."""
    from aioqueue.cli.running import run_short
    from aioqueue.cli.submitting import Submission, parsed_arguments, submit_one

    positional, by_name = parsed_arguments(task, arguments or [], args, kwargs)
    options: dict[str, Any] = {
        "queue": queue,
        "priority": int(priority) if priority.isdecimal() else priority,
        "delay": delay,
        "expires": expires,
        "deadline": deadline,
    }
    given = {name: value for name, value in options.items() if value != ""}
    if own_id is not None:
        given["id"] = own_id
    if unregistered and ":" in task:
        raise typer.BadParameter("--unregistered is for a task that is given by its name alone")
    submission = Submission(task, positional, by_name, given, url, namespace, unregistered)
    if timeout and not wait:
        raise typer.BadParameter("--timeout needs --wait")
    raise typer.Exit(run_short(submit_one(submission, wait=wait, timeout=timeout or None, json=json)))
