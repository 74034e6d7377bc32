"""`aioqueue check`: is a journal whole?"""

from __future__ import annotations

from typing import Annotated

import typer

from aioqueue.cli.options import Json


def check(
    path: Annotated[str, typer.Argument(metavar="PATH", help="The journal's file, of a broker that does not run.")],
    salvage: Annotated[
        str, typer.Option(metavar="DEST", show_default=False, help="Make a new journal here of all that verifies.")
    ] = "",
    json: Json = False,
) -> None:
    """Verify a journal. Its file, its chain of batches, and every event by replaying it; nothing is changed.

    With --salvage a new journal with a new id is made of what verifies, and what is lost is listed. Exit code 1 if it
    is damaged.
    """
    from aioqueue.cli.checking import check_and_tell
    from aioqueue.cli.running import run_short

    path = path.removeprefix("sqlite:")
    if salvage:
        from aioqueue.cli.salvaging import salvage_and_tell

        raise typer.Exit(run_short(salvage_and_tell(path, salvage.removeprefix("sqlite:"), json=json)))
    raise typer.Exit(run_short(check_and_tell(path, json=json)))
