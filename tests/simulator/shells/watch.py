"""What must come true once faults have stopped, watched several times a second of the world's time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aioqueue.model.states import JobState
from aioqueue.protocol.messages import Role
from tests.simulator.checker import Violation
from tests.simulator.shells.hosts import WorkerHost
from tests.simulator.shells.loop import Party
from tests.simulator.shells.network import Wire

if TYPE_CHECKING:
    from tests.simulator.shells.world import World

LOOK_SECONDS: Final = 0.1
# How long nothing may land in the calm: a reconnect of 30 s, then a run of `PATIENCE_MS`, and some waits of a second.
STILL_MS: Final = 45_000
# No world has so much to do, whatever its queues and its crashes.
CALM_MS: Final = 900_000
BACK_MS: Final = 30_000
# The slowest syncs and bulks that were under way when the storm ended, one behind the other.
SETTLE_MS: Final = 7_000
# A second, the network's delays, and the look itself.
IDLE_MS: Final = 1_000 + 400
# Twice the grace of a cancelled task, the network's delays, and the look itself.
STOP_MS: Final = 2 * 300 + 900
# A ttl and a second, the tenth of a ttl at which expiry is looked at, and the look itself.
GRAVE_MS: Final = 1_000 + 400


class Watch:
    """Looks on in the calm."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._calm_ms = 0
        # Since when each worker has had a free slot beside work.
        self._idle_ms: dict[WorkerHost, int] = {}

    async def until(self, done: Callable[[], bool], patience_ms: int, otherwise: str) -> None:
        """Wait for something of the calm."""
        end_ms = self._world.loop.now_ms + patience_ms
        while not done():
            self._world.judge()
            if self._world.loop.now_ms > end_ms:
                raise Violation(f"liveness: {otherwise}")
            await asyncio.sleep(LOOK_SECONDS)

    async def until_all_is_done(self) -> None:
        """All users are through, all jobs are over, and on the way there nobody waits longer than is promised.

        How long that takes is no promise: a queue of one slot, tasks that are patient and workers that crash have their
        time, as long as something comes to its end.
        """
        world = self._world
        began_ms = world.loop.now_ms
        self._calm_ms = began_ms + SETTLE_MS
        while not self._all_is_done():
            world.judge()
            self._look()
            self._require_progress(began_ms)
            await asyncio.sleep(LOOK_SECONDS)
        world.judge()

    def _require_progress(self, began_ms: int) -> None:
        now_ms = self._world.loop.now_ms
        still_ms = now_ms - max(began_ms, self._world.witness.progress_ms)
        if still_ms > STILL_MS:
            raise Violation(f"liveness: nothing has landed for {still_ms / 1000:g} s: {self._unrest()}")
        if now_ms > began_ms + CALM_MS:
            raise Violation(f"liveness: there is no end in {CALM_MS / 1000:g} s of calm: {self._unrest()}")

    def _all_is_done(self) -> bool:
        world = self._world
        broker = world.broker.broker
        return (
            broker is not None
            and not broker.engine.partition.state.jobs
            # An append that began in the storm may end its broker yet.
            and not world.disk.appending
            and all(client.task.done() for client in world.clients)
            and not any(worker.process.over or worker.process.runs for worker in world.workers)
        )

    def _unrest(self) -> str:
        world = self._world
        broker = world.broker.broker
        jobs = broker.engine.partition.state.jobs if broker is not None else {}
        waiting = [client.party.name for client in world.clients if not client.task.done()]
        lives = ", ".join(f"{key.hex()} is {job.state.label}" for key, job in list(jobs.items())[:3])
        at_work = [worker.process.main.name for worker in world.workers if worker.process.runs]
        return f"{len(jobs)} jobs live on ({lives}), {waiting} wait for ever, {at_work} are at work"

    # --- one look ---

    def _look(self) -> None:
        broker = self._world.broker.broker
        if broker is None:
            return
        self._look_for_the_absent()
        self._look_at_graves()
        for worker in self._world.workers:
            self._look_for_work(worker)
            self._look_at_runs(worker)

    def _standing(self, party: Party, role: Role) -> Wire | None:
        """The connection over which a process and the broker speak."""
        wires = self._world.network.wires
        return next((wire for wire in wires if wire.party is party and wire.role == role and wire.stands), None)

    def _look_for_the_absent(self) -> None:
        world = self._world
        present = [(client.party, Role.CLIENT) for client in world.clients if client.queue is not None]
        present += [(worker.process.main, Role.WORKER) for worker in world.workers if not worker.process.over]
        for party, role in present:
            since_ms = max(self._calm_ms, world.witness.begun_ms, party.born_ms)
            if world.loop.now_ms > since_ms + BACK_MS and self._standing(party, role) is None:
                raise Violation(f"liveness: {party} is not back")

    def _look_at_graves(self) -> None:
        """What dead processes held is held no more."""
        world = self._world
        assert world.broker.broker is not None
        sessions = world.broker.broker.engine.partition.state.sessions.values()
        held = {session.name for session in sessions if session.leases}
        for process in world.graves:
            since_ms = max(process.main.died_ms, world.witness.begun_ms, self._calm_ms)
            patience_ms = GRAVE_MS + world.ttl_ms + world.ttl_ms // 10
            if process.beater.told_ms:
                # A broker has it on record, so those that follow know it too.
                since_ms, patience_ms = max(process.beater.told_ms, since_ms), GRAVE_MS
            if process.main.name in held and world.loop.now_ms > since_ms + patience_ms:
                raise Violation(f"liveness: {process.main} is long dead, and its jobs are not ready again")

    def _look_for_work(self, worker: WorkerHost) -> None:
        """No worker is idle beside work that it could have."""
        world = self._world
        assert world.broker.broker is not None
        state = world.broker.broker.engine.partition.state
        process = worker.process
        suspects = state.suspects_ready or any(session.suspects for session in state.sessions.values())
        ready = any(job.state is JobState.READY and job.spec.queue in worker.queues for job in state.jobs.values())
        wire = self._standing(process.main, Role.WORKER)
        if not ready or suspects or wire is None or process.over or len(process.runs) >= worker.slots:
            self._idle_ms.pop(worker, None)
            return
        since_ms = max(self._idle_ms.setdefault(worker, world.loop.now_ms), wire.welcomed_ms, self._calm_ms)
        if world.loop.now_ms > since_ms + IDLE_MS:
            raise Violation(f"liveness: {process.main} is idle beside a ready job")

    def _look_at_runs(self, worker: WorkerHost) -> None:
        """What was told to stop, and what lost its lease, does not run on."""
        world = self._world
        process = worker.process
        wire = self._standing(process.main, Role.WORKER)
        if wire is None:
            return
        witness = world.witness
        for fence, plan in process.runs.items():
            told_ms = witness.ended_ms.get(fence, witness.stopped_ms.get(fence, world.loop.now_ms))
            since_ms = max(told_ms, wire.welcomed_ms, self._calm_ms)
            if world.loop.now_ms > since_ms + STOP_MS and not plan.stubborn:
                raise Violation(f"I6: {plan} runs on in {process.main} with fence {fence}, and nobody wants it to")
