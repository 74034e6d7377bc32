"""A broker on a small file system of its own, which another program fills; `test_disk` runs it where it may mount."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import anyio

from aioqueue import DiskLow, Queue, Worker
from aioqueue.broker import broker as broker_module
from aioqueue.broker.opening import open_broker
from aioqueue.ground import Ground
from aioqueue.transport.address import SqliteAddress
from aioqueue.transport.tcp import listen

SIZE = "24m"
RESERVE = 8 * 1024 * 1024
LEFT = 1024 * 1024


def fill(path: str, left: int) -> None:
    """Take all that is free, save so many bytes."""
    state = os.statvfs(os.path.dirname(path))
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize - left)


async def program(folder: str, url: str) -> None:
    """Submits until the disk is low, has all that was accepted done, and submits again when there is room."""
    journal, other = os.path.join(folder, "jobs.db"), os.path.join(folder, "other")
    queue = Queue(url)

    @queue.task
    async def echo(number: int) -> int:
        return number

    async with queue:
        jobs = [await queue.submit(echo, number) for number in range(200)]
        assert os.path.exists(journal + ".reserve")
        fill(other, LEFT)
        low: DiskLow | None = None
        while low is None:
            try:
                jobs.append(await queue.submit(echo, len(jobs)))
            except DiskLow as error:
                low = error
        assert (low.path, low.needed) == (journal, RESERVE)
        while await asyncio.to_thread(os.path.exists, journal + ".reserve"):
            pass
        async with Worker(queue):
            assert [await job for job in jobs] == list(range(len(jobs)))
        os.unlink(other)
        while True:
            try:
                await queue.submit(echo, 0)
                break
            except DiskLow:
                await asyncio.sleep(0.01)


async def main(folder: str) -> None:
    address = SqliteAddress(os.path.join(folder, "jobs.db"))
    async with (
        open_broker(address, ground=Ground(), disk_reserve=RESERVE) as broker,
        anyio.create_task_group() as tasks,
    ):
        listener = await listen("127.0.0.1", 0)
        tasks.start_soon(listener.serve, broker.attend, tasks)
        await program(folder, listener.url)
        await listener.aclose()
        tasks.cancel_scope.cancel()
    print("all is well")


if __name__ == "__main__":
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", sys.argv[1]], check=True)
    broker_module.DISK_LOOK_SECONDS = 0.02
    asyncio.run(main(sys.argv[1]))
