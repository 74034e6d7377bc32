"""Slots of two classes: coroutines and threads have some, processes have theirs, and no job waits in a worker."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

from aioqueue import Job, Queue, Worker
from tests.support.slots_app import hold


class Held:
    """A job in a process, and the fifos by which it says that it has begun, and is let go."""

    def __init__(self, folder: Path, name: str) -> None:
        self.begun, self.gate = folder / f"{name}.begun", folder / f"{name}.gate"
        os.mkfifo(self.begun)
        os.mkfifo(self.gate)

    async def has_begun(self) -> None:
        await asyncio.to_thread(self.begun.read_text)

    async def let_go(self) -> None:
        await asyncio.to_thread(self.gate.write_text, "gone on")


async def states(jobs: list[Job[str]]) -> Counter[str]:
    return Counter([(await job.info()).state for job in jobs])


async def test_jobs_of_processes_wait_in_the_broker_for_any_worker_that_has_one_free(tmp_path: Path) -> None:
    queue = Queue("memory:", worker=False)
    task = queue.task(hold, name="hold", executor="process")
    double = queue.task(asyncio.sleep, name="sleep")
    async with queue, Worker(queue, job_processes=1, name="w1"), Worker(queue, job_processes=1, name="w2"):
        helds = [Held(tmp_path, str(number)) for number in range(4)]
        jobs = [await queue.submit(task, str(held.begun), str(held.gate)) for held in helds]
        await asyncio.gather(*(held.has_begun() for held in helds[:2]))
        # Each worker has one, and nothing that waits is called running.
        assert await states(jobs) == Counter(running=2, ready=2)
        assert {(await job.info()).worker for job in jobs[:2]} == {"w1", "w2"}
        urgent = Held(tmp_path, "urgent")
        first = await queue.submit(task.options(priority=9), str(urgent.begun), str(urgent.gate))
        # The other class has free slots, whatever waits for a process.
        assert await asyncio.wait_for(queue.run(double, 0), 60) is None
        await helds[0].let_go()
        await urgent.has_begun()
        assert await states(jobs[2:]) == Counter(ready=2)
        for held in (urgent, helds[1]):
            await held.let_go()
        for held in helds[2:]:
            await held.has_begun()
            await held.let_go()
        assert await asyncio.gather(first, *jobs) == ["gone on"] * 5
        assert {(await job.info()).runs for job in jobs} == {1}


async def test_a_job_goes_only_to_a_worker_that_has_all_of_its_labels(tmp_path: Path) -> None:
    queue = Queue("memory:", worker=False)

    @queue.task(labels=["gpu", "eu"])
    async def train() -> str:
        return "trained"

    async with queue, Worker(queue, labels=["gpu"]) as near:
        await near.ready()
        job = await queue.submit(train)
        assert await queue.run(train.options(labels=["gpu"])) == "trained"
        assert (await job.info()).state == "ready"
        async with Worker(queue, labels=["eu", "gpu", "fast"], name="far"):
            assert await job == "trained"
            assert (await job.info()).worker == "far"
