"""The ground of the big simulator: time, parties, and the ends of both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from inspect import CORO_CLOSED, getcoroutinestate
from random import Random

import pytest

from tests.simulator.shells.loop import Party, Stuck, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop(Random(1))
    yield loop
    loop.dispose()


def test_an_hour_of_sleep_takes_no_time(loop: VirtualLoop) -> None:
    loop.run_until_complete(asyncio.sleep(3_600))
    assert 3_600_000 <= loop.now_ms < 3_600_010


def test_a_party_that_stands_still_goes_on_where_it_was_with_what_came_first(loop: VirtualLoop) -> None:
    said: list[str] = []

    async def wait(what: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        said.append(what)

    async def story() -> None:
        party = Party(loop, "stopped")
        tasks = [party.start(wait("late", 2)), party.start(wait("early", 1))]
        await asyncio.sleep(0.5)
        party.paused = True
        await asyncio.sleep(60)
        assert said == []
        party.paused = False
        await asyncio.wait(tasks)

    loop.run_until_complete(story())
    assert said == ["early", "late"]


def test_nothing_of_a_dead_party_runs_until_the_world_is_over(loop: VirtualLoop) -> None:
    said: list[str] = []

    async def life() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            said.append("cleaned up")

    async def story() -> None:
        party = Party(loop, "dead")
        party.start(life())
        await asyncio.sleep(1)
        party.kill()
        await asyncio.sleep(10)
        assert said == []

    loop.run_until_complete(story())
    loop.run_until_complete(loop.bury())
    assert said == ["cleaned up"]


def test_what_a_party_fails_with_is_a_problem_even_where_somebody_waits_for_it(loop: VirtualLoop) -> None:
    error = RuntimeError("a bug")

    async def fail() -> None:
        raise error

    async def story() -> None:
        await asyncio.gather(Party(loop, "failing").start(fail()), return_exceptions=True)

    loop.run_until_complete(story())
    assert [problem.error for problem in loop.problems] == [error]
    assert "of failing ended with RuntimeError('a bug')" in loop.problems[0].what


def test_a_party_that_is_cancelled_from_within_is_a_problem(loop: VirtualLoop) -> None:
    async def be_cancelled() -> None:
        raise asyncio.CancelledError

    async def story() -> None:
        await asyncio.wait([Party(loop, "cancelled").start(be_cancelled())])

    loop.run_until_complete(story())
    assert len(loop.problems) == 1


def test_work_of_a_party_that_never_had_a_turn_is_closed(loop: VirtualLoop) -> None:
    work = asyncio.sleep(1)

    async def story() -> None:
        task = Party(loop, "cancelled").start(work)
        task.cancel()
        await asyncio.sleep(1)

    loop.run_until_complete(story())
    assert getcoroutinestate(work) == CORO_CLOSED


def test_what_a_callback_fails_with_is_a_problem(loop: VirtualLoop) -> None:
    async def story() -> None:
        Party(loop, "failing").call(int, "no number")
        await asyncio.sleep(1)

    loop.run_until_complete(story())
    assert [type(problem.error) for problem in loop.problems] == [ValueError]


def test_a_world_in_which_nothing_can_happen_any_more_says_so(loop: VirtualLoop) -> None:
    async def wait_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck, match="nothing will ever happen"):
        loop.run_until_complete(wait_for_ever())
    loop.run_until_complete(loop.bury())


def test_there_are_no_threads(loop: VirtualLoop) -> None:
    async def use_a_thread() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(AssertionError, match="no threads"):
        loop.run_until_complete(use_a_thread())
