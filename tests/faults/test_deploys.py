"""Two releases of an app, deployed over each other under load: no job is given to a worker that cannot run it.

Every task is tried once only, so that a single attempt spent would be a dead job. `AIOQUEUE_RELEASES` says how many.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aioqueue import Job, Queue
from tests.support.programs import BrokerProgram
from tests.support.release import release

RELEASES = int(os.environ.get("AIOQUEUE_RELEASES", "50"))
JOBS_A_TASK = 5
ROOT = Path(__file__).parents[2]


class WorkerOf:
    """The worker process of one release."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str, number: int) -> WorkerOf:
        """Deploy it; it is welcome at the broker when this returns."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.release", url, str(number),
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return cls(process)

    async def stop(self) -> None:
        """Let it finish, as every deploy does."""
        self._process.terminate()
        assert await self._process.wait() == 0

    async def end(self) -> None:
        """Kill it, if it runs."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


class Fleet:
    """The workers that run, and all jobs that were submitted."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.workers: dict[int, WorkerOf] = {}
        self.jobs: list[Job[int]] = []

    async def deploy(self, number: int) -> None:
        self.workers[number] = await WorkerOf.start(self.queue.url, number)

    async def retire(self, number: int) -> None:
        await self.workers[number].stop()

    async def submit(
        self, number: int, task: str, *args: int, count: int = JOBS_A_TASK, **kwargs: int
    ) -> list[Job[int]]:
        """What the producers of a release submit of one task."""
        found = release(number).tasks.get(task)
        jobs: list[Job[int]] = await self.queue.submit_many(found.call(*args, **kwargs) for _ in range(count))
        self.jobs += jobs
        return jobs

    async def send(self, number: int) -> list[Job[int]]:
        """Jobs that only this release can be called with."""
        return await self.submit(number, "send", **{f"v{number}": number})

    async def load(self, over: asyncio.Event) -> None:
        """Jobs that every release can do, as fast as they are done."""
        while not over.is_set():
            await asyncio.gather(*await self.submit(0, "common", 1, count=20))


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    broker = BrokerProgram(tmp_path, session_ttl="20s")
    await broker.start()
    async with Queue(broker.url) as queue:
        made = Fleet(queue)
        yield made
        for worker in made.workers.values():
            await worker.end()
    await broker.end()


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(300 + 20 * RELEASES)
async def test_no_deploy_spends_an_attempt_whichever_comes_first(fleet: Fleet) -> None:
    over = asyncio.Event()
    await fleet.deploy(0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fleet.load(over))
        # What no later release can run: it must be over before this one goes, in any queue.
        ending = await fleet.send(0)
        for number in range(1, RELEASES + 1):
            producers_first, side_by_side = number % 2 == 0, number % 4 < 2
            if producers_first:
                # What only the new release knows waits for it.
                await fleet.submit(number, f"feature-{number}", number)
            if side_by_side:
                await fleet.deploy(number)
                # Both take jobs, and neither can be called as the other is.
                mixed = [job for each in (number, number - 1, number) for job in await fleet.send(each)]
                await asyncio.gather(*mixed, *ending)
                await fleet.retire(number - 1)
            else:
                await asyncio.gather(*ending)
                await fleet.retire(number - 1)
                await fleet.submit(number, "common", number)
                await fleet.deploy(number)
            await fleet.submit(number, f"feature-{number}", number)
            ending = await fleet.send(number) + await fleet.submit(number, f"feature-{number - 1}", number)
        over.set()
    await asyncio.gather(*fleet.jobs)
    found = [info async for info in fleet.queue.find()]
    assert len(found) == len(fleet.jobs)
    assert [info.id for info in found if info.state != "succeeded" or info.failures or info.crashes] == []
