"""Coroutine functions behind what does not look like one; each is a task in every executor that it can have."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from aioqueue import Queue
from aioqueue.client.task import Task

queue = Queue("memory:", defaults={"retry": 1})


def plainly(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator whose author did not think of coroutine functions."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


def as_task(fn: Callable[..., Any]) -> Callable[..., Any]:
    """One that needs the running loop."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return asyncio.ensure_future(fn(*args, **kwargs))

    return wrapper


def remembering(fn: Callable[..., Any]) -> Callable[..., Any]:
    """One that awaits nothing where it knows the answer."""

    @functools.wraps(fn)
    def wrapper(number: int) -> Any:
        return 2 * number if number < 100 else fn(number)

    return wrapper


def running(fn: Callable[..., Any]) -> Callable[..., Any]:
    """One that makes a plain function of it."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(fn(*args, **kwargs))

    return wrapper


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


class Doubler:
    async def __call__(self, number: int) -> int:
        return await double(number)

    async def method(self, number: int) -> int:
        return await double(number)

    @classmethod
    async def of_class(cls, number: int) -> int:
        return await double(number)

    wrapped_method = plainly(method)

    @staticmethod
    async def static(number: int) -> int:
        return await double(number)


class PlainlyDoubler:
    @plainly
    async def __call__(self, number: int) -> int:
        return await double(number)


class Holder:
    @queue.task(name="static", executor="process")
    @staticmethod
    async def static(number: int) -> int:
        return await double(number)


def returning(number: int) -> Any:
    """A plain function, from where nobody can see what it gives."""
    return double(number)


HIDDEN: dict[str, Callable[..., Any]] = {
    "wrapped": plainly(double),
    "wrapped twice": plainly(plainly(double)),
    "wrapped, needs the loop": as_task(double),
    "wrapped, awaits now and then": remembering(double),
    "partial": functools.partial(double),
    "partial of wrapped": functools.partial(plainly(double)),
    "wrapped partial": plainly(functools.partial(double)),
    "callable object": Doubler(),
    "partial of a callable object": functools.partial(Doubler()),
    "callable object of a wrapped method": PlainlyDoubler(),
    "bound method": Doubler().method,
    "bound class method": Doubler.of_class,
    "wrapped bound method": plainly(Doubler().method),
    "bound wrapped method": Doubler().wrapped_method,
    "static method": Doubler.__dict__["static"],
    "wrapped static method": plainly(Doubler.__dict__["static"]),
    "returned by a plain function": returning,
    "returned by a lambda": lambda number: double(number),  # noqa: PLW0108 - it hides the coroutine function
}
TASKS: dict[str, Task[..., Any]] = {
    what: queue.task(fn, name=f"hidden-{index}") for index, (what, fn) in enumerate(HIDDEN.items())
}


@queue.task(name="process-wrapped", executor="process")
@plainly
async def in_process(number: int) -> int:
    return await double(number)


@queue.task(name="process-loop", executor="process")
@as_task
async def in_process_with_loop(number: int) -> int:
    return await double(number)


@queue.task(name="process-returned", executor="process")
def in_process_returned(number: int) -> Any:
    return double(number)


@queue.task(name="thread", executor="thread")
@running
async def in_a_thread(number: int) -> int:
    return await double(number)


PROCESS_TASKS: list[Task[..., Any]] = [Holder.static, in_process, in_process_with_loop, in_process_returned]
