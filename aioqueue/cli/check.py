"""`aioqueue check`: is a journal whole?"""

from __future__ import annotations

from typing import Annotated

import typer

from aioqueue.cli.options import Json


def check(
    path: Annotated[str, typer.Argument(metavar="PATH", help="The journal's file, of a broker that does not run.")],
    json: Json = False,
) -> None:
    """Verify a journal. Its file, its chain of batches, and every event by replaying it; nothing is changed.

    Exit code 1 if it is damaged.
    """
    from aioqueue.cli.checking import check_and_tell
    from aioqueue.cli.running import run_short

    raise typer.Exit(run_short(check_and_tell(path.removeprefix("sqlite:"), json=json)))
