"""What shells stand on."""

from __future__ import annotations

import asyncio
import os

import pytest

from aioqueue.clock import ManualClock
from aioqueue.ground import Ground


def test_a_ground_reads_the_clock_that_it_was_given() -> None:
    clock = ManualClock()
    ground = Ground(clock)
    before = ground.now(), ground.mono_ns()
    clock.advance(250)
    assert (ground.now().wall_ms - before[0].wall_ms, ground.mono_ns() - before[1]) == (250, 250_000_000)


def test_chance_is_asked_of_whoever_was_handed_over() -> None:
    assert Ground(random=bytes).random(3) == b"\0\0\0"


def test_without_another_chance_it_is_the_system_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda count: b"x" * count)
    assert Ground().random(2) == b"xx"


async def test_a_round_waits_for_its_time() -> None:
    waiting = asyncio.ensure_future(anext(Ground().every(3_600)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_rounds_go_on_until_whoever_makes_them_is_cancelled() -> None:
    rounds, third = 0, asyncio.Event()

    async def look_after() -> None:
        nonlocal rounds
        async for _ in Ground().every(0):
            rounds += 1
            if rounds == 3:
                third.set()

    task = asyncio.create_task(look_after())
    await third.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
