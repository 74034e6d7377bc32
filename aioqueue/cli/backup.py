"""`aioqueue backup`: a copy of a broker that one can start from."""

from __future__ import annotations

from typing import Annotated

import typer

from aioqueue.cli.options import Json, Url


def backup(
    destination: Annotated[
        str, typer.Argument(metavar="DEST", help="Where the new journal goes; DEST-archive and DEST.mark go beside it.")
    ],
    url: Url = "",
    json: Json = False,
) -> None:
    """Copy a broker's journal and archive, while it runs or not. The copy is verified, and a broker starts from it."""
    from aioqueue.cli.backing import backup_and_tell
    from aioqueue.cli.running import queue_at, run_short

    raise typer.Exit(run_short(backup_and_tell(queue_at(url), destination.removeprefix("sqlite:"), json=json)))
