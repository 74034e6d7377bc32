"""A watchdog and event loops that really stand still.

How long they do is what a test says: for a watchdog, a process that gets no turn looks like a loop that is blocked.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from aioqueue.ground import Ground
from aioqueue.protocol import messages as m
from aioqueue.worker.pulse import Pulse
from aioqueue.worker.watchdog import Watchdog

BLOCKED_MS = 40
NS_A_MS = 1_000_000
RUN = m.DeliverItem(b"j" * 16, 1, 1, "shop.send", b"")
HERE = r"tests/worker/test_watchdog\.py:\d+ in "


def runs(run_of: Callable[[asyncio.Task[Any]], m.DeliverItem | None] = lambda task: None) -> Any:
    return SimpleNamespace(run_of=run_of, deaf=[b"a" * 16] * 101)


class Time:
    """The watchdog's clock, which goes only while a loop is held up on purpose."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * NS_A_MS


class Told:
    """What a watchdog told, by pulses and in the log."""

    def __init__(self, log: pytest.LogCaptureFixture) -> None:
        self.blocked = threading.Event()
        self.blocks: list[Pulse] = []
        self._log = log

    def take(self, pulse: Pulse) -> None:
        if pulse.blocked is not None:
            self.blocks.append(pulse)
            self.blocked.set()

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._log.records if record.name == "aioqueue.worker.watchdog"]

    async def line(self, words: str, count: int = 1) -> str:
        """The first, or the `count`th, line with these words, as soon as it is there."""
        while True:
            found = [line for line in self.lines if words in line]
            if len(found) >= count:
                return found[count - 1]
            await asyncio.sleep(0)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    caplog.set_level(logging.WARNING, "aioqueue.worker.watchdog")
    return Told(caplog)


# The machine's own, unless a test makes time pass itself.
mono_ns = Ground().mono_ns


def now_ns() -> int:
    return mono_ns()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(sys.modules[__name__], "mono_ns", lambda: time.now_ns)
    return time


@pytest.fixture
def watching(told: Told) -> Iterator[Callable[..., Watchdog]]:
    made: list[Watchdog] = []

    def start(run_of: Callable[[asyncio.Task[Any]], m.DeliverItem | None] = lambda task: None) -> Watchdog:
        made.append(Watchdog(runs(run_of), told.take, blocked_ms=BLOCKED_MS, mono_ns=now_ns))
        made[-1].start()
        return made[-1]

    yield start
    for watchdog in made:
        watchdog.stop()


def spin(until: threading.Event, time: Time) -> None:
    while not until.is_set():
        time.now_ns += NS_A_MS


async def test_a_task_that_blocks_is_named_with_its_job_file_and_line_while_it_does(
    told: Told, time: Time, watching: Callable[..., Watchdog]
) -> None:
    here = asyncio.current_task()
    watching(lambda task: RUN if task is here else None)
    spin(told.blocked, time)
    block = told.blocks[0].blocked
    assert block is not None
    assert (block.job, block.task) == (RUN.job, "shop.send")
    assert re.match(HERE + "spin", block.place)
    assert block.for_ms >= BLOCKED_MS
    assert told.blocks[0].lag_ms >= BLOCKED_MS
    assert (told.blocks[0].deaf, len(told.blocks[0].deaf_jobs)) == (101, 100)
    (line,) = told.lines
    assert re.search(HERE + "spin", line)
    assert "job 6a6a6a6a-6a6a-6a6a-6a6a-6a6a6a6a6a6a of task shop.send blocks it" in line


