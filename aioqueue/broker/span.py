"""How long the journal's log is: the bytes from its base to its end, by segments, so that its oldest part has a size.

Recovery and the engine add what they read and append; `compaction` waits for it to grow, and cuts it. A segment begins
at a position where homes begin to be counted (`core.homes`), for the base moves from one to the next.
"""

from __future__ import annotations

import asyncio
from collections import deque

from aioqueue.limits import HOME_POSITIONS, JOURNAL_BOUND_BYTES, SEGMENTS_A_BOUND


class LogSpan:
    """`log_bytes` is the log's length, `written_bytes` all that was ever added: only the first is cut."""

    def __init__(self, bound_bytes: int = JOURNAL_BOUND_BYTES) -> None:
        self.log_bytes = 0
        self.written_bytes = 0
        self.segment_bytes = bound_bytes // SEGMENTS_A_BOUND
        # First position and bytes of each segment, oldest first.
        self._segments: deque[tuple[int, int]] = deque()
        self._awaited_bytes = 0
        self._reached = asyncio.Event()

    def add(self, position: int, batch_bytes: int) -> None:
        """The batch at `position` is part of the log."""
        self.log_bytes += batch_bytes
        self.written_bytes += batch_bytes
        segments = self._segments
        if not segments or (segments[-1][1] >= self.segment_bytes and position % HOME_POSITIONS == 0):
            segments.append((position, batch_bytes))
        else:
            first, size = segments[-1]
            segments[-1] = first, size + batch_bytes
        if self.written_bytes >= self._awaited_bytes:
            self._reached.set()

    @property
    def second(self) -> int | None:
        """Where the log begins when its oldest segment is cut; None while it is the only one."""
        return self._segments[1][0] if len(self._segments) > 1 else None

    def cut(self, base: int) -> int:
        """The log begins at `base` now; how many bytes that took off."""
        gone = 0
        while len(self._segments) > 1 and self._segments[1][0] <= base:
            gone += self._segments.popleft()[1]
        self.log_bytes -= gone
        return gone

    async def written(self, more_bytes: int) -> None:
        """Wait until so much more was added; for one who waits."""
        self._awaited_bytes = self.written_bytes + more_bytes
        while self.written_bytes < self._awaited_bytes:
            self._reached.clear()
            await self._reached.wait()
