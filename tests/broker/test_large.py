"""Many of the largest payloads at once: through submit, delivery, result and archive, within bounded memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aioqueue import Queue, Worker
from aioqueue.bench import processes
from aioqueue.limits import MIB, OUTBOX_BYTES_MAX

# More than a connection may hold of them.
JOBS = OUTBOX_BYTES_MAX // MIB + 18


@pytest.mark.timeout(150)
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory of another process is read from /proc")
@pytest.mark.parametrize("cache", [16, 256])
async def test_payloads_of_full_size_go_through_at_once_and_the_broker_stays_small(tmp_path: Path, cache: int) -> None:
    data = os.urandom(MIB - 64)
    highest = 0
    async with processes.broker(str(tmp_path), "--body-cache", f"{cache}MiB") as (broker, url):
        queue = Queue(url)

        @queue.task(name="large.echo")
        async def echo(data: bytes) -> bytes:
            return data

        async with queue:
            before = broker.usage().resident_bytes
            jobs = [await queue.submit(echo, data) for _ in range(JOBS)]
            async with Worker(queue, concurrency=JOBS):
                for job in jobs:
                    assert await job == data
                    highest = max(highest, broker.usage().resident_bytes - before)
    # Beside the cache: what waits for the archive, 64 MiB at most, for two connections, and the batch in hand.
    assert highest < (min(cache, JOBS) + 144) * MIB
