"""A queue is used in the loop that entered it; anywhere else the call is refused at once, and never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from aioqueue import Context, JobFailed, OtherLoop, Queue, Worker
from aioqueue.client.job import Job
from aioqueue.client.session import Session
from aioqueue.ground import Ground
from aioqueue.transport.address import TcpAddress
from aioqueue.transport.dialer import Dialer

queue = Queue("memory:")


@queue.task
async def double(number: int) -> int:
    return 2 * number


@queue.task
async def parent_of(context: Context, number: int) -> int:
    def elsewhere() -> int:
        async def submit() -> int:
            return await (await context.submit(double, number))

        return asyncio.run(submit())

    return await asyncio.to_thread(elsewhere)


@queue.task(retry=1)
def runs_a_loop_of_its_own(number: int) -> int:
    async def submit() -> int:
        return await queue.run(double, number)

    return asyncio.run(submit())


@pytest.fixture
async def job() -> AsyncIterator[Job[int]]:
    async with queue:
        yield await queue.submit(double, 1)


async def listed(items: Any) -> list[Any]:
    return [item async for item in items]


async def entered_again() -> None:
    async with queue:
        raise AssertionError("it was entered twice")


async def worked() -> None:
    async with Worker(queue) as worker:
        await worker.ready()


USES: dict[str, Callable[[Job[int]], Coroutine[Any, Any, Any]]] = {
    "submit": lambda job: queue.submit(double, 1),
    "submit by name": lambda job: queue.submit("tests.double", 1),
    "submit_many": lambda job: queue.submit_many([double.call(1)]),
    "run": lambda job: queue.run(double, 1),
    "map": lambda job: listed(queue.map(double, [1])),
    "get": lambda job: queue.get(job.id),
    "find": lambda job: listed(queue.find(state="dead")),
    "statistics": lambda job: listed(queue.statistics()),
    "result": lambda job: job.result(),
    "result with a timeout": lambda job: job.result(timeout=60),
    "info": lambda job: job.info(),
    "history": lambda job: job.history(),
    "cancel": lambda job: job.cancel(wait=60),
    "retry": lambda job: job.retry(),
    "using": lambda job: queue.using(timeout=60).submit(double, 1),
    "ready": lambda job: queue.ready(),
    "async with": lambda job: entered_again(),
    "leaving": lambda job: queue.__aexit__(None, None, None),
    "a worker": lambda job: worked(),
}


@pytest.mark.parametrize("use", USES)
async def test_a_call_from_another_loop_is_refused_at_once(job: Job[int], use: str) -> None:
    with pytest.raises(OtherLoop, match="run_coroutine_threadsafe"):
        await asyncio.to_thread(lambda: asyncio.run(USES[use](job)))
    assert await job == 2, "the loop that entered it works on"


async def test_a_call_by_the_way_that_the_error_names_goes_through(job: Job[int]) -> None:
    loop = asyncio.get_running_loop()
    made = await asyncio.to_thread(
        lambda: asyncio.run_coroutine_threadsafe(queue.run(double, 21), loop).result(timeout=60)
    )
    assert made == 42


async def test_a_plain_task_that_runs_a_loop_fails_with_the_sentence_and_hangs_nobody(job: Job[int]) -> None:
    with pytest.raises(JobFailed, match="another event loop") as caught:
        await queue.run(runs_a_loop_of_its_own, 1)
    assert caught.value.type == "aioqueue.errors.OtherLoop"


async def test_a_child_is_not_submitted_from_another_loop_either(job: Job[int]) -> None:
    with pytest.raises(JobFailed, match="another event loop"):
        await queue.run(parent_of.options(retry=1), 1)


def test_a_queue_whose_loop_is_gone_is_refused_and_not_waited_for() -> None:
    left = Queue("tcp://127.0.0.1:1")
    asyncio.run(unfinished(left))
    with pytest.raises(OtherLoop):
        asyncio.run(left.run("shop.double", 1))


async def unfinished(left: Queue) -> None:
    """As if it were entered and never left."""
    left._stack, left._loop = AsyncExitStack(), asyncio.get_running_loop()
    left._session = Session(Dialer([TcpAddress("127.0.0.1", 1)]), ground=Ground(), namespace="default")


async def test_the_same_queue_may_be_entered_by_another_loop_once_it_was_left() -> None:
    async def once() -> int:
        async with queue:
            return await queue.run(double, 3)

    calls: list[Awaitable[int]] = [asyncio.to_thread(lambda: asyncio.run(once())) for _ in range(2)]
    assert [await call for call in calls] == [6, 6]
