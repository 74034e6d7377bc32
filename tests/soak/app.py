"""What the soak's workers run: `aioqueue worker tests.soak.app:queue`."""

from __future__ import annotations

import asyncio

from aioqueue import Context, Queue, Retry

queue = Queue("tcp://127.0.0.1:1", name="soak", timeout=None)


@queue.task(name="soak.noop")
async def noop(number: int) -> int:
    return number


@queue.task(name="soak.echo")
async def echo(data: bytes) -> bytes:
    return data


@queue.task(name="soak.flaky", retry=Retry(attempts=4, backoff="constant", base="200ms"))
async def flaky(context: Context, number: int, failures: int) -> int:
    if context.attempt <= failures:
        raise ConnectionError(f"failure {context.attempt} of {failures}")
    return number


@queue.task(name="soak.doomed", retry=Retry(attempts=2, backoff="constant", base="200ms"))
async def doomed(number: int) -> None:
    raise ValueError(f"job {number} was to die")


@queue.task(name="soak.nap")
async def nap(seconds: float) -> None:
    await asyncio.sleep(seconds)


@queue.task(name="soak.family")
async def family(context: Context, numbers: list[int]) -> int:
    """The sum of what its children give."""
    jobs = [await context.submit(noop.options(inherit=True), number) for number in numbers]
    return sum([await job for job in jobs])


@queue.task(name="soak.late_family")
async def late_family(context: Context) -> None:
    """A child that would take far longer than its parent has."""
    await (await context.submit(nap.options(inherit=True), 600.0))
