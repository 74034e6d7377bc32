"""What is awaitable when it is called is awaited, wherever it hides: in a worker, in a process, and called directly."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from aioqueue import BadOption, Context, JobFailed, Queue
from tests.support import hidden_app
from tests.support.hidden_app import HIDDEN, PROCESS_TASKS, TASKS, plainly, queue


@pytest.fixture
async def entered() -> AsyncIterator[Queue]:
    async with queue:
        yield queue


@pytest.mark.parametrize("what", HIDDEN)
async def test_it_is_awaited_by_the_worker(entered: Queue, what: str) -> None:
    assert await queue.run(TASKS[what], 210) == 420
    assert await queue.run(TASKS[what], 1) == 2


@pytest.mark.parametrize("what", HIDDEN)
async def test_it_is_awaited_where_the_task_is_called_directly(what: str) -> None:
    assert await TASKS[what](210) == 420
    assert await TASKS[what](1) == 2


@pytest.mark.parametrize("task", PROCESS_TASKS, ids=lambda task: task.name)
async def test_it_is_awaited_in_a_process_of_its_own(entered: Queue, task: Any) -> None:
    assert await queue.run(task, 210) == 420


async def test_a_decorator_that_runs_the_coroutine_itself_has_a_thread_if_it_is_told_so(entered: Queue) -> None:
    assert await queue.run(hidden_app.in_a_thread, 21) == 42
    assert await hidden_app.in_a_thread(21) == 42


async def test_a_hidden_coroutine_is_given_its_context_and_is_cancelled_like_any_other() -> None:
    own = Queue("memory:")
    began = asyncio.Event()

    @own.task
    @plainly
    async def waits(context: Context, number: int) -> str:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            ended.append(context.job)
        return ""

    ended: list[str] = []
    async with own:
        job = await own.submit(waits, 1)
        await began.wait()
        assert await job.cancel(wait=60) == "cancelled"
        assert ended == [job.id]


async def test_what_a_plain_part_raises_fails_the_job_as_it_is() -> None:
    own = Queue("memory:", defaults={"retry": 1})

    @own.task
    @functools.wraps(hidden_app.double)
    def refuses(number: int) -> Any:
        raise LookupError("no such number")

    async with own:
        with pytest.raises(JobFailed, match="LookupError: no such number"):
            await own.run(refuses, 1)


async def generated() -> AsyncIterator[int]:
    yield 1


def counted() -> Iterator[int]:
    yield 1


class Generating:
    def __call__(self) -> Iterator[int]:
        yield 1

    async def method(self) -> AsyncIterator[int]:
        yield 1


@pytest.mark.parametrize(
    "fn",
    [generated, counted, functools.partial(generated), Generating(), functools.partial(Generating()),
     Generating().method, staticmethod(counted)],
)  # fmt: skip
def test_a_generator_is_refused_where_it_is_declared(fn: Any) -> None:
    with pytest.raises(BadOption, match="it is a generator; a task returns one result"):
        Queue("memory:").task(fn, name="generated")


async def test_a_generator_that_a_plain_decorator_hides_may_become_a_list_and_else_is_told_as_one() -> None:
    own = Queue("memory:", defaults={"retry": 1})

    def untyped():  # type: ignore[no-untyped-def]
        yield 1

    async def untyped_too():  # type: ignore[no-untyped-def]
        yield 1

    @functools.wraps(untyped)
    def listed() -> Any:
        return list(untyped())

    with_list = own.task(listed, name="listed")
    without = own.task(plainly(untyped), name="counted")
    asynchronous = own.task(plainly(untyped_too), name="generated")
    async with own:
        assert await own.run(with_list) == [1]
        for task in (without, asynchronous):
            with pytest.raises(JobFailed, match="is a generator; return a list of what it yields"):
                await own.run(task)


def test_a_bound_method_is_refused_for_a_process_which_would_not_have_its_object() -> None:
    with pytest.raises(BadOption, match="bound to an object"):
        Queue("memory:").task(hidden_app.Doubler().method, executor="process")
