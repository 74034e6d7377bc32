"""How long calls wait: on a loop whose clock the test sets."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from aioqueue.client.patience import UNENDING, USUAL, Timeouts, patience_of
from aioqueue.errors import BadOption


class Call:
    """Writes down when it was given up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.at: float | None = None

    def give_up(self) -> None:
        assert self.at is None
        self.at = self._clock.time


class Clock:
    """The loop's time; whoever waits for it waits no real time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = 1_000.0
        self.timers: list[tuple[float, Any]] = []
        self.set = 0
        monkeypatch.setattr(loop, "time", lambda: self.time)
        monkeypatch.setattr(loop, "call_at", self._call_at)

    def _call_at(self, when: float, call: Any) -> Any:
        self.set += 1
        handle = asyncio.TimerHandle(when, call, [], asyncio.get_running_loop())
        self.timers.append((when, handle))
        return handle

    async def pass_seconds(self, seconds: float) -> None:
        """Time passes, and every timer rings in its turn."""
        end = self.time + seconds
        while True:
            due = [each for each in self.timers if each[0] <= end and not each[1].cancelled()]
            if not due:
                break
            when, handle = min(due, key=lambda each: each[0])
            self.timers.remove((when, handle))
            self.time = max(self.time, when)
            handle._run()
            for _ in range(20):
                await asyncio.sleep(0)
        self.time = end


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


@pytest.fixture
async def timeouts(clock: Clock) -> AsyncIterator[Timeouts]:
    timeouts = Timeouts()
    timeouts.back()
    yield timeouts
    timeouts.close()


def call(timeouts: Timeouts, clock: Clock, seconds: float) -> Call:
    made = Call(clock)
    timeouts.begin(made, seconds)
    return made


@pytest.mark.parametrize("timeout", ["2s", 2, 2.0, timedelta(seconds=2)])
def test_patience_is_said_as_every_duration_is(timeout: Any) -> None:
    assert patience_of(timeout).seconds == 2.0
    assert patience_of(timeout).resend_seconds == USUAL.resend_seconds


def test_none_waits_as_long_as_it_takes_and_a_child_is_said_again_however_late() -> None:
    assert patience_of(None) == (math.inf, USUAL.resend_seconds)
    assert (math.inf, math.inf) == UNENDING


@pytest.mark.parametrize("timeout", [0, -1, "soon", True, math.nan])
def test_a_patience_that_cannot_be_is_refused(timeout: Any) -> None:
    with pytest.raises(BadOption, match="timeout"):
        patience_of(timeout)


async def test_a_call_waits_for_its_time_from_when_it_began(timeouts: Timeouts, clock: Clock) -> None:
    first = call(timeouts, clock, 2.0)
    await clock.pass_seconds(1)
    second, hasty = call(timeouts, clock, 2.0), call(timeouts, clock, 0.5)
    await clock.pass_seconds(10)
    assert (first.at, second.at, hasty.at) == pytest.approx((1_002, 1_003, 1_001.5))


async def test_one_that_was_answered_is_not_given_up(timeouts: Timeouts, clock: Clock) -> None:
    first, second = call(timeouts, clock, 2.0), call(timeouts, clock, 2.0)
    timeouts.end(first, 2.0)
    timeouts.end(first, 2.0)
    await clock.pass_seconds(10)
    assert (first.at, second.at) == (None, pytest.approx(1_002))


async def test_in_the_first_part_of_an_outage_calls_wait_and_from_then_on_each_fails_at_once(
    timeouts: Timeouts, clock: Clock
) -> None:
    before = call(timeouts, clock, 2.0)
    await clock.pass_seconds(0.5)
    timeouts.lost()
    await clock.pass_seconds(1)
    within = call(timeouts, clock, 2.0)
    await clock.pass_seconds(10)
    assert (before.at, within.at) == pytest.approx((1_002, 1_002.5))
    late, patient = call(timeouts, clock, 2.0), call(timeouts, clock, 60.0)
    await clock.pass_seconds(0)
    assert late.at == clock.time
    assert patient.at is None


async def test_a_call_of_an_outage_that_is_over_has_its_whole_time(timeouts: Timeouts, clock: Clock) -> None:
    timeouts.lost()
    await clock.pass_seconds(1.5)
    waiting = call(timeouts, clock, 2.0)
    timeouts.back()
    await clock.pass_seconds(10)
    assert waiting.at == pytest.approx(1_003.5)
    assert timeouts.away_seconds == 0


async def test_a_call_that_goes_on_waits_anew(timeouts: Timeouts, clock: Clock) -> None:
    going, other = call(timeouts, clock, 2.0), call(timeouts, clock, 2.0)
    await clock.pass_seconds(1.5)
    timeouts.went_on(going, 2.0)
    await clock.pass_seconds(10)
    assert (going.at, other.at) == pytest.approx((1_003.5, 1_002))


async def test_who_waits_for_ever_is_never_given_up(timeouts: Timeouts, clock: Clock) -> None:
    timeouts.lost()
    patient = call(timeouts, clock, math.inf)
    await clock.pass_seconds(1e9)
    assert patient.at is None


async def test_what_came_while_the_program_stood_still_counts(timeouts: Timeouts, clock: Clock) -> None:
    late = call(timeouts, clock, 2.0)
    clock.time += 60
    # The timer rings before the sockets are read; what they have is heard some turns later.
    clock.timers[0][1]._run()
    await asyncio.sleep(0)
    timeouts.end(late, 2.0)
    await clock.pass_seconds(10)
    assert late.at is None


async def test_a_hundred_thousand_calls_that_are_answered_set_a_timer_or_two(timeouts: Timeouts, clock: Clock) -> None:
    for _ in range(100_000):
        timeouts.end(call(timeouts, clock, 30.0), 30.0)
    assert clock.set == 1
    open_calls = [call(timeouts, clock, 30.0) for _ in range(1_000)]
    await clock.pass_seconds(60)
    assert clock.set <= 3
    assert {each.at is not None for each in open_calls} == {True}


async def test_nothing_is_given_up_after_the_end(timeouts: Timeouts, clock: Clock) -> None:
    left = call(timeouts, clock, 2.0)
    timeouts.close()
    await clock.pass_seconds(10)
    assert left.at is None
