"""A deploy under load: the broker and a worker are replaced in good order, and nobody who uses them is told.

`AIOQUEUE_DEPLOYS` says how often. How long after its SIGTERM a worker still began a job is measured by the jobs
themselves, and printed: `AIOQUEUE_DEPLOYS=100 python -m pytest -n 0 -s tests/faults/test_restarts.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from aioqueue import Queue
from tests.faults.ledger import Mark, read_marks
from tests.support import logged_app
from tests.support.patience import LOOK_SECONDS
from tests.support.programs import BrokerProgram, WorkerProgram, marks_of

RESTARTS = int(os.environ.get("AIOQUEUE_DEPLOYS", "1"))
CLIENTS = 3
BURST = 200 if RESTARTS == 1 else 2_000
_NS_A_MS = 1_000_000


class Drain(NamedTuple):
    """A worker was told to stop: when, by the clock that all processes share, and which processes it had."""

    at_ns: int
    pids: set[str]


def begun_by(pids: set[str], folder: Path) -> int:
    """How many runs these processes have begun."""
    return sum(mark.what == "start" and mark.words[2] in pids for mark in read_marks(marks_of(folder)))


def last_begins_ms(drains: list[Drain], starts: list[Mark]) -> list[float]:
    """For each drain how long after it the worker still began a job; 0 where it began none. Sorted."""
    found = []
    for drain in drains:
        begun_ns = [int(mark.words[3]) for mark in starts if mark.words[2] in drain.pids]
        assert begun_ns, "a worker that had no jobs proves nothing"
        found.append(max(0, max(begun_ns) - drain.at_ns) / _NS_A_MS)
    return sorted(found)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(300 + 20 * RESTARTS)
async def test_broker_and_worker_are_replaced_and_no_call_fails_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    broker = BrokerProgram(tmp_path, session_ttl="20s")
    await broker.start()
    workers = [WorkerProgram(tmp_path, broker.url, grace="20s", concurrency=5)]
    await workers[0].start()
    over = asyncio.Event()
    drains: list[Drain] = []
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
                pids = {str(child.pid) for child in psutil.Process(workers[-2].pid).children()}
                # It has found the successor, and is in the midst of work without an end.
                jobs = await queue.submit_many(logged_app.step.call(number) for number in range(BURST))
                before = begun_by(pids, tmp_path)
                while begun_by(pids, tmp_path) == before:  # noqa: ASYNC110 - another process's log
                    await asyncio.sleep(LOOK_SECONDS)
                drains.append(Drain(time.monotonic_ns(), pids))
                workers[-2].send(signal.SIGTERM)
                assert await workers[-2].ended() == 0
                assert await asyncio.gather(*jobs) == [number * 2 for number in range(BURST)]
            over.set()
            done = await asyncio.gather(*using)
        assert all(done)
        starts = [mark for mark in read_marks(marks_of(tmp_path)) if mark.what == "start"]
        assert set(Counter(mark.job for mark in starts).values()) == {1}
        assert len(starts) == sum(done) + 1 + RESTARTS * (BURST + 1)
        late_ms = last_begins_ms(drains, starts)
        half, most = late_ms[len(late_ms) // 2], late_ms[len(late_ms) * 9 // 10]
        print(
            f"deploys: {RESTARTS}, jobs: {len(starts)}; the last begin of a job after SIGTERM: "
            f"p50 {half:.1f} ms, p90 {most:.1f} ms, all within {late_ms[-1]:.1f} ms"
        )
    finally:
        over.set()
        for worker in workers:
            await worker.end()
        await broker.end()
