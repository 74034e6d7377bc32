"""One process of an app whose processes share a `sqlite:` journal: `python -m tests.support.sharing_app URL LANES`.

Each of its lanes submits a job, waits for its end, and goes on, until SIGTERM. What it was told it writes at once into
the log of all processes, `MARKS_LOG`, which outlives a kill; to its standard output it says what a test waits for:
`ready`, `seen` for each end, and `owner` when it took the journal over.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import sys
import time

from aioqueue import Context, Queue
from tests.support.logged_app import mark, mark_start

queue = Queue("memory:")


@queue.task(name="pause")
async def pause(context: Context, number: str, seconds: float) -> str:
    mark_start(context)
    mark("number", context.job, number)
    await asyncio.sleep(seconds)
    return number


@queue.task(name="block")
async def block(context: Context, seconds: float) -> int:
    """Hold the event loop of the process."""
    mark_start(context)
    time.sleep(seconds)  # noqa: ASYNC251 (it is what this task is for)
    return os.getpid()


class _Owner(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if "is in this process now" in record.getMessage():
            print("owner", flush=True)


async def work(lane: int, stopping: asyncio.Event) -> None:
    for turn in itertools.count():
        number = f"{os.getpid()}-{lane}-{turn}"
        job = await queue.submit(pause, number, 0.04 * (turn % 5))
        mark("acknowledged", job.id, number)
        result = await job
        mark("seen", job.id, result)
        print("seen", flush=True)
        if stopping.is_set():
            return


async def main(url: str, lanes: int) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    logging.getLogger("aioqueue.embedded").setLevel(logging.INFO)
    logging.getLogger("aioqueue.embedded").addHandler(_Owner())
    queue.url = url
    async with queue, asyncio.TaskGroup() as tasks:
        print("ready", flush=True)
        for lane in range(lanes):
            tasks.create_task(work(lane, stopping))
        await stopping.wait()


if __name__ == "__main__":
    # The tasks belong to the module by its name, not to `__main__`.
    from tests.support import sharing_app

    asyncio.run(sharing_app.main(sys.argv[1], int(sys.argv[2])))
