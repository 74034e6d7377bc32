"""Slots: what a job may do to the runner that runs it, and what it may not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from decimal import Decimal
from typing import Any

import pytest

from aioqueue import Context, Queue, Retry
from aioqueue.limits import BODY_BYTES_MAX
from aioqueue.protocol import messages as m
from aioqueue.protocol.extras import Key, packed
from aioqueue.worker import bounds
from aioqueue.worker.endings import Stop
from tests.support.runs import failure_in, result_in
from tests.support.workers import Slots

SlotsOf = Callable[..., Slots]
RunOf = Callable[..., m.DeliverItem]

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


# --- results ---


async def test_a_coroutine_s_value_is_the_result(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    @queue.task(name="add")
    async def add(a: int, b: int = 1) -> int:
        return a + b

    slots = slots_of()
    run = run_of("add", 2, b=3)
    slots.offer(run)
    end = await slots.end()
    assert (end.job, end.fence, result_in(end)) == (run.job, run.fence, 5)


async def test_a_plain_function_runs_in_a_thread(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    @queue.task(name="where")
    def where() -> bool:
        return threading.current_thread() is threading.main_thread()

    slots = slots_of()
    slots.offer(run_of("where"))
    assert result_in(await slots.end()) is False


@pytest.mark.parametrize("kind", ["coroutine", "plain"])
async def test_a_task_is_told_of_its_run(queue: Queue, slots_of: SlotsOf, run_of: RunOf, kind: str) -> None:
    def told(ctx: Context, word: str) -> list[Any]:
        return [ctx.job, ctx.attempt, ctx.crashes, ctx.headers, ctx.queue, ctx.task, word]

    if kind == "coroutine":

        @queue.task(name="look")
        async def look(ctx: Context, word: str) -> list[Any]:
            return told(ctx, word)
    else:
        queue.task(told, name="look")
    slots = slots_of()
    run = run_of("look", "hello", headers={"trace": "7"})
    run.attempt, run.crashes = 3, 1
    slots.offer(run)
    job = "00000000-0000-0000-0000-000000000001"
    assert result_in(await slots.end()) == [job, 3, 1, {"trace": "7"}, "default", "look", "hello"]


async def test_many_more_jobs_than_slots_are_all_done_in_order(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    begun: list[int] = []

    @queue.task(name="note")
    async def note(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(0)

    slots = slots_of(3)
    slots.offer(*(run_of("note", number) for number in range(500)))
    for _ in range(500):
        result_in(await slots.end())
    assert begun == list(range(500))


async def test_no_more_jobs_run_at_once_than_there_are_slots(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    inside = 0
    most = 0

    @queue.task(name="count")
    async def count() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        for _ in range(5):
            await asyncio.sleep(0)
        inside -= 1

    slots = slots_of(7)
    slots.offer(*(run_of("count") for _ in range(200)))
    for _ in range(200):
        await slots.end()
    assert most == 7


async def test_all_slots_are_used_when_one_offer_fills_them(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    everyone = asyncio.Barrier(100)

    @queue.task(name="meet")
    async def meet() -> None:
        await everyone.wait()

    slots = slots_of(100)
    for _ in range(2):
        slots.offer(*(run_of("meet") for _ in range(100)))
        for _ in range(100):
            result_in(await slots.end())


async def test_jobs_that_never_wait_leave_turns_to_others(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    @queue.task(name="busy")
    async def busy() -> None:
        sum(range(50_000))

    slots = slots_of(1)
    slots.offer(*(run_of("busy") for _ in range(50)))
    await asyncio.sleep(0)
    assert slots.ended() < 50
    for _ in range(50):
        await slots.end()


async def test_a_job_does_not_see_the_context_variables_of_the_one_before(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf
) -> None:
    @queue.task(name="enter")
    async def enter(name: str) -> str:
        before = tenant.get()
        tenant.set(name)
        await asyncio.sleep(0)
        assert tenant.get() == name
        return before

    slots = slots_of(1)
    slots.offer(*(run_of("enter", f"tenant {number}") for number in range(5)))
    assert [result_in(await slots.end()) for _ in range(5)] == ["nobody"] * 5


async def test_a_runner_outlives_a_context_variable_that_cannot_be_compared(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf
) -> None:
    class Sulky:
        def __eq__(self, other: object) -> bool:
            raise ValueError

        __hash__ = None  # type: ignore[assignment]

    odd: ContextVar[Any] = ContextVar("odd")
    odd.set(Sulky())

    @queue.task(name="sulk")
    async def sulk() -> None:
        odd.set(Sulky())

    slots = slots_of(1)
    slots.offer(*(run_of("sulk") for _ in range(3)))
    for _ in range(3):
        result_in(await slots.end())


async def test_an_idle_runner_keeps_no_result_alive(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    class Large(dict[str, int]):
        pass

    seen: list[weakref.ref[Any]] = []

    @queue.task(name="make")
    async def make() -> Any:
        value = Large(a=1)
        seen.append(weakref.ref(value))
        return value

    slots = slots_of(1)
    slots.offer(run_of("make"))
    await slots.end()
    await asyncio.sleep(0)
    gc.collect()
    assert seen[0]() is None


# --- failures ---


@pytest.mark.parametrize(
    ("error", "kind", "retry"),
    [
        (ValueError("of no use"), "ValueError", True),
        (KeyboardInterrupt("stop"), "KeyboardInterrupt", False),
        (SystemExit(3), "SystemExit", False),
        (StopAsyncIteration("odd"), "StopAsyncIteration", True),
        (ExceptionGroup("two", [ValueError("a"), KeyError("b")]), "ExceptionGroup", True),
        (asyncio.CancelledError(), "CancelledError", True),
        (GeneratorExit("odd"), "GeneratorExit", True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
async def test_whatever_a_job_raises_fails_it_and_nothing_else(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf, error: BaseException, kind: str, retry: bool
) -> None:
    @queue.task(name="fail")
    async def fail() -> None:
        raise error

    @queue.task(name="fine")
    async def fine() -> str:
        return "fine"

    slots = slots_of(1)
    slots.offer(run_of("fail"), run_of("fine"))
    failure = await slots.failure()
    assert (failure.type, failure.retry) == (kind, retry)
    assert result_in(await slots.end()) == "fine"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(7), asyncio.CancelledError()])
async def test_whatever_a_plain_function_raises_fails_its_job_and_nothing_else(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf, error: BaseException
) -> None:
    @queue.task(name="fail")
    def fail() -> None:
        raise error

    slots = slots_of(1)
    slots.offer(run_of("fail"), run_of("fail"))
    for _ in range(2):
        failure = await slots.failure()
        assert type(error).__name__ in failure.type + failure.traceback


async def test_a_traceback_begins_with_the_task(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    @queue.task(name="fail")
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("here")

    slots = slots_of()
    slots.offer(run_of("fail"))
    lines = (await slots.failure()).traceback.splitlines()
    assert "test_runners.py" in lines[1]
    assert "in fail" in lines[1]


async def test_the_policy_of_the_task_judges_whether_a_failure_is_tried_again(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf
) -> None:
    @queue.task(name="fail", retry=Retry(on=OSError, never=FileNotFoundError))
    async def fail(name: str) -> None:
        raise {"OSError": OSError, "FileNotFoundError": FileNotFoundError, "ValueError": ValueError}[name]("no")

    slots = slots_of(1)
    slots.offer(run_of("fail", "OSError"), run_of("fail", "FileNotFoundError"), run_of("fail", "ValueError"))
    assert [(await slots.failure()).retry for _ in range(3)] == [True, False, False]


async def test_a_task_nobody_declared_is_named_and_tried_again(slots_of: SlotsOf, run_of: RunOf) -> None:
    slots = slots_of()
    slots.offer(run_of("shop.nothing"))
    failure = await slots.failure()
    assert (failure.type, failure.retry) == ("UnknownTask", True)
    assert "'shop.nothing'" in failure.text


async def test_arguments_that_do_not_fit_fail_the_job_for_good(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    @queue.task(name="add")
    async def add(a: int, b: int) -> int:
        raise AssertionError

    slots = slots_of(1)
    slots.offer(run_of("add", 1), run_of("add", 1, "two"))
    for word in ("missing", "b: "):
        failure = await slots.failure()
        assert (failure.type, failure.retry) == ("BadArguments", False)
        assert word in failure.text


@pytest.mark.parametrize(
    ("value", "kind"), [(object(), "NotSerializable"), (b"x" * (BODY_BYTES_MAX + 1), "PayloadTooLarge")]
)
async def test_a_result_that_cannot_be_stored_fails_the_job_for_good(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf, value: object, kind: str
) -> None:
    @queue.task(name="make")
    async def make() -> Any:
        return value

    slots = slots_of()
    slots.offer(run_of("make"))
    failure = await slots.failure()
    assert (failure.type, failure.retry) == (kind, False)


async def test_a_result_that_refers_to_itself_fails_the_job(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    @queue.task(name="make")
    async def make() -> Any:
        endless: list[Any] = []
        endless.append(endless)
        return endless

    slots = slots_of()
    slots.offer(run_of("make"))
    assert (await slots.failure()).type == "NotSerializable"


async def test_a_failure_is_logged_in_one_line(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf, caplog: pytest.LogCaptureFixture
) -> None:
    @queue.task(name="fail")
    async def fail() -> None:
        raise ValueError("two\nlines")

    slots = slots_of()
    with caplog.at_level(logging.WARNING):
        slots.offer(run_of("fail"))
        await slots.end()
    line = caplog.messages[-1]
    assert "of task fail failed in attempt 1: ValueError: two lines (at tests/worker/test_runners.py:" in line
    assert line.endswith(" in test_a_failure_is_logged_in_one_line.<locals>.fail)")


# --- timeouts ---


async def test_a_timeout_cancels_the_coroutine(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    seen: list[str] = []

    @queue.task(name="slow")
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    slots = slots_of()
    slots.offer(run_of("slow", timeout_ms=20))
    failure = await slots.failure()
    assert (failure.type, failure.retry) == ("TimeoutError", True)
    assert failure.text == "task slow exceeded its timeout of 0.02 s"
    assert "in slow" in failure.traceback
    assert seen == ["cancelled"]


async def test_the_next_job_of_a_slot_is_not_touched_by_the_timeout_of_the_one_before(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf
) -> None:
    @queue.task(name="slow")
    async def slow() -> None:
        await asyncio.Event().wait()

    @queue.task(name="fine")
    async def fine() -> int:
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    slots = slots_of(1)
    slots.offer(run_of("slow", timeout_ms=5), run_of("fine"), run_of("fine", timeout_ms=60_000))
    await slots.failure()
    assert [result_in(await slots.end()) for _ in range(2)] == [0, 0]


async def test_a_deadline_is_forgotten_when_its_job_has_ended(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    @queue.task(name="fine")
    async def fine() -> None: ...

    slots = slots_of()
    slots.offer(*(run_of("fine", timeout_ms=3_600_000) for _ in range(1_000)))
    for _ in range(1_000):
        await slots.end()
    assert len(slots.deadlines) < 200


async def test_the_end_of_a_run_never_forgets_the_deadline_of_another_with_the_same_fence(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fence is a number of one partition, and counts on from the copy when a broker was restored from one."""
    monkeypatch.setattr(bounds, "MARGIN_MS", 0)

    @queue.task(name="fine")
    async def fine() -> None: ...

    @queue.task(name="slow")
    async def slow() -> None:
        await asyncio.Event().wait()

    runs = run_of("fine"), run_of("slow")
    for run, left_ms in zip(runs, (60_000, 50), strict=True):
        run.fence, run.extra = 7, packed({Key.DEADLINE: left_ms})
    slots = slots_of()
    slots.offer(*runs)
    ends = [await slots.end(), await asyncio.wait_for(slots.end(), 10)]
    assert [(end.job, end.end) for end in ends] == [
        (runs[0].job, m.RunEnd.SUCCEEDED),
        (runs[1].job, m.RunEnd.RELEASED),
    ]


