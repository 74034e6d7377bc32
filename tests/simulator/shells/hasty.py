"""A world of users who do not wait: they leave, are told that nothing was sent or that nobody knows, and go and ask.

What they are told then must be so for ever. A job that was said not to be sent, or that is unknown to a broker asked
after `OutcomeUnknown`, is never journaled; and nothing is said for a user who has left over a connection that was made
after that. The storm is mostly of the network, for what is late is what breaks such promises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aioqueue.client.queue import Queue
from aioqueue.errors import BrokerUnavailable, DiskLow, JobNotFound, OutcomeUnknown
from aioqueue.journal.batch import Batch
from aioqueue.model.ids import id_bytes
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from tests.simulator.retention import homes_counted_by
from tests.simulator.shells import faults
from tests.simulator.shells.faults import Storm
from tests.simulator.shells.hosts import ClientHost
from tests.simulator.shells.network import Wire
from tests.simulator.shells.witness import Tap, Witness, number_in
from tests.simulator.shells.workload import Users, on_terms
from tests.simulator.shells.world import Outcome, World

# What a call may cost a hasty user, in seconds: less than a connection lives that says nothing, and more.
_TIMEOUTS: Final = (0.02, 0.05, 0.1, 0.3, 2.5)


class HastyWitness(Witness):
    """Knows, too, who left, and of which jobs it was said that they are not there and will not come."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # By job: what was said of it.
        self._never: dict[bytes, str] = {}
        # By the number of a plan: when its user left.
        self._left_ms: dict[int, int] = {}

    def never(self, job_id: bytes, said: str) -> None:
        """Somebody was told that a job is not there, and will never be."""
        self._never[job_id] = said
        self._judge_never(job_id)

    def not_sent(self, job_id: bytes) -> None:
        """Somebody was told that a job was not sent, and will not be."""
        with self.judging():
            self._require(job_id not in self.drafts, f"left: job {job_id.hex()} was said not to be sent, and was")
            self.never(job_id, "not to be sent")

    def unknown_after_all(self, job_id: bytes) -> None:
        """A job whose outcome was unknown is unknown to the broker."""
        with self.judging():
            self.never(job_id, "to be unknown")

    def left(self, number: int) -> None:
        """Nobody waits for the submit of this plan any more."""
        self._left_ms.setdefault(number, self._now_ms())

    def _judge_never(self, job_id: bytes) -> None:
        said = self._never[job_id]
        self._require(job_id not in self.history.lives, f"left: job {job_id.hex()} was said {said}, and is there")

    def _landed(self, batch: Batch) -> None:
        super()._landed(batch)
        for job_id in self._never:
            self._judge_never(job_id)

    def said_over(self, wire: Wire, message: Any) -> None:
        """A client has said this, over that connection."""
        if isinstance(message, m.Submit | m.SubmitAtomic | m.BulkStage):
            for item in message.items:
                number = number_in(item.args)
                left_ms = self._left_ms.get(number)
                again = left_ms is not None and wire.welcomed_ms > left_ms
                self._require(not again, f"left: plan {number} is said over a connection that is newer than its end")
                said = self._never.get(item.job) == "not to be sent"
                self._require(not said, f"left: job {item.job.hex()} was said not to be sent, and is")


class HastyTap(Tap):
    """Tells who speaks over which connection."""

    def __init__(self, witness: HastyWitness, wire: Wire) -> None:
        super().__init__(witness, wire)
        self._codec_of_mine = Codec()
        self._mine = type(self._out)(1 << 24)
        self._hasty = witness

    def _asked(self, data: bytes) -> None:
        super()._asked(data)
        with self._hasty.judging():
            for payload in self._mine.feed(data):
                self._hasty.said_over(self._wire, self._codec_of_mine.decode_client(payload))


