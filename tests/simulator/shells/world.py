"""A whole system made of one seed: the real broker, workers and clients, and everything that can befall them.

First there is a **storm**, in which faults come one after another while people work; then **calm**: all that is dead
is started again, and what the promises say of the time after faults must come true within its bounds; then all leave
in good order. The same seed gives the same journal, byte for byte, and the same trace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from hashlib import sha256
from random import Random
from typing import Any, Final, NamedTuple

from aioqueue.broker.broker import Broker
from aioqueue.client.task import Task
from aioqueue.core.invariants import check_state
from aioqueue.core.partition import Partition
from aioqueue.journal.batch import BatchKind
from aioqueue.journal.memory import MemoryJournal
from tests.simulator.broker import batches, replay
from tests.simulator.checker import Violation
from tests.simulator.retention import cutting_bounds, homes_counted_by
from tests.simulator.shells import faults, workload
from tests.simulator.shells.ground import collect, grounded
from tests.simulator.shells.hosts import Beater, BrokerHost, ClientHost, Process, WorkerHost, current
from tests.simulator.shells.loop import PARTY, Stuck, VirtualLoop
from tests.simulator.shells.network import Network, Weather, Wire
from tests.simulator.shells.storage import Disk
from tests.simulator.shells.watch import Watch
from tests.simulator.shells.witness import Plan, Tap, Witness

TTL_MS: Final = 1_000
STORM_MS: Final = 6_000
PATIENCE_MS: Final = 12_000
# A look at the disk, the slowest sync before what it says, and an answer on its way through a slow network.
ROOM_MS: Final = 1_000 + 2_000 + 1_000


class Outcome(NamedTuple):
    """What a world did: callbacks run, events made durable, jobs that lived, brokers that died, and its digest."""

    steps: int
    events: int
    jobs: int
    crashes: int
    digest: str


class World:
    """All of it. What it is made of may be replaced: who knows better than the processes, who uses it, what strikes."""

    witness_of: Callable[..., Witness] = Witness
    live: Callable[[World, ClientHost], Coroutine[Any, Any, None]] = staticmethod(workload.live)
    storm_of: Callable[[World], faults.Storm] = faults.Storm
    storm_ms = STORM_MS

    def __init__(self, seed: int, say: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.rng = rng = Random(seed)
        self._print = say
        self._trace = sha256()
        self.loop = VirtualLoop(rng)
        self.ttl_ms = TTL_MS
        self.witness = self.witness_of(self.ttl_ms, lambda: self.loop.now_ms, lambda: self.disk.asked_ms)
        self.disk = Disk(rng, self.witness.landed)
        self.bounds = cutting_bounds(seed)
        self.weather = Weather((0.0001, rng.choice((0.0005, 0.002, 0.02))), rng.choice((0.0, 0.1, 0.6)))
        self.weather.buffer_bytes_max = rng.choice((200, 4_000, 262_144, 262_144))
        self.network = Network(rng, self.weather, self._connected)
        self.promised: list[tuple[str, Plan]] = []
        self._named: dict[str, Plan] = {}
        self._numbers = 0
        self.crashes = 0
        # Processes that died without a supervisor, or whose supervisor may tell of it.
        self.graves: list[Process] = []
        self.calm = False
        # From when on there is room on the disk for every job, and the broker knows.
        self.room_ms = 0
        # When tasks that wait for their cancellation end without it.
        self.patience_ends_ms = self.storm_ms + PATIENCE_MS
        self._leaving = False
        self.broker = BrokerHost(self, self._broker_begun, self._broker_over)
        self.workers = [
            WorkerHost(self, number, self._queues(), rng.choice((1, 2, 4, 10)), self._declare, self._worker_over)
            for number in range(rng.randint(1, 3))
        ]
        # Somebody must take from every queue.
        self.workers[0].queues = list(workload.QUEUES)
        self.clients = [
            ClientHost(self, number, lambda host: self.live(self, host)) for number in range(rng.randint(1, 3))
        ]

    # --- a run ---

    def run(self) -> Outcome:
        """Storm, calm and farewell; raises `Violation` where a promise is broken."""
        loop = self.loop
        with grounded(loop, self.rng, self.network, self._heartbeat):
            try:
                loop.run_until_complete(self._history())
                return self._outcome()
            except Stuck as stuck:
                # Somebody may have failed before, and be missed by the others now.
                self.judge()
                raise Violation(str(stuck)) from None
            except Violation:
                raise
            except Exception as error:
                raise Violation(f"defect: the world itself broke down: {error!r}") from error
            finally:
                self._print, self._leaving = None, True
                self.network.gone = self.disk.gone = True
                loop.run_until_complete(loop.bury())
                loop.dispose()

    def _outcome(self) -> Outcome:
        for position, data in self.disk.store.batches.items():
            self._trace.update(b"%d" % position + data)
        lives = len(self.witness.history.lives)
        return Outcome(self.loop.steps, self.witness.events, lives, self.crashes, self._trace.hexdigest()[:16])

    async def _history(self) -> None:
        self.broker.start()
        for host in (*self.workers, *self.clients):
            host.start()
        storm = self.storm_of(self)
        watch = Watch(self)
        while self.loop.now_ms < self.storm_ms:
            await asyncio.sleep(storm.pause_seconds())
            self.judge()
            storm.strike()
        storm.end()
        self.calm = True
        self.room_ms = self.loop.now_ms + ROOM_MS
        self.say("calm")
        await watch.until_all_is_done()
        await self._farewell(watch)

    async def _farewell(self, watch: Watch) -> None:
        """All leave in good order, and nothing is left behind."""
        self._leaving = True
        self._compare()
        for worker in self.workers:
            worker.process.main.call(worker.process.worker.stop)
        await watch.until(lambda: all(worker.process.over for worker in self.workers), 20_000, "a worker did not stop")
        broker = self._present()
        self._require(check_state(broker.engine.partition.state))
        self.broker.stop()
        await watch.until(lambda: self.broker.party.dead, 20_000, "the broker did not stop")
        collect()
        self.judge()
        self.witness.finish()

    # --- judging ---

    def judge(self) -> None:
        """Raise what was found broken by now."""
        if self.witness.broken is not None:
            raise self.witness.broken
        if self.loop.problems:
            problem = self.loop.problems[0]
            raise Violation(problem.what) from problem.error

    def _require(self, found: list[str]) -> None:
        if found:
            raise Violation(found[0])

    def _present(self) -> Broker:
        """The broker at the end of the calm, which nothing may end."""
        self.judge()
        if self.broker.broker is None:
            raise Violation("liveness: the broker is gone, and nobody stopped it")
        return self.broker.broker

    def _broker_begun(self) -> None:
        self.witness.begun_ms = self.loop.now_ms

    def _broker_over(self) -> None:
        if not self._leaving:
            seconds = self.rng.random() * (0.3 if self.calm else self.rng.choice((0.05, 0.3, 1.5)))
            self.later(seconds, self.broker.start)

    def _compare(self) -> None:
        """I17: the journal, replayed from nothing, gives the state in memory of a broker that rests."""
        broker = self._present()
        twin = Partition(self.ttl_ms)
        twin.start_at(self.disk.store.first)
        for batch in batches(MemoryJournal(self.disk.store)):
            if batch.kind is BatchKind.EVENTS:
                replay(twin, batch)
        ours, theirs = broker.engine.partition.state.journaled_part(), twin.state.journaled_part()
        for part in ours:
            if ours[part] != theirs[part]:
                raise Violation(f"I17: {part} in memory {ours[part]!r:.600}, replayed {theirs[part]!r:.600}")

    # --- what others ask ---

    def say(self, *words: object) -> None:
        """One line of the trace."""
        party = PARTY.get(None)
        line = " ".join((f"{self.loop.now_ms:>8}", party.name if party else "world", *map(str, words)))
        self._trace.update(line.encode())
        if self._print is not None:
            self._print(line)

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def named_plan(self, name: str, make: Callable[[], Plan]) -> Plan:
        """What the job of a caller's own name is to do: the same for all."""
        if name not in self._named:
            self._named[name] = make()
        return self._named[name]

    def refused(self) -> None:
        """The broker took a new job from nobody, for its disk is low."""
        if self.calm and self.loop.now_ms > self.room_ms:
            self.loop.note("liveness: a job is refused, and there is room on the disk")

    def not_found(self, error: Exception) -> None:
        """The broker could not look into its archive."""
        if self.calm and self.loop.now_ms > self.room_ms:
            self.loop.note(f"liveness: the archive fails, and there is room on the disk: {error}", error)

    def process_dies(self, process: Process, power: bool = False) -> None:
        """A worker process is gone; another one begins some time later."""
        process.kill(power)
        self.graves.append(process)
        self.say(process.main, "died", "of power" if power else "")
        self._worker_over(process)

    def _worker_over(self, process: Process) -> None:
        host = next(worker for worker in self.workers if worker.process is process)
        self.later(self.rng.random() * 1.5, self._start_worker, host)

    def _start_worker(self, host: WorkerHost) -> None:
        if host.process.over and not self._leaving:
            host.start()

    def later(self, seconds: float, act: Callable[..., object], *arguments: Any) -> None:
        """Do something of the world's own after a time."""
        self.loop.call_later(seconds, act, *arguments, context=faults.NOBODY)

    def _queues(self) -> list[str]:
        return list(self.rng.choice((workload.QUEUES, workload.QUEUES, workload.QUEUES[:1], workload.QUEUES[1:])))

    def _declare(self, process: Process) -> dict[str, Task[[int], int]]:
        return workload.declare(process.queue, workload.working(self, process))

    def _connected(self, wire: Wire) -> None:
        Tap(self.witness, wire)
        self.say("connection", wire.number)

    def _heartbeat(self, dialer: Any, secret: bytes, **about: Any) -> Beater:
        raise AssertionError(f"{current()} beats by itself")


def simulate(seed: int, say: Callable[[str], None] | None = None) -> Outcome:
    """One world from its seed; `Violation` if it breaks a promise."""
    with homes_counted_by(2):
        return World(seed, say).run()
