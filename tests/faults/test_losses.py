"""Every message is lost once before and once after it arrived, between real processes; nothing else is lost with it.

Broker, worker and client are those that users run. A proxy cuts the connection at the message, or the broker is killed
at that instant; then everything heals by itself, and both sides are asked what is so.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, get_args
from unittest.mock import patch

import pytest
import pytest_asyncio

from aioqueue import BackupFailed, Call, Job, JobFailed, NotRetryable, Queue, UnknownTask, Worker
from aioqueue.protocol import messages as m
from tests.faults.ledger import Evidence, read_journal, read_marks
from tests.faults.loss import LOSSES, Loss, table
from tests.support.logged_app import fail, hold, step
from tests.support.patience import LOOK_SECONDS
from tests.support.programs import Bell, BrokerProgram, WorkerProgram, marks_of
from tests.support.proxy import Cut, Proxy

pytestmark = [pytest.mark.faults, pytest.mark.slow]

# Of tasks that nobody has seen before.
_NUMBERS: Final = count()
PAGE = Path(__file__).parents[2] / "docs" / "internals" / "losses.md"
CASES: Final = [
    pytest.param(loss, before, kill, id=f"{loss.scene}-{'kill' if kill else 'cut'}-{side}-{loss.message.__name__}")
    for loss in LOSSES
    for kill in ([False, True] if loss.kill else [False])
    for side, before in (("before", True), ("after", False))
]


class Stage:
    """A broker, a worker and the proxies before the broker's door, all the same for every loss."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        # No session may expire beside what is tested.
        self.broker = BrokerProgram(folder, session_ttl="10s")
        self.bell = Bell(folder / "bell")
        self.clients: Proxy
        self.workers: Proxy
        self.worker: WorkerProgram

    async def begin(self) -> None:
        await self.bell.start()
        self._stack.push_async_callback(self.bell.stop)
        await self.broker.start()
        self._stack.push_async_callback(self.broker.end)
        self.clients = await self._stack.enter_async_context(Proxy(self.broker.port))
        self.workers = await self._stack.enter_async_context(Proxy(self.broker.port))
        await self.new_worker()

    async def new_worker(self) -> None:
        """Start a worker, and wait until it takes jobs."""
        self.worker = WorkerProgram(self._folder, self.workers.url, grace="0s", concurrency=10, bell=self.bell.path)
        offered = self.workers.passing(m.Capacity, m.Role.WORKER)
        await self.worker.start()
        self._stack.push_async_callback(self.worker.end)
        await offered

    def starts(self, job_id: str) -> int:
        """How often the job's function was called, by the log of the processes that called it."""
        return sum(mark.what == "start" and mark.job == job_id for mark in read_marks(marks_of(self._folder)))

    async def close(self) -> Evidence:
        """Stop everything in good order; what the journal then says."""
        assert await self.worker.stop() == 0
        self.broker.terminate()
        assert await self.broker.ended() == 0
        return await read_journal(self.broker.journal)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        stage = Stage(tmp_path_factory.mktemp("losses"), stack)
        await stage.begin()
        yield stage
        # After all of it the journal keeps its promises, and nothing lives for ever.
        evidence = await stage.close()
        assert evidence.problems == []
        assert evidence.living == {}


class Act:
    """One loss on the stage: `arm` it, and await `lost`."""

    def __init__(self, stage: Stage, queue: Queue, loss: Loss, before: bool, kill: bool) -> None:
        self.stage = stage
        self.queue = queue
        self.loss = loss
        self._kill = kill
        self.proxy = stage.clients if loss.role is m.Role.CLIENT else stage.workers
        strike = stage.broker.kill if kill else _nothing
        self._cut = Cut(loss.message, loss.role, before=before, strike=strike)

    def arm(self, *first: Cut) -> None:
        self.proxy.cut(*first, self._cut)

    async def lost(self) -> None:
        """Wait until it was lost."""
        await self._cut.done.wait()

    async def mend(self) -> None:
        """Start the broker again where it was killed."""
        await self.lost()
        if self._kill:
            await self.stage.broker.ended()
            await self.stage.broker.start()

    async def held(self) -> tuple[Job[int], Any]:
        """A job that runs, and waits to be told to go on."""
        job = await self.queue.submit(hold, 21)
        rung = await self.stage.bell.next()
        assert (rung.job, rung.attempt, rung.crashes) == (job.id, 1, 0)
        return job, rung


def _nothing() -> None:
    """The connection is cut, and nobody killed."""


# --- scenes: each brings its message about, and gives the jobs it was about ---------------------------------------


async def greet(act: Act) -> list[Job[Any]]:
    act.arm()
    act.proxy.sever(m.Role.CLIENT)
    await act.lost()
    job = await act.queue.submit(step, 21)
    assert await job == 42
    return [job]


async def submit(act: Act) -> list[Job[Any]]:
    act.arm()
    job = await act.queue.submit(step, 21)
    await act.lost()
    assert await job == 42
    return [job]