class HastyStorm(Storm):
    """Mostly of the network."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        weights: dict[Any, float] = dict(zip(self._kinds, self._weights, strict=True))
        weights |= {
            HastyStorm.words_outlive_their_connection: 20.0, Storm.words_vanish: 14.0, Storm.connection_is_cut: 8.0,
            Storm.one_side_is_cut: 3.0, Storm.broker_stands_still: 3.0, Storm.archive_is_slow: 2.0,
            Storm.disk_is_slow: 2.0, Storm.broker_dies: 2.0,
        }  # fmt: skip
        self._kinds, self._weights = list(weights), list(weights.values())
        self._pause_seconds = self._rng.choice((0.02, 0.05, 0.15))

    def words_outlive_their_connection(self) -> None:
        """A box in between has forgotten its client, and hands over what that said when there is another connection."""
        wires = [wire for wire in self._world.network.wires if wire.stands and wire.role == m.Role.CLIENT]
        if wires:
            wire = self._rng.choice(wires)
            self._world.say("what is said over connection", wire.number, "comes late, and outlives it")
            wire.swallow(outward=True, inward=False)
            cut_at = 0.1 + self._rng.random() * 0.3
            self._world.later(cut_at, wire.near.reset, 0.0)
            self._world.later(cut_at + 0.2 + self._rng.random() * 0.4, wire.heal)


class HastyUsers(Users):
    """Users who leave early; some stay, so that there is work."""

    async def run(self) -> None:
        await asyncio.wait([self._host.party.start(self._hasty()) for _ in range(self._rng.randint(3, 6))])

    async def _hasty(self) -> None:
        for _ in range(self._rng.randint(6, 14)):
            act = self._rng.choices(_ACTS, _WEIGHTS)[0]
            try:
                await act(self)
            except DiskLow:
                self._world.refused()
            except BrokerUnavailable as error:
                self._world.loop.note(f"liveness: a user gave up: {error}", error)
            await asyncio.sleep(self._rng.random() * 0.3)

    @property
    def _witnessed(self) -> HastyWitness:
        witness = self._witness
        assert isinstance(witness, HastyWitness)
        return witness

    async def submit_and_ask(self) -> None:
        """What nobody knows, the broker is asked for: at once, and as long as it takes."""
        plan = self._plan(child=True)
        if plan.is_over_before(0):
            return
        hasty = self._app.using(timeout=self._rng.choice(_TIMEOUTS))
        task = on_terms(self._tasks[plan.task], plan)
        try:
            if self._rng.random() < 0.3:
                [job] = await hasty.submit_many([task.call(plan.number)])
            else:
                job = await hasty.submit(task, plan.number)
        except OutcomeUnknown as error:
            self._witnessed.left(plan.number)
            self._world.say("nobody knows of", plan.number, error.job)
            await self._ask(error.job, plan)
        except BrokerUnavailable as error:
            self._witnessed.left(plan.number)
            self._world.say("not sent is", plan.number, error)
            if not error.sent and "job" in error.fields:
                self._witnessed.not_sent(id_bytes(error.job))
        else:
            self._accepted(job)
            await self._result(job, plan)

    async def _ask(self, job_id: str, plan: Any) -> None:
        try:
            job = await self._app.get(job_id)
        except JobNotFound:
            self._world.say("unknown is", plan.number)
            self._witnessed.unknown_after_all(id_bytes(job_id))
            return
        self._accepted(job)
        await self._result(job, plan)

    async def leave(self) -> None:
        """Lose patience without a word."""
        plan = self._plan(child=True)
        if plan.is_over_before(0):
            return
        task = on_terms(self._tasks[plan.task], plan)
        kind = self._rng.random()
        try:
            async with asyncio.timeout(self._rng.choice(_TIMEOUTS) * self._rng.random()):
                if kind < 0.6:
                    self._accepted(await self._app.submit(task, plan.number))
                elif kind < 0.8:
                    await self._outcome(self._app.run(task, plan.number), plan)
                else:
                    await self._app.submit_many([task.call(plan.number)])
        except TimeoutError:
            self._witnessed.left(plan.number)
            self._world.say("the user of", plan.number, "has left")


_ACTS: Final[list[Callable[[HastyUsers], Any]]] = [
    HastyUsers.submit_and_ask, HastyUsers.leave, HastyUsers.submit_and_wait, HastyUsers.submit_as_one,
]  # fmt: skip
_WEIGHTS: Final = (8, 4, 1, 1)


async def live(world: World, host: ClientHost) -> None:
    """One client process, from its first connection to its goodbye."""
    while True:
        app = Queue("tcp://broker:7710", namespace="sim", timeout="60s")
        try:
            async with app:
                host.queue = app
                await HastyUsers(world, host, app).run()
                host.queue = None
            return
        except BrokerUnavailable as error:
            host.queue = None
            world.say("no broker:", error)
            await asyncio.sleep(0.2)


class HastyWorld(World):
    """The same program, machines and faults."""

    witness_of = HastyWitness
    live = staticmethod(live)
    storm_of: Callable[[World], faults.Storm] = HastyStorm

    def __init__(self, seed: int, say: Callable[[str], None] | None = None) -> None:
        super().__init__(seed, say)
        self.disk.look_seconds = self.rng.choice((0.005, 0.3, 0.8))

    def _connected(self, wire: Wire) -> None:
        assert isinstance(self.witness, HastyWitness)
        HastyTap(self.witness, wire)
        self.say("connection", wire.number)


def simulate_hasty(seed: int, say: Callable[[str], None] | None = None) -> Outcome:
    """One world of hasty users from its seed; `Violation` if it breaks a promise."""
    with homes_counted_by(2):
        return HastyWorld(seed, say).run()
