"""Plain functions in threads: what they raise comes back as it was."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from aioqueue.worker.threads import Threads

shade: ContextVar[str] = ContextVar("shade", default="none")


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(2)
    yield made
    made.close()


def fails_with(error: BaseException) -> Any:
    raise error


async def test_a_plain_function_runs_in_another_thread(threads: Threads) -> None:
    assert await threads.call(threading.get_ident, (), {}) != threading.get_ident()


async def test_arguments_and_value_pass(threads: Threads) -> None:
    assert await threads.call(divmod, (7, 2), {}) == (3, 1)
    assert await threads.call(dict, (), {"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), StopIteration(7), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()],
)
async def test_whatever_is_raised_comes_back(threads: Threads, error: BaseException) -> None:
    caught: BaseException | None = None
    try:
        await threads.call(fails_with, (error,), {})
    except BaseException as raised:
        # A StopIteration cannot leave a coroutine; Python turns it into a RuntimeError that names it.
        caught = raised.__cause__ if isinstance(raised, RuntimeError) else raised
    assert caught is error


async def test_a_function_sees_its_caller_s_context_and_cannot_change_it(threads: Threads) -> None:
    def paint() -> str:
        before = shade.get()
        shade.set("red")
        return before

    shade.set("blue")
    assert await threads.call(paint, (), {}) == "blue"
    assert shade.get() == "blue"


async def test_no_more_calls_run_at_once_than_there_are_threads(threads: Threads) -> None:
    names = {await threads.call(lambda: threading.current_thread().name, (), {}) for _ in range(20)}
    together = await asyncio.gather(*(threads.call(lambda: threading.current_thread().name, (), {}) for _ in range(50)))
    assert len(names | set(together)) <= 2


async def test_closing_does_not_wait_for_a_function_that_still_runs(threads: Threads) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        may_end.wait()

    call = asyncio.ensure_future(threads.call(slow, (), {}))
    await asyncio.to_thread(begun.wait)
    threads.close()
    assert not call.done()
    may_end.set()
    await call