async def submit_many(act: Act) -> list[Job[Any]]:
    act.arm()
    jobs = await act.queue.submit_many([step.call(number) for number in range(3)])
    await act.lost()
    assert [await job for job in jobs] == [0, 2, 4]
    return [*jobs]


@contextmanager
def small_parts() -> Iterator[None]:
    """More than two jobs do not fit one message, nor a part."""
    with patch.multiple("aioqueue.client.bulk", ATOMIC_JOBS_MAX=2, BULK_PART_JOBS_MAX=2):
        yield


async def submit_bulk(act: Act) -> list[Job[Any]]:
    act.arm()
    with small_parts():
        jobs = await act.queue.submit_many([step.call(number) for number in range(5)])
    await act.lost()
    assert [await job for job in jobs] == [0, 2, 4, 6, 8]
    return [*jobs]


async def drop_bulk(act: Act) -> list[Job[Any]]:
    def calls() -> Iterator[Call[int]]:
        yield from (step.call(number) for number in range(5))
        raise OSError("the file ended in the middle of a line")

    before = {info.id async for info in act.queue.find()}
    act.arm()
    with small_parts(), pytest.raises(OSError, match="middle of a line"):
        await act.queue.submit_many(calls())
    await act.lost()
    staged = [info.id async for info in act.queue.find() if info.id not in before]
    assert staged
    jobs = [await act.queue.get(job_id) for job_id in staged]
    # Where the broker did not hear of it, they would wait for two hours.
    assert {await job.cancel() for job in jobs} == {"cancelled"}
    return jobs


async def backup(act: Act) -> list[Job[Any]]:
    job = await act.queue.submit(step, 21)
    assert await job == 42
    act.arm()
    with suppress(BackupFailed):
        assert [part async for part in act.queue.session().questions.backup()]
    await act.lost()
    assert [part async for part in act.queue.session().questions.backup()]
    return [job]


async def refuse(act: Act) -> list[Job[Any]]:
    job, rung = await act.held()
    act.arm()
    with pytest.raises(NotRetryable):
        await job.retry()
    rung.go()
    assert await job == 42
    return [job]


async def stop(act: Act) -> list[Job[Any]]:
    job, _ = await act.held()
    act.arm()
    assert await job.cancel(wait=60) == "cancelled"
    return [job]


async def offer(act: Act) -> list[Job[Any]]:
    act.proxy.hold()
    act.arm()
    act.proxy.sever(m.Role.WORKER)
    async with aclosing(act.queue.statistics()) as statistics:
        while any(worker.connected and worker.slots for worker in (await anext(statistics)).workers):
            pass
    job = await act.queue.submit(step, 21)
    act.proxy.release()
    assert await job == 42
    return [job]


async def declare(act: Act) -> list[Job[Any]]:
    act.arm()
    act.proxy.sever(m.Role.WORKER)
    await act.lost()
    job = await act.queue.submit(step, 21)
    assert await job == 42
    return [job]


async def describe(act: Act) -> list[Job[Any]]:
    """A worker with a task that no broker has heard of; its description is there whatever was lost."""
    name = f"described-{act.loss.message.__name__}-{next(_NUMBERS)}"
    app = Queue(act.proxy.url, worker=False)
    task = app.task(_doubled, name=name)
    act.arm()
    async with app, Worker(app, concurrency=1):
        await act.lost()
        jobs = [await app.submit(task, 21)]
        while True:
            with suppress(UnknownTask):
                jobs.append(await act.queue.submit(name, 21))
                break
            await asyncio.sleep(LOOK_SECONDS)
        assert [await job for job in jobs] == [42, 42]
    # What ran here left no mark; one of the others stands for the rest.
    job = await act.queue.submit(step, 21)
    assert await job == 42
    return [job]


async def _doubled(number: int) -> int:
    return number * 2


async def by_name(act: Act) -> list[Job[Any]]:
    act.arm()
    job = await act.queue.submit("step", 21)
    await act.lost()
    assert await job == 42
    return [job]


async def work(act: Act) -> list[Job[Any]]:
    act.arm()
    job = await act.queue.submit(step, 21)
    await act.lost()
    assert await job == 42
    return [job]


async def resume(act: Act) -> list[Job[Any]]:
    job, rung = await act.held()
    act.arm()
    act.proxy.sever(m.Role.WORKER)
    await act.lost()
    await act.proxy.passing(m.Resumed, m.Role.WORKER)
    rung.go()
    assert await job == 42
    return [job]


async def resume_with_end(act: Act) -> list[Job[Any]]:
    job, rung = await act.held()
    act.arm(Cut(m.Settle, m.Role.WORKER, before=True))
    rung.go()
    await act.lost()
    assert await job == 42
    return [job]


async def leave(act: Act) -> list[Job[Any]]:
    job, _ = await act.held()
    act.arm()
    assert await act.stage.worker.stop() == 0
    await act.lost()
    await act.stage.new_worker()
    again = await act.stage.bell.next()
    assert (again.job, again.attempt, again.crashes) == (job.id, 1, 0)
    again.go()
    assert await job == 42
    return [job]


