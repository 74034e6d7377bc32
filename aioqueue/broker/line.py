"""Where commands wait for the engine. There are two such lines, one before the other: who works never waits behind
whoever submits.

Within a line all is in order, and a connection always stands in the same one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from aioqueue.core import commands as c

# What answers a command: `handler(asker, question, reply)`. A refusal is the exception itself.
Handler = Callable[[Any, Any, Any], None]


def nobody(asker: Any, question: Any, reply: Any) -> None:
    """The handler of a command whose answer nobody waits for."""


class Query(NamedTuple):
    """A question that changes nothing; it is asked of the state after the batch, and answered like a command.

    One about `jobs` waits behind whatever was asked of them before, a submit that is being looked up included: who is
    told that a job is not there may rely on it.
    """

    ask: Callable[[], Any]
    jobs: Sequence[bytes] = ()


class Reader(Protocol):
    """Whoever reads a connection, and must know how much of it is not decided."""

    def asked(self, size: int) -> None: ...
    def decided(self, size: int) -> None: ...


class Line:
    """Commands that were posted and are not decided. `aside` of them are not in line: they are being looked up, or
    wait for one that is. `reads` are those of connections whose commands are among them.
    """

    __slots__ = ("aside", "entries", "posted", "reads")

    def __init__(self) -> None:
        self.posted = 0
        # How many commands had been posted after a read, how large it was, and who is told that all are decided.
        self.reads: deque[tuple[int, int, Reader]] = deque()
        self.aside = 0
        self.entries: deque[Entry] = deque()

    def post(self, command: c.Command | Query, handler: Handler, asker: Any, question: Any) -> None:
        self.posted += 1
        self.entries.append((command, handler, asker, question, self))

    def asked(self, size: int, reader: Reader) -> None:
        """What was posted last was a read of so many bytes."""
        reader.asked(size)
        self.reads.append((self.posted, size, reader))
        if not self.entries:
            # What is read without a command (pings) may have nothing to wait for, and no batch would come to tell.
            self.tell_decided()

    def tell_decided(self) -> None:
        """Tell those whose commands are decided."""
        reads = self.reads
        # So many from the first one on have been decided; never too many, and perhaps too few.
        decided = self.posted - len(self.entries) - self.aside
        while reads and reads[0][0] <= decided:
            _, size, reader = reads.popleft()
            reader.decided(size)


# A command, who answers it, two things of the asker's own that are handed back to it, and its line.
Entry = tuple[c.Command | Query, Handler, Any, Any, Line]


def give_back(entries: Iterable[Entry]) -> None:
    """Put entries, in their order, before all others of their lines."""
    for entry in reversed(list(entries)):
        entry[4].entries.appendleft(entry)
