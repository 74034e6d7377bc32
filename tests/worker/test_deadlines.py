"""Deadlines on a clock that the test moves; the loop's own timer is only asked for the nearest."""

from __future__ import annotations

import asyncio

import pytest

from aioqueue.ground import Ground
from aioqueue.worker.deadlines import Deadlines

NS_A_MS = 1_000_000


class Hands:
    """A clock that moves by hand."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def deadlines(hands: Hands) -> Deadlines:
    return Deadlines(hands)


async def test_what_is_due_is_called_in_order_and_nothing_else(deadlines: Deadlines, hands: Hands) -> None:
    called: list[int] = []
    for after_ms in (5_000, 1_000, 9_000, 3_000):
        deadlines.add(after_ms, lambda after_ms=after_ms: called.append(after_ms))
    hands.ns = 5_000 * NS_A_MS
    deadlines.fire()
    assert called == [1_000, 3_000, 5_000]
    deadlines.close()


async def test_a_cancelled_deadline_is_not_called(deadlines: Deadlines, hands: Hands) -> None:
    called: list[str] = []
    first = deadlines.add(1_000, lambda: called.append("first"))
    deadlines.add(1_000, lambda: called.append("second"))
    first.cancel()
    first.cancel()
    hands.ns = 2_000 * NS_A_MS
    deadlines.fire()
    assert called == ["second"]


async def test_a_deadline_may_add_another_that_is_due_at_once(deadlines: Deadlines, hands: Hands) -> None:
    called: list[str] = []
    deadlines.add(10, lambda: deadlines.add(0, lambda: called.append("inner")) and None)
    hands.ns = 20 * NS_A_MS
    deadlines.fire()
    assert called == ["inner"]


async def test_cancelled_deadlines_do_not_fill_the_memory(deadlines: Deadlines) -> None:
    kept = deadlines.add(3_600_000, lambda: None)
    for _ in range(10_000):
        deadlines.add(3_600_000, lambda: None).cancel()
    assert len(deadlines) < 200
    kept.cancel()
    deadlines.close()


async def test_cancelling_after_firing_leaves_the_count_right(deadlines: Deadlines, hands: Hands) -> None:
    fired = [deadlines.add(1, lambda: None) for _ in range(1_000)]
    hands.ns = 2 * NS_A_MS
    deadlines.fire()
    for deadline in fired:
        deadline.cancel()
    called: list[int] = []
    for number in range(100):
        deadlines.add(1, lambda number=number: called.append(number))
    hands.ns = 5 * NS_A_MS
    deadlines.fire()
    assert sorted(called) == list(range(100))


async def test_the_event_loop_wakes_for_the_earliest_on_the_real_clock() -> None:
    deadlines = Deadlines(Ground().mono_ns)
    woken: asyncio.Queue[str] = asyncio.Queue()
    deadlines.add(60_000, lambda: woken.put_nowait("late"))
    deadlines.add(1, lambda: woken.put_nowait("early"))
    assert await woken.get() == "early"
    assert len(deadlines) == 1
    deadlines.close()


async def test_nothing_is_called_after_close(deadlines: Deadlines, hands: Hands) -> None:
    called: list[str] = []
    deadlines.add(1, lambda: called.append("late"))
    deadlines.close()
    hands.ns = 10 * NS_A_MS
    deadlines.fire()
    assert called == []
