"""What people do in a world: tasks that do as their plan says, and users who submit, wait, cancel, retry and look.

Everything a user is told is given to the witness. What may go wrong for a user who makes no mistake is written down
here too: any other error ends the world.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from aioqueue.client.context import Context
from aioqueue.client.job import Job
from aioqueue.client.options import Retry
from aioqueue.client.queue import Queue
from aioqueue.client.task import Task
from aioqueue.errors import (
    ArchiveFailed,
    BadOption,
    BrokerUnavailable,
    BulkUnknown,
    DiskLow,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    NotRetryable,
)
from tests.simulator.shells.hosts import ClientHost, Process
from tests.simulator.shells.witness import Plan, Refusing, Witness, answer_of

if TYPE_CHECKING:
    from tests.simulator.shells.world import World

QUEUES: Final = ("default", "side")
# Task name -> its options, and how many attempts a job of it has.
_TASKS: Final[dict[str, dict[str, Any]]] = {
    "steady": {"retry": Retry(3, base=0.05, cap=0.2)},
    "urgent": {"retry": Retry(2, backoff="constant", base=0.0, jitter=False), "priority": 9},
    "fragile": {"retry": 1, "priority": 2},
    "hasty": {"retry": Retry(2, base=0.03), "timeout": 0.12},
    "aside": {"retry": Retry(3, base=0.04), "queue": "side"},
}
_ATTEMPTS: Final = {"steady": 3, "urgent": 2, "fragile": 1, "hasty": 2, "aside": 3}


def declare(app: Queue, work: Callable[[Context, int], Awaitable[int]]) -> dict[str, Task[[int], int]]:
    """The tasks, which all do the same under different options."""
    tasks: dict[str, Task[[int], int]] = {}
    for name, options in _TASKS.items():

        async def run(ctx: Context, number: int) -> int:
            return await work(ctx, number)

        tasks[name] = app.task(run, name=name, **options)
    return tasks


def working(world: World, process: Process) -> Callable[[Context, int], Awaitable[int]]:
    """What a task does in this process."""
    witness = world.witness

    async def work(ctx: Any, number: int) -> int:
        plan = witness.plans[number]
        witness.began(ctx.key, ctx.fence, ctx._deadline_ms)
        world.say("begins", number, "with fence", ctx.fence)
        process.runs[ctx.fence] = plan
        try:
            return await _do(world, process, plan, ctx)
        except Refusing:
            raise
        except Exception as error:
            # To the worker it is one more failure of a task.
            world.loop.note(f"defect: task {plan.task} of {process.main} failed: {error!r}", error)
            raise
        finally:
            del process.runs[ctx.fence]

    return work


def on_terms(task: Task[[int], int], plan: Plan, **options: Any) -> Task[[int], int]:
    """The task as it is to be submitted for this plan."""
    if plan.expires_ms:
        options["expires"] = plan.expires_ms / 1000
    if plan.deadline_ms:
        options["deadline"] = plan.deadline_ms / 1000
    if plan.inherits:
        options["inherit"] = True
    return task.options(**options) if options else task


async def _have_child(world: World, process: Process, plan: Plan, ctx: Any) -> None:
    child = world.witness.plans[plan.child]
    try:
        job = await ctx.submit(on_terms(process.tasks[child.task], child), child.number)
    except DiskLow:
        world.refused()
        return
    world.witness.born(ctx.key, child.number, job.key)
    world.promised.append((job.id, child))


async def _do(world: World, process: Process, plan: Plan, ctx: Any) -> int:
    if plan.child and process.is_entered:
        await _have_child(world, process, plan, ctx)
    if plan.endless:
        await asyncio.sleep(max(0, world.patience_ends_ms - world.loop.now_ms) / 1000)
    if plan.sleep_ms:
        try:
            await asyncio.sleep(plan.sleep_ms / 1000)
        except asyncio.CancelledError:
            if not plan.stubborn:
                raise
            # It heeds the second cancellation only, or none.
            await asyncio.sleep(plan.sleep_ms / 1000)
    if ctx.crashes < plan.crashes:
        world.process_dies(process)
        await asyncio.get_running_loop().create_future()
    if not plan.stubborn:
        world.witness.done(ctx.fence)
    if ctx.attempt <= plan.failures:
        raise Refusing(f"attempt {ctx.attempt} of {plan.number}")
    return answer_of(plan)


class Users:
    """All users of one client process."""

    def __init__(self, world: World, host: ClientHost, app: Queue) -> None:
        self._world = world
        self._witness: Witness = world.witness
        self._rng = world.rng
        self._host = host
        self._app = app
        self._tasks = declare(app, _never)

    async def run(self) -> None:
        """Some users, each with things to do one after another."""
        things = [self._rng.randint(2, 6) for _ in range(self._rng.randint(2, 4))]
        # Each is watched by itself: one who fails is known at once, however long the others go on.
        await asyncio.wait([self._host.party.start(self._user(count)) for count in things])

    async def _user(self, things: int) -> None:
        for _ in range(things):
            act = self._rng.choices(_ACTS, _WEIGHTS)[0]
            try:
                await act(self)
            except BrokerUnavailable as error:
                # So long without an answer: the storm is shorter than that.
                self._world.loop.note(f"liveness: a user gave up: {error}", error)
            except DiskLow:
                self._world.refused()
            await asyncio.sleep(self._rng.random() * 0.4)

    # --- what they do ---

    async def submit_and_wait(self) -> None:
        job, plan = await self._submit()
        await self._result(job, plan)

    async def ask_at_once(self) -> None:
        plan = self._plan()
        await self._outcome(self._app.run(on_terms(self._tasks[plan.task], plan), plan.number), plan)

    async def submit_together(self) -> None:
        jobs = await asyncio.gather(*(self._submit() for _ in range(self._rng.randint(2, 6))))
        await asyncio.gather(*(self._result(job, plan) for job, plan in jobs))

    async def submit_as_one(self) -> None:
        """More than a few are staged in parts; some users lose their patience in the middle."""
        plans = [self._plan() for _ in range(self._rng.choice((2, 3, 6, 12)))]
        calls = [on_terms(self._tasks[plan.task], plan).call(plan.number) for plan in plans]
        patience = self._rng.random() * 0.1 if self._rng.random() < 0.2 else None
        try:
            async with asyncio.timeout(patience):
                jobs = await self._app.submit_many(calls, atomic=self._rng.random() < 0.8)
        except (TimeoutError, BulkUnknown) as error:
            self._world.say("a bulk of", len(plans), "is not submitted:", repr(error))
            return
        for job in jobs:
            self._accepted(job)
        for job, plan in zip(jobs, plans, strict=True):
            await self._result(job, plan)

    async def submit_under_a_name(self) -> None:
        """A caller's own id, which others use too: one job, whoever asks."""
        name = f"own-{self._rng.randint(0, 3)}"
        plan = self._world.named_plan(name, lambda: self._plan("steady"))
        job = await self._app.submit(self._tasks["steady"].options(id=name), plan.number)
        self._accepted(job)
        await self._result(job, plan)

    async def submit_for_later(self) -> None:
        job, plan = await self._submit(self._rng.randint(1, 700))
        await self._result(job, plan)

    async def change_their_mind(self) -> None:
        endless = self._rng.random() < 0.4
        job, plan = await self._submit(self._rng.choice((0, 0, 200)), endless)
        await asyncio.sleep(self._rng.random() * 0.3)
        outcome = await job.cancel("on second thought", wait=self._rng.choice((None, 0.5, 5)))
        self._world.say("cancel of", plan.number, "was answered", outcome)
        with self._witness.judging():
            self._witness.cancelled(job.key, outcome)
        await self._result(job, plan)

    async def insist(self) -> None:
        """Retry what did not succeed."""
        job, plan = await self._submit()
        if await self._result(job, plan) in ("failed", "cancelled"):
            try:
                await job.retry()
            except NotRetryable:
                # Somebody else did, under the same name.
                return
            await self._result(job, plan)

    async def leave_it(self) -> None:
        await self._submit()

    async def look(self) -> None:
        job, _ = await self._submit()
        info = await job.info()
        with self._witness.judging():
            self._witness.looked(job.key, info.state)
        if self._rng.random() < 0.3:
            limit = self._rng.choice((5, 40))
            try:
                _ = [found.id async for found in self._app.find(limit=limit)]
            except ArchiveFailed as error:
                # What is found must be written first: who asks is told of what its broker dies of.
                self._world.not_found(error)

    async def remember(self) -> None:
        """Ask for a job that somebody was promised long ago."""
        promised = self._world.promised
        if promised:
            name, plan = self._rng.choice(promised)
            try:
                job = await self._app.get(name)
            except JobNotFound as error:
                self._world.loop.note(f"I2: job {name} was acknowledged, and is unknown now", error)
                return
            await self._result(job, plan)

    # --- parts ---

    def _plan(self, task: str = "", endless: bool = False, child: bool = False) -> Plan:
        rng = self._rng
        named = bool(task)
        task = task or rng.choices(list(_TASKS), (6, 3, 2, 2, 3))[0]
        kind = rng.random()
        plan = Plan(
            self._world.next_number(),
            task,
            sleep_ms=rng.choices((0, 5, 30, 80, 400, 2_500), (6, 4, 4, 4, 4, 1))[0],
            failures=rng.randint(1, 4) if kind < 0.15 else 0,
            crashes=rng.choice((1, 1, 2, 9)) if 0.15 < kind < 0.19 else 0,
            stubborn=0.19 < kind < 0.23,
            timeout=task == "hasty",
            endless=endless,
            attempts=_ATTEMPTS[task],
            expires_ms=rng.randint(1, 800) if not named and rng.random() < 0.08 else 0,
            deadline_ms=rng.randint(20, 2_000) if not named and rng.random() < 0.12 else 0,
            child=self._plan(child=True).number if not child and rng.random() < 0.12 else 0,
            inherits=child and rng.random() < 0.7,
        )
        self._witness.plans[plan.number] = plan
        return plan

    async def _submit(self, delay_ms: int = 0, endless: bool = False) -> tuple[Job[int], Plan]:
        plan = self._plan(endless=endless)
        options = {"delay": delay_ms / 1000} if delay_ms else {}
        if plan.is_over_before(delay_ms):
            await self._be_refused(plan, options)
            plan = self._witness.plans[plan.number] = plan._replace(expires_ms=0, deadline_ms=0)
        job = await self._app.submit(on_terms(self._tasks[plan.task], plan, **options), plan.number)
        self._accepted(job)
        self._world.promised.append((job.id, plan))
        return job, plan

    async def _be_refused(self, plan: Plan, options: dict[str, float]) -> None:
        """Ask for what makes no sense."""
        try:
            await self._app.submit(on_terms(self._tasks[plan.task], plan, **options), plan.number)
        except BadOption:
            return
        self._world.loop.note(f"I36: {plan} is over before it begins, with {options}, and was accepted")

    def _accepted(self, job: Job[int]) -> None:
        with self._witness.judging():
            self._witness.accepted(job.key)

    async def _result(self, job: Job[int], plan: Plan) -> object:
        value = await self._outcome(job.result(), plan)
        self._world.say("result of", plan.number, "is", value)
        self._witness.result(job.key, plan, value)
        return value

    async def _outcome(self, result: Awaitable[int], plan: Plan) -> object:
        try:
            value: object = await result
        except JobFailed:
            return "failed"
        except JobCancelled:
            return "cancelled"
        except JobExpired:
            return "expired"
        if value != answer_of(plan):
            self._world.loop.note(f"I7: {plan} gave {value}")
        return value


async def live(world: World, host: ClientHost) -> None:
    """One client process, from its first connection to its goodbye."""
    while True:
        app = Queue("tcp://broker:7710", namespace="sim", timeout="60s")
        try:
            async with app:
                host.queue = app
                await Users(world, host, app).run()
                host.queue = None
            return
        except BrokerUnavailable as error:
            host.queue = None
            world.say("no broker:", error)
            await asyncio.sleep(0.2)


async def _never(ctx: Context, number: int) -> int:
    raise AssertionError("a client runs no jobs")


_ACTS: Final[list[Callable[[Users], Awaitable[None]]]] = [
    Users.submit_and_wait, Users.ask_at_once, Users.submit_together, Users.submit_as_one, Users.submit_under_a_name,
    Users.submit_for_later, Users.change_their_mind, Users.insist, Users.leave_it, Users.look, Users.remember,
]  # fmt: skip
_WEIGHTS: Final = (5, 3, 5, 2, 1, 2, 5, 2, 1, 1, 1)
