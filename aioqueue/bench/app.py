"""The tasks that the benchmark's worker runs."""

from __future__ import annotations

import asyncio

from aioqueue import Queue

queue = Queue()


@queue.task(name="bench.noop")
async def noop() -> None:
    """Nothing: what is measured is the queue."""


@queue.task(name="bench.swallow")
async def swallow(data: bytes) -> None:
    """Nothing, with an argument of some size."""


@queue.task(name="bench.sleep")
async def sleep(seconds: float) -> None:
    """Waiting, as most coroutines do most of the time."""
    await asyncio.sleep(seconds)
