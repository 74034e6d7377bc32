"""Many of the largest payloads at once: through submit, delivery, result and archive, within bounded memory."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from aioqueue import Queue, Worker
from aioqueue.bench import processes
from aioqueue.limits import MIB, OUTBOX_BYTES_MAX

# More than a connection may hold of them.
JOBS = OUTBOX_BYTES_MAX // MIB + 18


@pytest.mark.timeout(400)
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory of another process is read from /proc")
@pytest.mark.parametrize("cache", [16, 256])
async def test_payloads_of_full_size_from_many_at_once_go_through_and_the_broker_stays_small(
    tmp_path: Path, cache: int
) -> None:
    data = os.urandom(MIB - 64)
    highest = 0
    async with processes.broker(str(tmp_path), "--body-cache", f"{cache}MiB") as (broker, url):
        queue = Queue(url)

        @queue.task(name="large.echo")
        async def echo(data: bytes) -> bytes:
            return data

        async with queue, AsyncExitStack() as stack:
            before = broker.usage().resident_bytes
            producers = [await stack.enter_async_context(Queue(url)) for _ in range(5)]
            jobs = await asyncio.gather(*(each.submit(echo, data) for each in producers for _ in range(JOBS // 5)))
            async with Worker(queue, concurrency=JOBS):
                for job in jobs:
                    assert await job == data
                    highest = max(highest, broker.usage().resident_bytes - before)
    # Beside the cache: what waits for the archive, 64 MiB at most, for two connections, and the batch in hand.
    assert highest < (min(cache, JOBS) + 144) * MIB


@pytest.mark.timeout(400)
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory of another process is read from /proc")
async def test_results_that_are_more_than_a_connection_holds_come_to_who_asks_for_all_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a client does that comes back to what ended while it was away: it would be cut off, again and again."""
    data = os.urandom(MIB - 64)
    async with processes.broker(str(tmp_path)) as (broker, url):
        queue = Queue(url)

        @queue.task(name="large.make")
        async def make(number: int) -> bytes:
            return data

        async with queue:
            ids = [(await queue.submit(make, number)).id for number in range(JOBS)]
            async with Worker(queue, concurrency=4):
                for job_id in ids:
                    assert len(await (await queue.get(job_id))) == len(data)
        before = broker.usage().resident_bytes
        async with queue:
            jobs = [await queue.get(job_id) for job_id in ids]
            assert await asyncio.gather(*jobs) == [data] * JOBS
        assert "lost the broker" not in caplog.text
        # What waits to be sent, and as much again of what is being looked up and packed: without a bound it would be
        # all of them three times. The rest is for what an allocator keeps.
        assert broker.usage().resident_bytes - before < 4 * OUTBOX_BYTES_MAX
