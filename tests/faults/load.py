"""A steady load, and the kills that it has to bear: what `test_kills.py` plays.

`plan` turns a seed into the schedule and does nothing else: the same seed, the same schedule. `Campaign` plays it: a
broker, two supervisors of two worker processes each, clients that submit and wait, all of it killed again and again.
Clients write down what they were told; so do the worker processes, in the log of `tests.support.logged_app`.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import AsyncExitStack, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from aioqueue import Job, JobFailed, Queue
from tests.faults.ledger import Clients, Evidence, read_journal
from tests.support.logged_app import mark_in, pause, step
from tests.support.programs import BrokerProgram, WorkerProgram, marks_of

SUPERVISORS: Final = 2
PROCESSES: Final = 2
CLIENTS: Final = 4
# Jobs that each client has under way.
WINDOW: Final = 10


class Victim(StrEnum):
    """Who is killed."""

    BROKER = "broker"
    BROKER_TWICE = "broker, and the next one while it begins"
    WORKER = "worker process"
    SUPERVISOR = "supervisor"


# Worker processes are what is there most of, and what dies most in real life.
_WEIGHTS: Final = {Victim.BROKER: 5, Victim.BROKER_TWICE: 1, Victim.WORKER: 5, Victim.SUPERVISOR: 1}


class Kill(NamedTuple):
    """One SIGKILL, `after_ms` after the one before; `chance` picks among several and says how far a beginning gets."""

    after_ms: int
    victim: Victim
    chance: float


def plan(seed: int, cycles: int) -> list[Kill]:
    """The schedule of a seed."""
    chance = random.Random(seed)
    victims, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    return [
        Kill(chance.randrange(20, 500), chance.choices(victims, weights)[0], chance.random()) for _ in range(cycles)
    ]


class Campaign:
    """One play of a schedule in a folder of its own."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._broker = BrokerProgram(folder, session_ttl="2s")
        self._workers: list[WorkerProgram] = []
        self._over = asyncio.Event()
        self.clients = Clients()
        self.expected: dict[str, str] = {}
        self.kills = 0

    async def play(self, kills: list[Kill], seed: int) -> None:
        """Begin, kill by the schedule while clients work, and wait until they were told every end."""
        await self._broker.start()
        self._stack.push_async_callback(self._broker.end)
        self._workers = [await self._new_worker() for _ in range(SUPERVISORS)]
        async with asyncio.TaskGroup() as tasks:
            for number in range(CLIENTS):
                tasks.create_task(self._client(random.Random(f"{seed}/{number}")))
            for kill in kills:
                # The instants are the schedule's, not those of anything that could be waited for.
                await asyncio.sleep(kill.after_ms / 1000)
                await self._strike(kill)
            self._over.set()

    async def close(self) -> Evidence:
        """Stop what still runs in good order; what the journal says."""
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        self._broker.terminate()
        assert await self._broker.ended() == 0
        return await read_journal(self._broker.journal)

    # --- killing ---

    async def _strike(self, kill: Kill) -> None:
        if kill.victim is Victim.SUPERVISOR:
            await self._strike_supervisor(int(kill.chance * SUPERVISORS))
        elif kill.victim is Victim.WORKER:
            self._strike_process(kill.chance)
        else:
            await self._strike_broker()
            if kill.victim is Victim.BROKER_TWICE:
                await self._broker.spawn()
                await asyncio.sleep(kill.chance)
                await self._strike_broker()
            await self._broker.start()

    async def _strike_broker(self) -> None:
        self._broker.kill()
        self.kills += 1
        await self._broker.ended()

    async def _strike_supervisor(self, index: int) -> None:
        self._workers[index].kill()
        self.kills += 1
        self._workers[index] = await self._new_worker()

    def _strike_process(self, chance: float) -> None:
        children: list[psutil.Process] = []
        for worker in self._workers:
            children += psutil.Process(worker.pid).children()
        # Those that died just now are started again in a moment, by their supervisor.
        if children:
            with suppress(ProcessLookupError):
                os.kill(children[int(chance * len(children))].pid, signal.SIGKILL)
                self.kills += 1

    async def _new_worker(self) -> WorkerProgram:
        worker = WorkerProgram(self._folder, self._broker.url, grace="5s", concurrency=WINDOW, processes=PROCESSES)
        await worker.start()
        self._stack.push_async_callback(worker.end)
        return worker

    # --- clients ---

    async def _client(self, chance: random.Random) -> None:
        """One client with `WINDOW` jobs under way until the kills are over; then it asks for every end again."""
        jobs: list[Job[Any]] = []
        async with Queue(self._broker.url) as queue, asyncio.TaskGroup() as tasks:
            for lane in range(WINDOW):
                tasks.create_task(self._lane(queue, random.Random(f"{chance.random()}/{lane}"), jobs))
        # As somebody else, who was not there when the jobs ended.
        async with Queue(self._broker.url) as queue:
            for job in jobs:
                await self._see(await queue.get(job.id))

    async def _lane(self, queue: Queue, chance: random.Random, jobs: list[Job[Any]]) -> None:
        while not self._over.is_set():
            number = chance.randrange(1_000_000)
            if chance.random() < 0.3:
                job = await queue.submit(step, number)
            else:
                job = await queue.submit(pause, number, round(chance.uniform(0.02, 0.4), 3))
            self.clients.acknowledged.add(job.id)
            self.expected[job.id] = str(number * 2)
            jobs.append(job)
            await self._see(job)

    async def _see(self, job: Job[Any]) -> None:
        try:
            result = str(await job)
        except JobFailed:
            result = "failed"
        mark_in(marks_of(self._folder), "seen", job.id, result)
        self.clients.seen.append((job.id, result))
