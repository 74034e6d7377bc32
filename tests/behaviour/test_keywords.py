"""A task's parameters may have any name: no call on the way has a parameter of its own that a keyword could meet."""

from __future__ import annotations

from typing import Any

import pytest

from aioqueue import Context, Queue

queue = Queue("memory:", defaults={"retry": 1})
NAMES = (  # noqa: SIM905 - thirty lines of one name each would be no better to read
    "self task queue name args kwargs fn func function callable family context options item items call calls session "
    "timeout delay priority id job work partial cls method error value limit"
).split()


@queue.task
async def coroutine(**kwargs: Any) -> dict[str, Any]:
    return kwargs


@queue.task
def plain(**kwargs: Any) -> dict[str, Any]:
    return kwargs


@queue.task
async def with_context(_context: Context, /, **kwargs: Any) -> dict[str, Any]:
    return kwargs


@queue.task(executor="process")
def in_process(**kwargs: Any) -> dict[str, Any]:
    return kwargs


@queue.task
async def parent(context: Context, given: dict[str, Any]) -> Any:
    return await (await context.submit(coroutine, **given))


@queue.task
async def named(self: int, task: int, queue: int, name: int) -> list[int]:
    return [self, task, queue, name]


GIVEN = {name: number for number, name in enumerate(NAMES)}


@pytest.mark.parametrize("task", [coroutine, plain, with_context, in_process], ids=lambda task: task.name)
async def test_a_keyword_of_any_name_reaches_the_task(task: Any) -> None:
    async with queue:
        assert await queue.run(task, **GIVEN) == GIVEN
        assert await (await queue.submit(task, **GIVEN)) == GIVEN
        [job] = await queue.submit_many([task.call(**GIVEN)])
        assert await job == GIVEN
        assert await (await queue.submit(task.name, **GIVEN)) == GIVEN
    assert await task(**GIVEN) == GIVEN


async def test_a_keyword_of_any_name_reaches_a_child() -> None:
    async with queue:
        assert await queue.run(parent, GIVEN) == GIVEN


async def test_parameters_of_such_names_are_bound_by_keyword_and_by_place() -> None:
    async with queue:
        assert await queue.run(named, self=1, task=2, queue=3, name=4) == [1, 2, 3, 4]
        assert await queue.run(named, 1, 2, 3, name=4) == [1, 2, 3, 4]
        [job] = await queue.submit_many([named.call(self=1, task=2, queue=3, name=4)])
        assert await job == [1, 2, 3, 4]
