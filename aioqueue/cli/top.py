"""`aioqueue top`: the broker, live."""

from __future__ import annotations

from typing import Annotated

import typer

from aioqueue.cli.options import Json, Namespace, Url


def top(
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end, as without a terminal.")] = False,
    url: Url = "",
    namespace: Namespace = "default",
    json: Json = False,
) -> None:
    """Watch a broker live. Shows queues with depth and rates, workers, running jobs and recent failures.

    q or Ctrl-C leaves. With --json one document a second is printed, with --once --json a single one.
    """
    from aioqueue.cli.running import queue_at, run_short
    from aioqueue.cli.watching import watch

    run_short(watch(queue_at(url, namespace), once=once, json=json))
