"""The storm: one fault after another, of every kind there is, until it ends and all is mended."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Final

from aioqueue.journal.memory import Loss
from tests.simulator.shells.hosts import ClientHost
from tests.simulator.shells.loop import Party
from tests.simulator.shells.network import Wire
from tests.simulator.shells.storage import FREE_BYTES

if TYPE_CHECKING:
    from tests.simulator.shells.world import World

# In this context a callback belongs to nobody.
NOBODY: Final = Context()
# A clock is set by so much at most, both ways, in all.
CLOCK_MS_MAX: Final = 3_600_000


class Storm:
    """Strikes a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        # Some worlds see every fault, others only some of them, often.
        kinds = list(_FAULTS)
        some = self._rng.sample(kinds, self._rng.randint(2, 5)) if self._rng.random() < 0.6 else kinds
        self._kinds = some
        self._weights = [_FAULTS[kind] for kind in some]
        self._pause_seconds = self._rng.choice((0.05, 0.15, 0.4, 1.0))
        self._paused: set[tuple[Party, ...]] = set()
        self._over = False

    def pause_seconds(self) -> float:
        return self._rng.random() * 2 * self._pause_seconds

    def strike(self) -> None:
        self._rng.choices(self._kinds, self._weights)[0](self)

    def end(self) -> None:
        """No more faults: everything goes on, and what is dead begins again."""
        world = self._world
        self._over = True
        for party in list(world.loop.parties):
            party.paused = False
        world.disk.repair()
        for wire in world.network.wires:
            wire.heal()
        # What was scheduled by a clock that ran ahead is due at last.
        world.broker.clocks.set_ms = CLOCK_MS_MAX
        for host in world.clients:
            if host.party.dead:
                host.start()
        for worker in world.workers:
            if worker.process.over:
                worker.start()

    # --- the network ---

    def _wire(self) -> Wire | None:
        wires = [wire for wire in self._world.network.wires if not wire.over]
        return self._rng.choice(wires) if wires else None

    def connection_is_cut(self) -> None:
        wire = self._wire()
        if wire is not None:
            self._world.say("connection", wire.number, "is cut")
            wire.cut(self._rng.choice((0.0, 0.5, 1.0)))

    def all_connections_are_cut(self) -> None:
        self._world.say("all connections are cut")
        for wire in self._world.network.wires:
            wire.cut(0.5)

    def one_side_is_cut(self) -> None:
        """A box in between has forgotten the connection: one side learns of it, the other by its silence."""
        wire = self._wire()
        if wire is not None:
            self._world.say("connection", wire.number, "is half cut")
            near = self._rng.random() < 0.5
            wire.swallow(near, not near, for_good=True)
            (wire.near if near else wire.far).reset(0.5)

    def words_vanish(self) -> None:
        """A hole, for a while or until somebody notices."""
        wire = self._wire()
        if wire is not None:
            outward = self._rng.random() < 0.6
            inward = not outward or self._rng.random() < 0.4
            self._world.say("connection", wire.number, "swallows", outward * "outward", inward * "inward")
            wire.swallow(outward, inward, for_good=self._rng.random() < 0.4)
            self._world.later(self._rng.random() * 2, wire.heal)

    def network_is_slow(self) -> None:
        weather = self._world.weather
        before = weather.latency
        if before[1] < 0.1:
            weather.latency = (0.0, self._rng.choice((0.1, 0.4)))
            self._world.later(self._rng.random(), setattr, weather, "latency", before)

    # --- processes ---

    def broker_dies(self) -> None:
        world = self._world
        if not world.broker.party.dead:
            power = self._rng.random() < 0.2
            world.say("the broker dies", "of power" if power else "")
            world.crashes += 1
            world.broker.kill(power)

    def broker_stops(self) -> None:
        world = self._world
        if world.broker.broker is not None:
            world.say("the broker is told to stop")
            world.broker.stop()

    def _pause(self, *parties: Party) -> None:
        if not parties[0].paused and not parties[0].dead:
            seconds = self._rng.random() * self._rng.choice((0.3, 1.5, 4.0))
            self._world.say(*parties, "stands still for", f"{seconds:.3f}")
            for party in parties:
                party.paused = True
            self._world.later(seconds, self._go_on, parties)

    def _go_on(self, parties: tuple[Party, ...]) -> None:
        for party in parties:
            party.paused = False

    def broker_stands_still(self) -> None:
        self._pause(self._world.broker.party)

    def worker_stands_still(self) -> None:
        worker = self._rng.choice(self._world.workers)
        self._pause(*worker.process.parties)

    def loop_of_a_worker_stands_still(self) -> None:
        """A task blocks it; the heartbeats go on."""
        self._pause(self._rng.choice(self._world.workers).process.main)

    def client_stands_still(self) -> None:
        self._pause(self._rng.choice(self._world.clients).party)

    def worker_dies(self) -> None:
        process = self._rng.choice(self._world.workers).process
        if not process.over:
            self._world.process_dies(process, power=self._rng.random() < 0.2)

    def worker_is_replaced(self) -> None:
        """A deploy: it stops in good order, and its successor begins."""
        world = self._world
        worker = self._rng.choice(world.workers)
        if not worker.process.over:
            world.say(worker.process.main, "is told to stop")
            worker.process.main.call(worker.process.worker.stop)

    def client_dies(self) -> None:
        host = self._rng.choice(self._world.clients)
        if not host.party.dead and not host.task.done():
            self._world.say(host.party, "dies")
            host.kill(power=self._rng.random() < 0.2)
            self._world.later(self._rng.random(), self._start_client, host)

    def _start_client(self, host: ClientHost) -> None:
        if host.party.dead:
            host.start()

    # --- clocks and disks ---

    def clock_is_set(self) -> None:
        by = self._rng.choice((-CLOCK_MS_MAX, -5_000, -300, 300, 5_000, CLOCK_MS_MAX // 2))
        clocks = self._world.broker.clocks
        clocks.set_ms = max(-CLOCK_MS_MAX, min(CLOCK_MS_MAX - 60_000, clocks.set_ms + by))
        self._world.say("the broker's clock is set to", clocks.set_ms)

    def disk_is_slow(self) -> None:
        disk = self._world.disk
        disk.sync_seconds = self._rng.choice((0.02, 0.2, 1.2))
        self._world.later(self._rng.random() * 1.5, setattr, disk, "sync_seconds", 0.002)

    def archive_is_slow(self) -> None:
        disk = self._world.disk
        disk.bulk_seconds = self._rng.choice((0.5, 2.0))
        self._world.later(self._rng.random() * 3, setattr, disk, "bulk_seconds", 0.05)

    def journal_refuses(self) -> None:
        self._world.disk.faults.refuse = self._rng.randint(1, 5)

    def acknowledgement_is_lost(self) -> None:
        """Nobody knows whether an append was written: the broker stops, and the next one looks."""
        self._world.say("the outcome of the next append is lost")
        self._world.disk.faults.lose = self._rng.choice(list(Loss))

    def disk_is_full(self) -> None:
        world = self._world
        world.say("the disk is full")
        if self._rng.random() < 0.5:
            world.disk.full = True
        else:
            world.disk.archive_full = True
        world.later(self._rng.random(), self._make_room)

    def disk_is_low(self) -> None:
        """No new jobs may come in; below the second of these the broker gives up its reserve."""
        disk = self._world.disk
        disk.free_bytes = self._rng.choice((9_000, 1_000))
        self._world.say("the disk has", disk.free_bytes, "bytes left")
        self._world.later(self._rng.random() * 3, self._make_room)

    def _make_room(self) -> None:
        disk = self._world.disk
        disk.full = disk.archive_full = False
        disk.free_bytes = FREE_BYTES


_FAULTS: Final[dict[Callable[[Storm], None], float]] = {
    Storm.connection_is_cut: 6,
    Storm.all_connections_are_cut: 1,
    Storm.one_side_is_cut: 2,
    Storm.words_vanish: 3,
    Storm.network_is_slow: 2,
    Storm.broker_dies: 2,
    Storm.broker_stops: 0.7,
    Storm.broker_stands_still: 1,
    Storm.worker_stands_still: 1.5,
    Storm.loop_of_a_worker_stands_still: 1,
    Storm.client_stands_still: 1,
    Storm.worker_dies: 2,
    Storm.worker_is_replaced: 1,
    Storm.client_dies: 1,
    Storm.clock_is_set: 1,
    Storm.disk_is_slow: 1,
    Storm.archive_is_slow: 1,
    Storm.journal_refuses: 1,
    Storm.acknowledgement_is_lost: 0.6,
    Storm.disk_is_full: 0.6,
    Storm.disk_is_low: 0.8,
}
