"""Deadlines and children as a user meets them, whichever broker is behind the queue."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aioqueue import (
    BadOption,
    Context,
    Job,
    JobCancelled,
    JobExpired,
    JobFailed,
    NotEntered,
    Queue,
    Retry,
    Task,
    Worker,
)
from tests.behaviour.conftest import App


async def test_a_job_that_nobody_begins_in_time_expires_and_can_be_retried(app: App) -> None:
    @app.queue.task(expires="20ms")
    async def greet() -> str:
        return "hello"

    queue = await app.start(worker=False)
    job = await queue.submit(greet)
    with pytest.raises(JobExpired, match="it had not begun in time") as told:
        await job
    assert told.value.code == "job_expired"
    info = await job.info()
    assert (info.state, info.note, info.runs) == ("expired", "it had not begun in time", 0)
    assert info.expires_at == info.submitted_at + timedelta(milliseconds=20)
    assert [found.id async for found in queue.find(state="expired")] == [job.id]
    assert await job.cancel() == "finished"
    await job.retry()
    async with Worker(queue):
        assert await job == "hello"
    assert (await job.info()).expires_at is None


async def one_that_begins(queue: Queue, task: Task[[], Any], begun: list[Any]) -> Job[Any]:
    """A job that had begun when its deadline passed; where the machine is too slow for it, the next has longer."""
    seconds = 0.1
    while True:
        job = await queue.submit(task.options(deadline=seconds))
        with suppress(JobExpired):
            await job
        if begun:
            return job
        seconds *= 2


async def test_a_run_is_stopped_by_the_deadline_of_its_job(app: App) -> None:
    cleaned = asyncio.Event()
    seen: list[datetime | None] = []

    @app.queue.task
    async def block(ctx: Context) -> None:
        seen.append(ctx.deadline)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    queue = await app.start()
    job = await one_that_begins(queue, block, seen)
    with pytest.raises(JobExpired, match="its deadline passed"):
        await job
    assert cleaned.is_set()
    info = await job.info()
    assert (info.state, info.runs, info.failures) == ("expired", 1, 0)
    assert [attempt.outcome for attempt in info.attempts] == ["expired"]
    assert seen == [info.deadline_at]


async def test_a_run_that_ends_well_behind_its_deadline_has_succeeded(app: App) -> None:
    begun: list[bool] = []

    @app.queue.task
    async def stubborn() -> str:
        begun.append(True)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "just so"
        return "never"

    queue = await app.start()
    assert await (await one_that_begins(queue, stubborn, begun)) == "just so"


async def test_a_job_without_time_for_another_attempt_is_dead_with_its_failure(app: App) -> None:
    @app.queue.task(retry=Retry(5, base="10m", cap="1h"), deadline="5m")
    async def broken() -> None:
        raise KeyError("gone")

    queue = await app.start()
    job = await queue.submit(broken)
    with pytest.raises(JobFailed, match="gone"):
        await job
    assert (await job.info()).failures == 1


async def test_an_instant_serves_as_well_as_a_duration(app: App) -> None:
    @app.queue.task
    async def never() -> None: ...

    queue = await app.start(worker=False)
    end = datetime(2999, 1, 1, tzinfo=UTC)
    past = datetime(2001, 1, 1, tzinfo=UTC)
    info = await (await queue.submit(never.options(deadline=end, expires=end))).info()
    assert (info.deadline_at, info.expires_at) == (end, end)
    with pytest.raises(JobExpired):
        await (await queue.submit(never.options(expires=past)))


async def test_the_reason_of_a_cancel_is_told_to_whoever_waits(app: App) -> None:
    @app.queue.task
    async def never() -> None: ...

    queue = await app.start(worker=False)
    job = await queue.submit(never)
    await job.cancel("the order was withdrawn")
    with pytest.raises(JobCancelled, match="the order was withdrawn") as told:
        await job
    assert told.value.reason == "the order was withdrawn"
    assert (await job.info()).note == "the order was withdrawn"


async def test_a_parent_that_runs_again_joins_the_children_it_has(app: App) -> None:
    added: list[int] = []

    @app.queue.task
    async def add(a: int, b: int) -> int:
        added.append(a)
        return a + b

    @app.queue.task(retry=Retry(3, base=0.01))
    async def total(ctx: Context) -> list[int]:
        # In another order each time, and the same call twice.
        calls = [(1, 10), (2, 20), (2, 20)]
        jobs = [await ctx.submit(add, *call) for call in (calls if ctx.attempt == 1 else reversed(calls))]
        assert len({job.id for job in jobs}) == 3
        if ctx.attempt == 1:
            raise ConnectionError("once more")
        by_name = await ctx.submit(add.name, 3, 30)
        return [*sorted([await job for job in jobs]), await by_name]

    queue = await app.start()
    job = await queue.submit(total)
    assert await job == [11, 22, 22, 33]
    assert sorted(added) == [1, 2, 2, 3]
    children = [info async for info in queue.find(task=add.name)]
    assert {(await (await queue.get(info.id)).info()).parent for info in children} == {job.id}


async def test_children_that_inherit_end_with_their_parent_and_others_do_not(app: App) -> None:
    busy, begun, free = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    @app.queue.task
    async def child(name: str) -> str:
        begun.set()
        try:
            await free.wait()
        except asyncio.CancelledError:
            ended.append(name)
            raise
        return name

    @app.queue.task
    async def parent(ctx: Context) -> None:
        await ctx.submit(child.options(inherit=True, id="runs"), "runs")
        await begun.wait()
        await ctx.submit(child.options(inherit=True, id="waits", delay=60), "waits")
        await ctx.submit(child.options(id="apart"), "apart")
        busy.set()
        await free.wait()

    queue = await app.start()
    job = await queue.submit(parent)
    await busy.wait()
    runs, waits, apart = [await queue.submit(child.options(id=name), "") for name in ("runs", "waits", "apart")]
    assert await job.cancel("enough", wait=60) == "cancelled"
    for each in (runs, waits):
        with pytest.raises(JobCancelled, match="its parent was cancelled"):
            await each
    assert ended == ["runs"]
    free.set()
    assert await apart == "apart"


async def test_a_child_has_no_later_deadline_than_the_parent_it_inherits_from(app: App) -> None:
    @app.queue.task
    async def child() -> None: ...

    @app.queue.task(deadline="1h")
    async def parent(ctx: Context) -> list[str]:
        ids = [
            (await ctx.submit(child.options(inherit=True, delay="30m", **more))).id for more in ({}, {"deadline": "2h"})
        ]
        return [*ids, (await ctx.submit(child.options(inherit=True, delay="10m", deadline="40m"))).id]

    queue = await app.start()
    job = await queue.submit(parent)
    own = (await job.info()).deadline_at
    infos = [await (await queue.get(each)).info() for each in await job]
    assert own is not None
    assert [info.deadline_at for info in infos[:2]] == [own, own]
    assert infos[2].deadline_at is not None
    assert infos[2].deadline_at < own


async def test_a_child_that_comes_after_its_parent_was_cancelled_is_cancelled_too(app: App) -> None:
    busy = asyncio.Event()
    late: list[str] = []

    @app.queue.task
    async def child() -> None: ...

    @app.queue.task
    async def parent(ctx: Context) -> None:
        try:
            busy.set()
            await asyncio.Event().wait()
        finally:
            late.append((await ctx.submit(child.options(inherit=True))).id)

    queue = await app.start()
    job = await queue.submit(parent)
    await busy.wait()
    await job.cancel(wait=60)
    with pytest.raises(JobCancelled, match="its parent was over"):
        await (await queue.get(late[0]))


async def test_a_plain_function_and_a_direct_call_are_told_that_they_cannot_submit_children(app: App) -> None:
    @app.queue.task
    async def child() -> None: ...

    @app.queue.task(retry=1)
    def plain(ctx: Context) -> None:
        ctx.submit(child)

    @app.queue.task
    async def parent(ctx: Context) -> None:
        await ctx.submit(child)

    queue = await app.start()
    with pytest.raises(JobFailed, match="a plain function cannot submit children"):
        await queue.run(plain)
    with pytest.raises(NotEntered):
        await parent()


async def test_times_that_leave_nothing_to_do_are_refused_where_they_are_written(app: App) -> None:
    @app.queue.task
    async def never() -> None: ...

    queue = await app.start(worker=False)
    for options in ({"expires": 0}, {"deadline": "-1s"}, {"deadline": "soon"}, {"inherit": 1}):
        with pytest.raises(BadOption):
            never.options(**options)  # type: ignore[arg-type]
    for options in ({"expires": "5m", "delay": "10m"}, {"deadline": 60, "delay": 60}):
        with pytest.raises(BadOption, match="before delay="):
            await queue.submit(never.options(**options))  # type: ignore[arg-type]
