"""A world of users who give their jobs ids of their own, of which there are few: for two tasks, over and over.

It is the whole program under the storms of level 2, for longer: the real retention forgets what an id stood for as
soon as its job is over, and an id is free some time later, which is more than any submit is repeated for in these
worlds. What a user is told (that the job is new, that it existed, that another task has the id) is held against the
journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from aioqueue.broker import overlay
from aioqueue.client.job import Job
from aioqueue.client.queue import Queue
from aioqueue.errors import (
    BrokerUnavailable,
    DiskLow,
    Duplicate,
    JobFailed,
    JobNotFound,
    NotRetryable,
    ResultExpired,
)
from aioqueue.protocol import messages as m
from tests.simulator.owners import Uses, ids_freed_after
from tests.simulator.retention import homes_counted_by
from tests.simulator.shells.faults import Storm
from tests.simulator.shells.hosts import ClientHost
from tests.simulator.shells.witness import Asked, Plan, Witness, answer_of, number_in
from tests.simulator.shells.workload import Users
from tests.simulator.shells.world import Outcome, World

# How long the storm lasts; how long after its job an id is free; how often the archive forgets.
OWNING_STORM_MS: Final = 40_000
FREED_MS: Final = 15_000
RETAIN_SECONDS: Final = 0.5
_NAMES: Final = ("mine-0", "mine-1", "mine-2")
_TASKS: Final = ("steady", "urgent")


class OwningWitness(Witness):
    """Knows, too, of which submit each use of an id was made."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.uses = self.owned = Uses("default")
        # What is forgotten is unknown to who asks for its end.
        self.owned.forgotten.update(self.owned.ids)

    def asked(self, message: Any) -> None:
        if isinstance(message, m.Submit | m.SubmitAtomic):
            for item in message.items:
                if item.job in self.owned.ids:
                    self.owned.offer(item.args, Asked(item.args, item.delay_ms, item.at_ms))  # type: ignore[arg-type]
        super().asked(message)

    def answered(self, job: Job[int], plan: Plan) -> None:
        """A user was given the job of its submit."""
        with self.judging():
            made = self._is_made(plan)
            self.accepted(job.key)
            tasks = {self.plans[number_in(body)].task for body in self.owned.used_by(job.key)}
            # What is left of one that was forgotten tells of no task.
            wrong = job.existed and plan.task not in tasks and not self.is_over(job.key)
            self._require(not wrong, f"I14: plan {plan.number} of task {plan.task} was given a job of {tasks}")
            self._require(made or job.existed, f"I14: plan {plan.number} was told to be new, and made no job")

    def refused(self, plan: Plan, error: Duplicate) -> None:
        """A user was told that the id is another task's."""
        with self.judging():
            self._require(not self._is_made(plan), f"I14: plan {plan.number} was accepted, and refused: {error}")
            wrong = error.task == plan.task or error.asked != plan.task or error.task not in _TASKS
            self._require(not wrong, f"I14: plan {plan.number} of task {plan.task} was refused: {error}")

    def given(self, job: Job[int], value: int) -> None:
        """A user was given a result: that of a submit which made a job of this id."""
        with self.judging():
            used = [self.plans[number_in(body)] for body in self.owned.used_by(job.key)]
            right = value in {answer_of(plan) for plan in used}
            self._require(right, f"I7: job {job.id} gave {value}, and nobody's plan does")

    def _is_made(self, plan: Plan) -> bool:
        return any(number_in(body) == plan.number for job_id in self.owned.ids for body in self.owned.used_by(job_id))

    def finish(self) -> None:
        """As any; but an id has had several plans."""
        for job_id in self.owned.ids:
            for body in self.owned.used_by(job_id):
                self.plans.pop(number_in(body), None)
        super().finish()


class OwningStorm(Storm):
    """Nobody sets the clock: how long ago a job was forgotten is told by it, and no promise holds where it leaps."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        weights = dict(zip(self._kinds, self._weights, strict=True))
        weights.pop(Storm.clock_is_set, None)
        self._kinds, self._weights = list(weights), list(weights.values())

    def end(self) -> None:
        super().end()
        self._world.broker.clocks.set_ms = 0


class OwningUsers(Users):
    """Each goes on for as long as the storm does."""

    async def run(self) -> None:
        await asyncio.wait([self._host.party.start(self._owning()) for _ in range(self._rng.randint(2, 3))])

    async def _owning(self) -> None:
        while self._world.loop.now_ms < OWNING_STORM_MS:
            try:
                await self._own()
            except DiskLow:
                self._world.refused()
            except BrokerUnavailable as error:
                self._world.loop.note(f"liveness: a user gave up: {error}", error)
            await asyncio.sleep(self._rng.random() * self._rng.choice((0.5, 4.0)))

    async def _own(self) -> None:
        witness = self._witness
        assert isinstance(witness, OwningWitness)
        task, name = self._rng.choice(_TASKS), self._rng.choice(_NAMES)
        plan = self._plan(task, child=True)._replace(expires_ms=0, deadline_ms=0, stubborn=False)
        witness.plans[plan.number] = plan
        mine = self._tasks[task].options(id=name, keep=0)
        try:
            if self._rng.random() < 0.3:
                [job] = await self._app.submit_many([mine.call(plan.number)])
            else:
                job = await self._app.submit(mine, plan.number)
        except Duplicate as error:
            witness.refused(plan, error)
            return
        self._world.say("plan", plan.number, "under", name, "existed" if job.existed else "is new")
        witness.answered(job, plan)
        if self._rng.random() < 0.7:
            await self._follow(job, plan)

    async def _follow(self, job: Job[int], plan: Plan) -> None:
        witness = self._witness
        assert isinstance(witness, OwningWitness)
        try:
            witness.given(job, await job.result())
        except ResultExpired as error:
            self._world.say("plan", plan.number, "is forgotten:", error)
        except JobFailed:
            if self._rng.random() < 0.5:
                await self._retry(job)

    async def _retry(self, job: Job[int]) -> None:
        try:
            await job.retry()
        except (NotRetryable, ResultExpired, JobNotFound) as error:
            # Others may have retried it, and it may be forgotten, at any moment.
            self._world.say("job", job.id, "is not retried:", error)


async def live(world: World, host: ClientHost) -> None:
    """One client process, from its first connection to its goodbye."""
    while True:
        app = Queue("tcp://broker:7710", namespace="sim", timeout="60s")
        try:
            async with app:
                host.queue = app
                await OwningUsers(world, host, app).run()
                host.queue = None
            return
        except BrokerUnavailable as error:
            host.queue = None
            world.say("no broker:", error)
            await asyncio.sleep(0.2)


class OwningWorld(World):
    """The same program, machines and faults; the storm is longer."""

    witness_of = OwningWitness
    live = staticmethod(live)
    storm_of: Callable[[World], Storm] = OwningStorm
    storm_ms = OWNING_STORM_MS


@contextmanager
def forgetting_soon() -> Iterator[None]:
    usual = overlay.RETAIN_SECONDS
    overlay.RETAIN_SECONDS = RETAIN_SECONDS  # type: ignore[misc]
    try:
        yield
    finally:
        overlay.RETAIN_SECONDS = usual  # type: ignore[misc]


def simulate_owning(seed: int, say: Any = None) -> Outcome:
    """One world of owners from its seed; `Violation` if it breaks a promise."""
    with homes_counted_by(2), ids_freed_after(FREED_MS), forgetting_soon():
        return OwningWorld(seed, say).run()
