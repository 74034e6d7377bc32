"""A steady load, and the kills that it has to bear: what `test_kills.py` plays.

`plan` turns a seed into the schedule and does nothing else: the same seed, the same schedule. `Campaign` plays it: a
broker, supervisors of worker processes, clients of the test and a producer of its own process that submit and wait, all
of it killed again and again. Clients write down what they were told; so do the producer and the worker processes, in
the log of `tests.support.logged_app`.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from aioqueue import Job, Queue
from tests.faults.ledger import Clients, Evidence, Mark, read_journal, read_marks
from tests.faults.producer import end_of, submit_one
from tests.support.commands import environment
from tests.support.logged_app import mark_in
from tests.support.nursery import Forked, Nursery
from tests.support.patience import eventually
from tests.support.programs import BrokerProgram, WorkerProgram, marks_of

SUPERVISORS: Final = 2
# Of each supervisor. One that died young is started again after a pause, so many kills of workers want many of them.
PROCESSES: Final = int(os.environ.get("AIOQUEUE_KILL_PROCESSES", "2"))
CLIENTS: Final = 4
# Jobs that each client has under way.
WINDOW: Final = 10


class Victim(StrEnum):
    """Who is killed."""

    BROKER = "broker"
    BROKER_TWICE = "broker-twice"
    WORKER = "worker"
    SUPERVISOR = "supervisor"
    PRODUCER = "producer"


# Worker processes are what is there most of, and what dies most in real life.
_WEIGHTS: Final = {
    Victim.BROKER: 5, Victim.BROKER_TWICE: 1, Victim.WORKER: 5, Victim.SUPERVISOR: 1, Victim.PRODUCER: 2,
}  # fmt: skip


class Kill(NamedTuple):
    """One SIGKILL, `after_ms` after the one before; `chance` picks among several and says how far a beginning gets."""

    after_ms: int
    victim: Victim
    chance: float


def plan(seed: int, cycles: int, kinds: Sequence[Victim] = tuple(Victim)) -> list[Kill]:
    """The schedule of a seed, of these kinds of kills."""
    chance = random.Random(seed)
    weights = [_WEIGHTS[kind] for kind in kinds]
    return [Kill(chance.randrange(10, 250), chance.choices(kinds, weights)[0], chance.random()) for _ in range(cycles)]


class Campaign:
    """One play of a schedule in a folder of its own."""

    def __init__(self, folder: Path, stack: AsyncExitStack, *, session_ttl: str = "2s") -> None:
        self._folder = folder
        self._stack = stack
        self._session_ttl = session_ttl
        self._nursery: Nursery
        self._broker: BrokerProgram
        self._workers: list[WorkerProgram] = []
        self._producer: Forked
        self._lives = 0
        # Worker processes that were killed, until their supervisor has noticed.
        self._dying: set[int] = set()
        self._over = asyncio.Event()
        self.clients = Clients()
        self.expected: dict[str, str] = {}
        self.kills: Counter[Victim] = Counter()

    async def begin(self) -> None:
        """Start everything but the clients."""
        self._nursery = await self._stack.enter_async_context(Nursery())
        self._broker = BrokerProgram(self._folder, session_ttl=self._session_ttl, nursery=self._nursery)
        await self._broker.start()
        self._stack.push_async_callback(self._broker.end)
        await self.open_doors()
        self._workers = [await self._new_worker() for _ in range(SUPERVISORS)]
        await self._new_producer()

    async def open_doors(self) -> None:
        """What stands between the broker and the others; here nothing."""

    @property
    def worker_url(self) -> str:
        return self._broker.url

    @property
    def client_url(self) -> str:
        return self._broker.url

    async def play(self, storm: Callable[[], Awaitable[None]], seed: int) -> None:
        """Begin, let `storm` do its worst while clients work, and wait until everybody was told every end."""
        await self.begin()
        async with asyncio.TaskGroup() as tasks:
            for number in range(CLIENTS):
                tasks.create_task(self._client(random.Random(f"{seed}/{number}")))
            await storm()
            await self.calm()
            self._over.set()
        await self._see_ends_of_producers()

    async def strike(self, kills: list[Kill]) -> None:
        """Kill by the schedule."""
        for kill in kills:
            # The instants are the schedule's, not those of anything that could be waited for.
            await asyncio.sleep(kill.after_ms / 1000)
            await self._strike(kill)

    async def calm(self) -> None:
        """The faults are over: what must be so from now on."""
        await self._work()

    async def close(self) -> Evidence:
        """Stop what still runs in good order; what the journal says."""
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        self._broker.terminate()
        assert await self._broker.ended() == 0
        return await read_journal(self._broker.journal)

    def marks(self) -> list[Mark]:
        """What all processes wrote down; each look reads all of it."""
        return read_marks(marks_of(self._folder))

    # --- killing ---

    async def _strike(self, kill: Kill) -> None:
        if kill.victim is Victim.SUPERVISOR:
            # Killed before their processes work, all of them would work never.
            await self._work()
            self.kills[kill.victim] += 1
            await self._strike_supervisor(int(kill.chance * SUPERVISORS))
        elif kill.victim is Victim.WORKER:
            await self._strike_process(kill.chance)
        elif kill.victim is Victim.PRODUCER:
            self.kills[kill.victim] += 1
            self._producer.kill()
            await self._producer.wait()
            await self._new_producer()
        else:
            # A broker that nobody reached yet has nothing to lose.
            await self._work()
            await self._strike_broker(kill)

    async def _strike_broker(self, kill: Kill) -> None:
        await self._kill_broker(kill.victim)
        if kill.victim is Victim.BROKER_TWICE:
            await self._broker.spawn()
            await asyncio.sleep(kill.chance)
            await self._kill_broker(kill.victim)
        await self._broker.start()

    async def _kill_broker(self, victim: Victim) -> None:
        self._broker.kill()
        self.kills[victim] += 1
        await self._broker.ended()

    async def _strike_supervisor(self, index: int) -> None:
        self._workers[index].kill()
        await self._workers[index].end()
        self._workers[index] = await self._new_worker()

    async def _strike_process(self, chance: float) -> None:
        # Those that died are started again by their supervisor, the later the more often they died; one that is not
        # ready yet has nothing to lose.
        children: list[int] = []

        def some_are_ready() -> bool:
            children[:] = self._ready_children()
            return bool(children)

        await eventually(some_are_ready)
        victim = children[int(chance * len(children))]
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            self._dying.add(victim)
            self.kills[Victim.WORKER] += 1

    def _children(self) -> list[int]:
        found: list[int] = []
        for worker in self._workers:
            with suppress(psutil.Error):
                found += [child.pid for child in psutil.Process(worker.pid).children()]
        return found

    def _ready_children(self) -> list[int]:
        log = (self._folder / "worker.err").read_text()
        # A number may come again.
        said = {pid: log.rpartition(f"worker process {pid} ")[2] for pid in self._children()}
        self._dying &= said.keys()
        return [pid for pid, last in said.items() if last.startswith("is ready") and pid not in self._dying]

    async def _new_worker(self) -> WorkerProgram:
        worker = WorkerProgram(
            self._folder, self.worker_url, grace="5s", concurrency=WINDOW, processes=PROCESSES, nursery=self._nursery
        )
        await worker.start()
        return worker

    async def _new_producer(self) -> None:
        self._lives += 1
        self._producer = await self._nursery.begin(
            "tests.faults.producer:main", [self.client_url, str(marks_of(self._folder)), str(self._lives)],
            cwd=self._folder, env=environment(), errors=self._folder / "producer.err",
        )  # fmt: skip

    # --- clients ---

    async def _work(self) -> None:
        """Wait until one more end was told."""
        before = len(self.clients.seen)
        await eventually(lambda: len(self.clients.seen) > before)

    async def _client(self, chance: random.Random) -> None:
        """One client with `WINDOW` jobs under way until the kills are over; then it asks for every end again."""
        jobs: list[Job[Any]] = []
        async with Queue(self.client_url, timeout=None) as queue, asyncio.TaskGroup() as tasks:
            for lane in range(WINDOW):
                tasks.create_task(self._lane(queue, random.Random(f"{chance.random()}/{lane}"), jobs))
        # As somebody else, who was not there when the jobs ended.
        async with Queue(self.client_url, timeout=None) as queue:
            for job in jobs:
                await self._see(await queue.get(job.id))

    async def _lane(self, queue: Queue, chance: random.Random, jobs: list[Job[Any]]) -> None:
        while not self._over.is_set():
            job, result = await submit_one(queue, chance)
            self.clients.acknowledged.add(job.id)
            self.expected[job.id] = result
            jobs.append(job)
            await self._see(job)

    async def _see(self, job: Job[Any]) -> None:
        result = await end_of(job)
        mark_in(marks_of(self._folder), "seen", job.id, result)
        self.clients.seen.append((job.id, result))

    async def _see_ends_of_producers(self) -> None:
        """Ask for what was promised to producers, most of which are dead; each end they saw counts as well."""
        self._producer.kill()
        await self._producer.wait()
        async with Queue(self.client_url, timeout=None) as queue:
            for mark in self.marks():
                if mark.what == "acked":
                    self.clients.acknowledged.add(mark.job)
                    self.expected[mark.job] = mark.words[0]
                    await self._see(await queue.get(mark.job))
                elif mark.what == "seen":
                    self.clients.seen.append((mark.job, mark.words[0]))
