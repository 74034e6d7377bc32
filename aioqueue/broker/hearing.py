"""Whoever judges that somebody was silent first hears what was said: a word may lie in a socket that nobody has read.

While the process stood still nothing was read, however short that was; and a timer that came due meanwhile runs before
the sockets are read. So an instant is taken, the event loop reads, and only then is silence judged, as of that instant.
"""

from __future__ import annotations

import asyncio
from typing import Final

# A turn of the event loop asks once what can be read, and runs what was ready. The words of a connection stand in the
# engine's line after three turns of asyncio (ask, read, post) and two of uvloop, however many connections there are;
# those of one that must be accepted first after six and four. uvloop accepts one a turn, so these are enough for a few.
# tests/broker/test_hearing.py holds both loops to it.
TURNS: Final = 8


async def hear_all() -> None:
    """Wait until all that lies in the sockets by now was read, and what it asks stands in line."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
