"""A command's event loop, and the queue it talks through."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeVar

from aioqueue.cli.naming import whole_id
from aioqueue.cli.urls import DEFAULT_URL
from aioqueue.client.job import Job
from aioqueue.client.queue import Queue
from aioqueue.errors import BadUrl, NotAJournal
from aioqueue.transport.address import MemoryAddress, SqliteAddress

R = TypeVar("R")

# Whoever asks for a list of millions is patient; a page of it may take its time on a slow disk.
ANSWER_SECONDS: Final = 60.0
_COLLECTOR_THRESHOLDS: Final = (50_000, 20, 20)


def run_short(command: Coroutine[Any, Any, R]) -> R:
    """Run a command that asks and ends. Its errors are its one sentence, so nothing is logged beside them."""
    logging.getLogger("aioqueue").addHandler(logging.NullHandler())
    return asyncio.run(command)


def run_long(command: Coroutine[Any, Any, R]) -> R:
    """Run a command that serves, on uvloop where the platform has it: 20 to 40 % less CPU in the broker."""
    # What is loaded by now stays; a batch of a thousand jobs is no reason to look for cycles a dozen times.
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(command)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def queue_at(url: str, namespace: str = "default", *, create: bool = False) -> Queue:
    """A queue without tasks or worker at `url`, else where the environment says, else at the command line's default.

    With `create` a `sqlite:` journal may be made. Raises `BadUrl`, `BadName`, or `NotAJournal` where there is none.
    """
    queue = Queue(namespace=namespace, worker=False, name="aioqueue-cli", timeout=ANSWER_SECONDS)
    if url or not queue.url:
        queue.url = url or DEFAULT_URL
    check_reachable(queue, create=create)
    return queue


class Named(NamedTuple):
    """A job as a command line names it: by its id or a part of it, or with a lane by its caller's own id."""

    id: str
    lane: str = ""

    async def found_in(self, queue: Queue) -> Job[Any]:
        """The job. Raises what `Queue.get` raises, and `AmbiguousId` for a part of the ids of several."""
        if self.lane:
            return await queue.get(self.id, queue=self.lane)
        return await queue.get(await whole_id(queue, self.id))


def check_reachable(queue: Queue, *, create: bool) -> None:
    """Raise for an address where another program's jobs cannot be."""
    address = queue.address
    if isinstance(address, MemoryAddress):
        reason = "the jobs of a memory: broker are only seen by its own program"
        raise BadUrl(
            f"{queue.url!r} cannot be used here: {reason}; use tcp://HOST:PORT or sqlite:PATH",
            url=queue.url, reason=reason,
        )  # fmt: skip
    if isinstance(address, SqliteAddress) and not create and not os.path.exists(address.path):
        raise NotAJournal(path=address.path, what="journal", reason="there is no such file")
