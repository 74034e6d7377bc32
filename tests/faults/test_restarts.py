"""A deploy under load: the broker and a worker are replaced in good order, and nobody who uses them is told."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from aioqueue import Queue
from tests.support import logged_app
from tests.support.programs import BrokerProgram, WorkerProgram, marks_of

CLIENTS = 3
RESTARTS = 1


@pytest.mark.faults
@pytest.mark.slow
async def test_broker_and_worker_are_replaced_and_no_call_fails_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    broker = BrokerProgram(tmp_path, session_ttl="20s")
    await broker.start()
    workers = [WorkerProgram(tmp_path, broker.url, grace="20s", concurrency=5)]
    await workers[0].start()
    over = asyncio.Event()
    try:
        async with Queue(broker.url) as queue:
            await queue.run(logged_app.step, 0)

            async def use(client: int) -> int:
                done = 0
                while not over.is_set():
                    number = client * 1_000_000 + done
                    assert await queue.run(logged_app.step, number) == number * 2
                    done += 1
                return done

            using = [asyncio.create_task(use(client)) for client in range(CLIENTS)]
            for _ in range(RESTARTS):
                workers.append(WorkerProgram(tmp_path, broker.url, grace="20s", concurrency=5))
                await workers[-1].start()
                broker.terminate()
                assert await broker.ended() == 0
                await broker.start()
                # The successor serves: a call that begins now comes back.
                assert await queue.run(logged_app.step, 1) == 2
                workers[-2].send(signal.SIGTERM)
                assert await workers[-2].ended() == 0
            over.set()
            done = await asyncio.gather(*using)
        assert all(done)
        starts = Counter(
            line.split()[1] for line in marks_of(tmp_path).read_text().splitlines() if line.startswith("start ")
        )
        assert set(starts.values()) == {1}
        assert len(starts) == sum(done) + 1 + RESTARTS
    finally:
        over.set()
        for worker in workers:
            await worker.end()
        await broker.end()
