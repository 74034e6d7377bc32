"""`aioqueue demo`: the whole of aioqueue at work on photographs."""

from __future__ import annotations

from typing import Annotated

import typer

from aioqueue.cli.options import Json


def demo(
    out: Annotated[
        str, typer.Option(metavar="DIR", show_default=False, help="For pictures and journal. [default: a new folder]")
    ] = "",
    processes: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Worker processes.")] = 2,
    json: Json = False,
) -> None:
    """Resize real photographs. By workers in other processes, through a broker on a port, with a journal file.

    One job fails twice and succeeds by retry. Ends with a table of the files. Ctrl-C stops all of it.
    """
    from aioqueue.cli.demonstrating import demonstrate
    from aioqueue.cli.running import run_short

    raise typer.Exit(run_short(demonstrate(out, processes, json=json)))
