"""What one connection said and the engine has not decided: above a bound its reader waits, and the peer with it.

The engine's line has no bound of its own, for commands of the broker itself and of quiet connections must never wait
for a loud one. So each connection is held to its own part, and what it says beyond stays with its sender.
"""

from __future__ import annotations

from collections import deque

from aioqueue.broker.engine import Engine
from aioqueue.limits import UNDECIDED_BYTES_MAX


class Backlog:
    """The reads of one connection that hold commands which still stand in line."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._bytes = 0
        # How many commands the engine had been given after a read, and how large that read was.
        self._reads: deque[tuple[int, int]] = deque()

    async def add(self, read_bytes: int) -> None:
        """A read of this size was given to the engine; waits until the connection may be read again."""
        engine, reads = self._engine, self._reads
        reads.append((engine.posted, read_bytes))
        self._bytes += read_bytes
        while reads and (self._bytes > UNDECIDED_BYTES_MAX or engine.has_decided(reads[0][0])):
            posted, size = reads[0]
            await engine.decided(posted)
            reads.popleft()
            self._bytes -= size
