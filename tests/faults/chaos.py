"""Bad weather, stops and kills at once, upon real processes behind proxies: what `test_chaos.py` plays.

`forecast` turns a seed into the schedule and does nothing else: the same seed, the same schedule. `Chaos` plays it on
the load of `tests.faults.load`: workers (supervisor and worker processes) behind one proxy, clients and a producer of
its own process behind another. When the faults are over everything must come back by itself within `CALM_SECONDS`.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, suppress
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from aioqueue import Queue
from aioqueue.protocol.messages import Role
from tests.faults.load import PROCESSES, SUPERVISORS, Campaign
from tests.support.logged_app import step
from tests.support.patience import eventually
from tests.support.proxy import BOTH, HOLE, Proxy, Toward, Weather

# All clients are back within 30 s of a restart, a dead worker's jobs within a ttl and a second; then there is work.
CALM_SECONDS: Final = 180.0
TTL_MS: Final = 1_000


class Trouble(StrEnum):
    """What happens."""

    HOLE = "nothing passes"
    SLICES = "one byte at a time"
    DELAY = "late"
    NARROW = "slow"
    SEVER = "cut in good order"
    RESET = "reset"
    HALF_CLOSE = "half closed"
    STOP_BROKER = "broker stopped"
    STOP_SUPERVISOR = "supervisor stopped"
    STOP_PROCESS = "worker process stopped"
    KILL_BROKER = "broker killed"
    KILL_SUPERVISOR = "supervisor killed"
    KILL_PROCESS = "worker process killed"
    KILL_PRODUCER = "producer killed"
    RESTART_BROKER = "broker restarted in good order"
    RESTART_SUPERVISOR = "supervisor restarted in good order"


_WEATHERS: Final = {
    Trouble.HOLE: HOLE,
    Trouble.SLICES: Weather(slice_bytes=1),
    Trouble.DELAY: Weather(delay_seconds=0.1),
    Trouble.NARROW: Weather(slice_bytes=512, bytes_a_second=20_000),
}
_ROLES: Final = ((Role.WORKER,), (Role.HEARTBEAT,), (Role.CLIENT,), tuple(Role))
_DIRECTIONS: Final = ((Toward.BROKER,), (Toward.PEER,), BOTH)


class Blow(NamedTuple):
    """One trouble, `after_ms` after the last and for `for_ms` where it lasts; the next may come before its end."""

    after_ms: int
    trouble: Trouble
    for_ms: int
    roles: tuple[Role, ...]
    toward: tuple[Toward, ...]
    chance: float


def forecast(seed: int, cycles: int) -> list[Blow]:
    """The schedule of a seed: each trouble once before any comes again, some shorter than a ttl and some longer."""
    chance = random.Random(seed)
    troubles: list[Trouble] = []
    while len(troubles) < cycles:
        troubles += chance.sample(list(Trouble), len(Trouble))
    return [
        Blow(
            chance.randrange(50, 400), trouble, chance.randrange(TTL_MS // 4, 2 * TTL_MS), chance.choice(_ROLES),
            chance.choice(_DIRECTIONS), chance.random(),
        )
        for trouble in troubles[:cycles]
    ]  # fmt: skip


class Chaos(Campaign):
    """One play of a forecast in a folder of its own."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        super().__init__(folder, stack, session_ttl=f"{TTL_MS}ms")
        self._doors: list[Proxy] = []
        self.troubles: Counter[Trouble] = Counter()
        self.idle_found = -1
        self._acts: dict[Trouble, Callable[[Blow], Awaitable[None]]] = {
            Trouble.SEVER: self._cut,
            Trouble.RESET: self._cut,
            Trouble.HALF_CLOSE: self._cut,
            Trouble.STOP_BROKER: self._stop,
            Trouble.STOP_SUPERVISOR: self._stop,
            Trouble.STOP_PROCESS: self._stop,
            Trouble.KILL_BROKER: self._end_broker,
            Trouble.RESTART_BROKER: self._end_broker,
            Trouble.KILL_SUPERVISOR: self._end_supervisor,
            Trouble.RESTART_SUPERVISOR: self._end_supervisor,
            Trouble.KILL_PROCESS: self._kill_process,
            Trouble.KILL_PRODUCER: self._kill_producer,
        } | dict.fromkeys(_WEATHERS, self._spoil)

    async def open_doors(self) -> None:
        self._doors = [await self._stack.enter_async_context(Proxy(self._broker.port)) for _ in range(2)]

    @property
    def worker_url(self) -> str:
        return self._doors[0].url

    @property
    def client_url(self) -> str:
        return self._doors[1].url

    async def storm(self, blows: list[Blow]) -> None:
        async with asyncio.TaskGroup() as lasting:
            for blow in blows:
                await asyncio.sleep(blow.after_ms / 1000)
                self.troubles[blow.trouble] += 1
                act = self._acts[blow.trouble](blow)
                if blow.trouble in _WEATHERS or blow.trouble in _STOPS:
                    lasting.create_task(_awaited(act))
                else:
                    await act

    async def calm(self) -> None:
        """Everybody works again: every client, and every worker process."""
        async with asyncio.timeout(CALM_SECONDS):
            await self._work()
            async with Queue(self.client_url, timeout=None) as queue:
                await self._everybody_consumes(queue)
                async with aclosing(queue.statistics()) as updates:
                    self.idle_found = (await anext(updates)).idle_found

    async def _everybody_consumes(self, queue: Queue) -> None:
        """Each worker process that lives begins one more job."""
        seen = len(self.marks())
        while True:
            # As many at a time as all of them have slots, so that each is given some.
            await asyncio.gather(*(queue.run(step, number) for number in range(20 * SUPERVISORS * PROCESSES)))
            begun = {int(mark.words[2]) for mark in self.marks()[seen:] if mark.what == "start"}
            children = self._children()
            if len(children) == SUPERVISORS * PROCESSES and begun.issuperset(children):
                return

    # --- troubles ---

    async def _spoil(self, blow: Blow) -> None:
        for door in self._doors:
            door.spoil(_WEATHERS[blow.trouble], toward=blow.toward, roles=blow.roles)
        await asyncio.sleep(blow.for_ms / 1000)
        for door in self._doors:
            door.clear()

    async def _cut(self, blow: Blow) -> None:
        for door in self._doors:
            if blow.trouble is Trouble.SEVER:
                door.sever(*blow.roles)
            elif blow.trouble is Trouble.RESET:
                door.reset(*blow.roles)
            else:
                for toward in blow.toward:
                    door.half_close(toward, *blow.roles)

    async def _stop(self, blow: Blow) -> None:
        if blow.trouble is Trouble.STOP_BROKER:
            pid = self._broker.pid
        elif blow.trouble is Trouble.STOP_SUPERVISOR:
            pid = self._workers[int(blow.chance * SUPERVISORS)].pid
        else:
            await eventually(lambda: bool(self._children()))
            children = self._children()
            pid = children[int(blow.chance * len(children))]
        # It may be killed while it is stopped; another process never gets its number so soon.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(blow.for_ms / 1000)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    async def _end_broker(self, blow: Blow) -> None:
        # A signal in good order would not reach one that is stopped before it goes on.
        if blow.trouble is Trouble.KILL_BROKER:
            self._broker.kill()
        else:
            self._broker.terminate()
        await self._broker.ended()
        await self._broker.start()

    async def _end_supervisor(self, blow: Blow) -> None:
        index = int(blow.chance * SUPERVISORS)
        worker = self._workers[index]
        await (worker.end() if blow.trouble is Trouble.KILL_SUPERVISOR else worker.stop())
        self._workers[index] = await self._new_worker()

    async def _kill_process(self, blow: Blow) -> None:
        await self._strike_process(blow.chance)

    async def _kill_producer(self, blow: Blow) -> None:
        self._producer.kill()
        await self._producer.wait()
        await self._new_producer()


_STOPS: Final = (Trouble.STOP_BROKER, Trouble.STOP_SUPERVISOR, Trouble.STOP_PROCESS)


async def _awaited(act: Awaitable[None]) -> None:
    await act