async def beat(act: Act) -> list[Job[Any]]:
    job, rung = await act.held()
    act.arm()
    act.proxy.sever(m.Role.HEARTBEAT)
    await act.lost()
    await act.proxy.passing(m.Beat, m.Role.HEARTBEAT)
    rung.go()
    assert await job == 42
    return [job]


async def death(act: Act) -> list[Job[Any]]:
    job, rung = await act.held()
    act.arm()
    os.kill(rung.pid, signal.SIGKILL)
    await act.lost()
    again = await act.stage.bell.next()
    assert (again.job, again.attempt, again.crashes) == (job.id, 1, 1)
    again.go()
    assert await job == 42
    assert (await job.info()).crashes == 1
    return [job]


async def wait(act: Act) -> list[Job[Any]]:
    job, rung = await act.held()
    act.arm()
    asked = act.proxy.passing(m.Wait, m.Role.CLIENT)
    waiting = asyncio.ensure_future(job.result())
    await (act.lost() if act.loss.message is m.Wait else asked)
    rung.go()
    assert await waiting == 42
    return [job]


async def look(act: Act) -> list[Job[Any]]:
    job = await act.queue.submit(step, 21)
    assert await job == 42
    act.arm()
    assert (await job.info()).state == "succeeded"
    return [job]


async def list_jobs(act: Act) -> list[Job[Any]]:
    job = await act.queue.submit(step, 21)
    assert await job == 42
    act.arm()
    assert job.id in [info.id async for info in act.queue.find(task="step")]
    return [job]


async def watch(act: Act) -> list[Job[Any]]:
    job = await act.queue.submit(step, 21)
    assert await job == 42
    act.arm()
    async with aclosing(act.queue.statistics()) as statistics:
        await anext(statistics)
        await act.lost()
        assert (await anext(statistics)).sessions >= 1
    return [job]


async def cancel(act: Act) -> list[Job[Any]]:
    job = await act.queue.submit(step.options(delay="1h"), 21)
    act.arm()
    assert await job.cancel() == "cancelled"
    assert (await job.info()).state == "cancelled"
    return [job]


async def retry(act: Act) -> list[Job[Any]]:
    job = await act.queue.submit(fail, "no stock")
    with pytest.raises(JobFailed):
        await job
    act.arm()
    await job.retry()
    with pytest.raises(JobFailed):
        await job
    assert (await job.info()).generation == 1
    return [job]


async def ping(act: Act) -> list[Job[Any]]:
    act.arm()
    act.proxy.sever(m.Role.CLIENT)
    await act.lost()
    job = await act.queue.submit(step, 21)
    assert await job == 42
    return [job]


async def restart(act: Act) -> list[Job[Any]]:
    job, rung = await act.held()
    act.arm()
    act.stage.broker.terminate()
    assert await act.stage.broker.ended() == 0
    await act.stage.broker.start()
    rung.go()
    assert await job == 42
    return [job]


SCENES: Final[dict[str, Callable[[Act], Awaitable[list[Job[Any]]]]]] = {
    "greet": greet,
    "submit": submit,
    "submit-many": submit_many,
    "submit-bulk": submit_bulk,
    "drop-bulk": drop_bulk,
    "backup": backup,
    "refuse": refuse,
    "offer": offer,
    "declare": declare,
    "describe": describe,
    "by-name": by_name,
    "work": work,
    "resume": resume,
    "resume-with-end": resume_with_end,
    "leave": leave,
    "beat": beat,
    "death": death,
    "wait": wait,
    "look": look,
    "list": list_jobs,
    "watch": watch,
    "cancel": cancel,
    "stop": stop,
    "retry": retry,
    "ping": ping,
    "restart": restart,
}


@asynccontextmanager
async def mending(act: Act) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(act.mend())
        yield


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("loss", "before", "kill"), CASES)
async def test_nothing_is_lost_or_done_twice_with(stage: Stage, loss: Loss, before: bool, kill: bool) -> None:
    outcome = loss.before if before else loss.after
    async with Queue(stage.clients.url) as queue:
        act = Act(stage, queue, loss, before, kill)
        async with mending(act):
            jobs = await SCENES[loss.scene](act)
        for job in jobs:
            info = await job.info()
            assert stage.starts(job.id) == outcome.starts
            # The scenes that bring a job back do it once, after one lease. A broker that is killed may have given the
            # job out just then: a lease that never arrived.
            leases = info.runs + info.generation
            assert leases in outcome.leases or (kill and leases - 1 in outcome.leases)
            assert info.failures <= 1
            assert len(info.attempts) == info.runs


def test_no_message_of_the_protocol_is_missing_in_the_table() -> None:
    assert {loss.message for loss in LOSSES} == set(get_args(m.Message))


def test_no_scene_is_without_a_loss() -> None:
    assert {loss.scene for loss in LOSSES} == set(SCENES)


def test_the_page_says_what_the_table_says() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