async def test_a_block_is_logged_once_and_its_end_with_its_length(
    told: Told, time: Time, watching: Callable[..., Watchdog]
) -> None:
    here = asyncio.current_task()
    watching(lambda task: RUN if task is here else None)
    while len(told.blocks) < 5:
        time.now_ns += NS_A_MS
    assert len(told.lines) == 1
    over = await told.line("runs again")
    assert re.fullmatch(
        r"the event loop runs again after \d+\.\d s in job 6a6a6a6a-6a6a-6a6a-6a6a-6a6a6a6a6a6a of task shop\.send",
        over,
    )
    assert [pulse.blocked.for_ms for pulse in told.blocks if pulse.blocked] == sorted(
        pulse.blocked.for_ms for pulse in told.blocks if pulse.blocked
    )


async def test_a_second_block_is_logged_like_the_first(
    told: Told, time: Time, watching: Callable[..., Watchdog]
) -> None:
    watching()
    for count in (1, 2):
        told.blocked.clear()
        spin(told.blocked, time)
        await told.line("runs again", count)
    assert ["stood still" in line for line in told.lines] == [True, False, True, False]


async def test_a_task_of_the_app_itself_is_named_by_its_own_name(
    told: Told, time: Time, watching: Callable[..., Watchdog]
) -> None:
    watching()

    async def compute() -> None:
        spin(told.blocked, time)

    await asyncio.create_task(compute(), name="nightly")
    assert "the asyncio task 'nightly' blocks it" in told.lines[0]
    assert told.blocks[0].blocked is not None
    assert (told.blocks[0].blocked.job, told.blocks[0].blocked.task) == (b"", "")


async def test_a_callback_that_blocks_is_found_too(told: Told, time: Time, watching: Callable[..., Watchdog]) -> None:
    watching()
    asyncio.get_running_loop().call_soon(spin, told.blocked, time)
    line = await told.line("stood still")
    assert re.search(HERE + "spin", line)
    assert ": a callback blocks it" in line


async def test_c_code_that_holds_the_gil_is_told_when_it_returns(told: Told, watching: Callable[..., Watchdog]) -> None:
    here = asyncio.current_task()
    watching(lambda task: RUN if task is here else None)
    # `PyDLL` keeps the GIL during its calls: no thread of this process can run.
    ctypes.PyDLL(None).usleep(10 * BLOCKED_MS * 1_000)
    assert "C code that holds the GIL" in await told.line("stood still")


async def test_a_loop_that_turns_is_told_of_by_pulses_alone(told: Told, watching: Callable[..., Watchdog]) -> None:
    pulses: list[Pulse] = []
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    def take(pulse: Pulse) -> None:
        pulses.append(pulse)
        if len(pulses) == 3:
            loop.call_soon_threadsafe(enough.set)

    # Far beyond what a busy machine takes away.
    watchdog = Watchdog(runs(), take, blocked_ms=10_000, mono_ns=now_ns)
    watchdog._step_ns = 1_000_000
    watchdog.start()
    await enough.wait()
    watchdog.stop()
    assert told.lines == []
    assert all(pulse.blocked is None for pulse in pulses)


async def test_the_first_pulse_comes_before_any_job_can_block(told: Told) -> None:
    pulses: list[Pulse] = []
    watchdog = Watchdog(runs(), pulses.append, mono_ns=now_ns)
    watchdog.start()
    assert pulses == [Pulse(0)]
    watchdog.stop()


async def test_a_watchdog_that_was_stopped_leaves_no_thread(watching: Callable[..., Watchdog]) -> None:
    before = set(threading.enumerate())
    watchdog = watching()
    (thread,) = set(threading.enumerate()) - before
    watchdog.stop()
    watchdog.stop()
    await asyncio.to_thread(thread.join)
    assert not thread.is_alive()


def test_a_loop_that_was_closed_under_its_watchdog_ends_the_thread(told: Told, time: Time) -> None:
    before = set(threading.enumerate())
    loop = asyncio.new_event_loop()
    watchdog = Watchdog(runs(), told.take, blocked_ms=BLOCKED_MS, mono_ns=now_ns)

    async def begin() -> None:
        watchdog.start()

    loop.run_until_complete(begin())
    loop.close()
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert told.lines == []
