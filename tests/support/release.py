"""One release of an app, as a program that works until SIGTERM: `python -m tests.support.release URL NUMBER`.

Each release knows `common` as all do, the `feature` of its own and of the release before, and `send`, whose parameter
is named by the release: it cannot be called with what another one's producers send. Nothing may be tried twice.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

from aioqueue import Queue, Worker


def release(number: int, url: str | None = None) -> Queue:
    """The app of this release."""
    queue = Queue(url, defaults={"retry": 1})

    @queue.task(name="common")
    async def common(value: int) -> int:
        return value

    def feature(made: int) -> None:
        @queue.task(name=f"feature-{made}")
        async def run(value: int) -> int:
            return value

    for made in (number, number - 1):
        feature(made)

    signature = f"async def send(*, v{number}: int) -> int:\n    return v{number}\n"
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(signature, namespace)
    queue.task(namespace["send"], name="send")
    return queue


async def work(url: str, number: int) -> None:
    async with release(number, url) as queue:
        worker = Worker(queue, concurrency=5, name=f"release-{number}")
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        running = asyncio.create_task(worker.run())
        await worker.ready()
        print("ready", flush=True)
        await running


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], int(sys.argv[2])))
