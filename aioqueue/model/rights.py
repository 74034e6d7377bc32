"""What a connection may be allowed to do: names that stand beside every message, before any of them is checked.

A right is asked for by the message, never by the job or the queue that it names; where it holds is the affair of a
grant, which gives rights in one namespace. Nothing is refused for want of a right yet. Named by the broker's dispatch
table, so that no message comes in without one.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final


class Right(IntFlag):
    """One right a bit; where a message names several, any one of them is enough.

    `SUBMIT`: submit jobs, wait for them, look at one by its id and cancel it. `WORK`: hold a worker's session and do
    its runs. `READ`: look at all jobs and figures. `OPERATE`: act on jobs and queues (retry, pause, purge, limits); it
    is granted with `READ`. `ADMIN`: copy all that the broker keeps, and set its rules; it is granted with all others.
    """

    SUBMIT = 1
    WORK = 2
    READ = 4
    OPERATE = 8
    ADMIN = 16


# What asks for no right: it keeps a connection, or the session's own secret is what allows it.
ANYBODY: Final = Right(0)