async def test_a_timed_out_job_may_await_in_its_cleanup(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    seen: list[str] = []

    @queue.task(name="slow")
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            seen.append("cleaned")

    slots = slots_of(cancel_grace_ms=60_000)
    slots.offer(run_of("slow", timeout_ms=5))
    assert (await slots.failure()).type == "TimeoutError"
    assert seen == ["cleaned"]


async def test_a_cleanup_that_does_not_end_is_cancelled_once_more(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf
) -> None:
    seen: list[int] = []

    @queue.task(name="slow")
    async def slow() -> None:
        for number in (1, 2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append(number)
        raise ValueError("after both")

    slots = slots_of(cancel_grace_ms=200)
    slots.offer(run_of("slow", timeout_ms=5))
    failure = await slots.failure()
    assert failure.type == "TimeoutError"
    assert "ValueError: after both" in failure.traceback
    assert seen == [1, 2]


async def test_a_job_that_heeds_no_cancellation_is_reported_and_its_slot_replaced(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf, caplog: pytest.LogCaptureFixture
) -> None:
    may_end = asyncio.Event()
    ended = asyncio.Event()

    @queue.task(name="deaf")
    async def deaf() -> str:
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()
        ended.set()
        return "too late"

    @queue.task(name="fine")
    async def fine() -> str:
        return "fine"

    slots = slots_of(1, cancel_grace_ms=5)
    item = run_of("deaf", timeout_ms=5)
    slots.offer(item, run_of("fine"))
    failure = await slots.failure()
    assert failure.text == "task deaf exceeded its timeout of 0.005 s, and did not stop when it was cancelled"
    assert result_in(await slots.end()) == "fine"
    assert slots.runners.held() == []
    assert "does not stop" in caplog.text
    assert "test_runners.py" in caplog.text
    assert f" in {deaf.fn.__qualname__}" in caplog.text
    assert slots.runners.deaf == [item.job]
    may_end.set()
    await ended.wait()
    await asyncio.sleep(0)
    assert slots.ended() == 0
    assert slots.runners.deaf == []


@pytest.mark.parametrize("why", [Stop.DRAIN, Stop.PARTITION])
@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_a_job_that_would_begin_elsewhere_is_not_given_back_while_it_runs(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf, caplog: pytest.LogCaptureFixture, why: Stop, kind: str
) -> None:
    begun, may_end, thread_may_end = asyncio.Event(), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @queue.task(name="coroutine")
    async def coroutine() -> None:
        begun.set()
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()
        raise asyncio.CancelledError

    @queue.task(name="thread")
    def thread() -> None:
        loop.call_soon_threadsafe(begun.set)
        thread_may_end.wait()
        raise RuntimeError

    slots = slots_of(1, cancel_grace_ms=1)
    item = run_of(kind)
    slots.offer(item)
    await begun.wait()
    slots.runners.stop(item, why)
    await slots.runners.wait_quiet()
    assert (slots.runners.kept, slots.runners.deaf) == (1, [item.job])
    assert slots.runners.held() == [item]
    assert slots.ended() == 0
    assert "does not stop" in caplog.text
    may_end.set()
    thread_may_end.set()
    assert (await slots.end()).end is m.RunEnd.RELEASED
    assert (slots.runners.kept, slots.runners.deaf) == (0, [])


async def test_what_is_kept_has_its_slot_replaced_as_soon_as_it_runs_elsewhere(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    @queue.task(name="deaf")
    async def deaf() -> None:
        begun.set()
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()

    @queue.task(name="fine")
    async def fine() -> str:
        return "fine"

    slots = slots_of(1, cancel_grace_ms=1)
    item = run_of("deaf")
    slots.offer(item)
    await begun.wait()
    slots.runners.stop(item, Stop.PARTITION)
    await slots.runners.wait_quiet()
    slots.offer(run_of("fine"))
    slots.runners.stop(item, Stop.STALE)
    assert result_in(await slots.end()) == "fine"
    assert (slots.runners.kept, slots.runners.deaf) == (0, [item.job])
    may_end.set()


async def test_a_thread_that_never_ends_is_reported_and_its_thread_and_slot_are_replaced(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf, caplog: pytest.LogCaptureFixture
) -> None:
    may_end = threading.Event()
    begun: list[int] = []

    @queue.task(name="plain")
    def plain() -> None:
        begun.append(threading.get_ident())
        may_end.wait()

    @queue.task(name="fine")
    def fine() -> str:
        return "fine"

    slots = slots_of(4, cancel_grace_ms=20)
    # As many as there are threads, so that a thread lost would be missed.
    held = [run_of("plain") for _ in range(4)]
    slots.offer(*held)
    while len(begun) < 4:  # noqa: ASYNC110 (threads ring no bell here)
        await asyncio.sleep(0.001)
    for item in held:
        slots.runners.stop(item, Stop.CANCEL)
    assert slots.ended() == 0
    assert {(await slots.end()).end for _ in held} == {m.RunEnd.RELEASED}
    assert f" in {plain.fn.__qualname__}" in caplog.text
    while sorted(slots.runners.deaf) != sorted(item.job for item in held):  # noqa: ASYNC110 (a turn of the loop each)
        await asyncio.sleep(0)
    slots.offer(run_of("fine"))
    assert result_in(await slots.end()) == "fine"
    may_end.set()
    while slots.runners.deaf:  # noqa: ASYNC110 (threads ring no bell here)
        await asyncio.sleep(0.001)


async def test_a_job_that_ends_well_in_spite_of_its_timeout_has_succeeded(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf
) -> None:
    @queue.task(name="stubborn")
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "saved what there was"
        return ""

    slots = slots_of()
    slots.offer(run_of("stubborn", timeout_ms=5))
    assert result_in(await slots.end()) == "saved what there was"


async def test_a_plain_function_that_exceeds_a_timeout_is_reported_and_left_alone(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf
) -> None:
    may_end = threading.Event()

    @queue.task(name="plain")
    def plain() -> None:
        may_end.wait()

    slots = slots_of(cancel_grace_ms=1)
    slots.offer(run_of("plain", timeout_ms=5))
    assert (await slots.failure()).type == "TimeoutError"
    may_end.set()


# --- stopping ---


@pytest.mark.parametrize(
    ("why", "end"),
    [(Stop.DRAIN, m.RunEnd.RELEASED), (Stop.CANCEL, m.RunEnd.RELEASED), (Stop.STALE, None)],
)
async def test_a_run_that_is_stopped_is_given_back_or_forgotten(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf, why: Stop, end: m.RunEnd | None
) -> None:
    begun = asyncio.Event()

    @queue.task(name="slow")
    async def slow() -> None:
        begun.set()
        await asyncio.Event().wait()

    slots = slots_of()
    run = run_of("slow")
    slots.offer(run)
    await begun.wait()
    slots.runners.stop(run, why)
    await slots.runners.wait_quiet()
    assert slots.runners.held() == []
    if end is None:
        assert slots.ended() == 0
    else:
        assert (await slots.end()).end is end


async def test_a_run_that_waits_for_a_slot_is_stopped_without_beginning(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf
) -> None:
    begun: list[int] = []
    may_end = asyncio.Event()

    @queue.task(name="slow")
    async def slow(number: int) -> None:
        begun.append(number)
        await may_end.wait()

    slots = slots_of(1)
    runs = [run_of("slow", number) for number in range(3)]
    slots.offer(*runs)
    await asyncio.sleep(0)
    slots.runners.stop(runs[1], Stop.DRAIN)
    assert (await slots.end()).job == runs[1].job
    may_end.set()
    assert [(await slots.end()).job for _ in range(2)] == [runs[0].job, runs[2].job]
    assert begun == [0, 2]


async def test_stopping_a_run_that_has_ended_touches_nobody(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    may_end = asyncio.Event()

    @queue.task(name="fine")
    async def fine() -> None: ...

    @queue.task(name="slow")
    async def slow() -> str:
        await may_end.wait()
        return "undisturbed"

    slots = slots_of(1)
    first, second = run_of("fine"), run_of("slow")
    slots.offer(first, second)
    await slots.end()
    slots.runners.stop(first, Stop.STALE)
    may_end.set()
    assert result_in(await slots.end()) == "undisturbed"


async def test_what_is_held_is_what_runs_and_what_waits(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    may_end = asyncio.Event()

    @queue.task(name="slow")
    async def slow() -> None:
        await may_end.wait()

    slots = slots_of(2)
    runs = [run_of("slow") for _ in range(4)]
    slots.offer(*runs)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sorted(run.fence for run in slots.runners.held()) == [run.fence for run in runs]
    assert slots.runners.running == 2
    assert slots.runners.take_back() == runs[2:]
    may_end.set()
    await slots.runners.wait_quiet()
    assert slots.runners.held() == []
    assert slots.ended() == 2


async def test_a_task_factory_of_the_app_does_not_run_jobs_where_they_are_offered(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf
) -> None:
    begun: list[int] = []

    @queue.task(name="note")
    async def note() -> None:
        begun.append(1)

    def eager(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
        raise AssertionError

    slots = slots_of()
    asyncio.get_running_loop().set_task_factory(eager)
    try:
        slots.offer(run_of("note"))
        assert begun == []
        await slots.end()
    finally:
        asyncio.get_running_loop().set_task_factory(None)


async def test_closing_ends_every_task(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    @queue.task(name="slow")
    async def slow() -> None:
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    slots = slots_of()
    slots.offer(*(run_of("slow") for _ in range(5)))
    await asyncio.sleep(0)
    tasks = asyncio.all_tasks() - before
    assert tasks
    await slots.runners.aclose()
    await asyncio.wait(tasks)
    assert slots.ended() == 0


async def test_a_job_that_uses_decimals_gets_its_slot_like_any_other(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf
) -> None:
    @queue.task(name="tax")
    async def tax(amount: Decimal) -> Decimal:
        return amount * Decimal("0.19")

    slots = slots_of(1)
    slots.offer(*(run_of("tax", "100") for _ in range(10)))
    assert [result_in(await slots.end()) for _ in range(10)] == ["19.00"] * 10


async def test_recursion_without_end_fails_the_job_only(queue: Queue, slots_of: SlotsOf, run_of: RunOf) -> None:
    @queue.task(name="dig")
    async def dig() -> None:
        await dig.fn()

    slots = slots_of(1)
    limit = sys.getrecursionlimit()
    slots.offer(run_of("dig"), run_of("dig"))
    assert (await slots.failure()).type == "RecursionError"
    assert failure_in(await slots.end()).type == "RecursionError"
    assert sys.getrecursionlimit() == limit
