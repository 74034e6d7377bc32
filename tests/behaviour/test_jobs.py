"""What a user sees of a job, whichever broker is behind the queue."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from aioqueue import (
    BadArguments,
    Call,
    Context,
    DeadlineExceeded,
    Duplicate,
    JobCancelled,
    JobFailed,
    JobNotFound,
    NotRetryable,
    NotSerializable,
    PayloadTooLarge,
    Retry,
    Worker,
)
from aioqueue.client.named import NamedTask
from tests.behaviour.conftest import App


@dataclass
class Order:
    number: int
    placed: datetime
    total: Decimal
    by: UUID


async def test_a_result_comes_back_as_its_annotation_says(app: App) -> None:
    @app.queue.task
    async def reprice(order: Order, factor: Decimal) -> Order:
        return Order(order.number, order.placed, order.total * factor, order.by)

    queue = await app.start()
    order = Order(1, datetime(2026, 1, 2, tzinfo=UTC), Decimal("9.99"), UUID(int=7))
    job = await queue.submit(reprice, order, Decimal(2))
    assert await job == Order(1, order.placed, Decimal("19.98"), order.by)
    assert await (await queue.get(job.id)) == Order(1, order.placed, Decimal("19.98"), order.by)


async def test_calling_runs_here_and_submitting_runs_in_the_worker(app: App) -> None:
    threads: list[int] = []

    @app.queue.task
    async def plain(x: int) -> int:
        return x + 1

    @app.queue.task
    def threaded(x: int) -> int:
        threads.append(threading.get_ident())
        return x + 1

    queue = await app.start()
    assert await plain(1) == 2
    assert await queue.run(threaded, 1) == 2
    assert threads != [threading.get_ident()]


async def test_a_failing_job_is_tried_again_and_told_as_data(app: App) -> None:
    attempts: list[int] = []

    @app.queue.task(retry=Retry(3, base=0.01, jitter=False))
    async def flaky(ctx: Context) -> str:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ValueError("not yet")
        return "at last"

    @app.queue.task(retry=1)
    async def broken() -> None:
        raise KeyError("gone")

    queue = await app.start()
    assert await queue.run(flaky) == "at last"
    assert attempts == [1, 2, 3]
    job = await queue.submit(broken)
    with pytest.raises(JobFailed) as told:
        await job
    assert (told.value.type, told.value.text) == ("KeyError", "'gone'")
    assert "raise KeyError" in told.value.traceback
    info = await job.info()
    assert (info.state, info.failures) == ("dead", 1)


async def test_a_dead_job_that_is_retried_gives_its_new_end(app: App) -> None:
    healthy = asyncio.Event()

    @app.queue.task(retry=1)
    async def moody() -> int:
        if not healthy.is_set():
            raise RuntimeError("bad day")
        return 42

    queue = await app.start()
    job = await queue.submit(moody)
    with pytest.raises(JobFailed):
        await job
    healthy.set()
    await job.retry()
    assert await job == 42
    with pytest.raises(NotRetryable):
        await job.retry()


async def test_priorities_go_first_and_equals_keep_their_order(app: App) -> None:
    ran: list[str] = []
    gate, busy = asyncio.Event(), asyncio.Event()

    @app.queue.task
    async def block() -> None:
        busy.set()
        await gate.wait()

    @app.queue.task
    async def note(name: str) -> None:
        ran.append(name)

    queue = await app.start(worker=False)
    async with Worker(queue, concurrency=1):
        first = await queue.submit(block)
        await busy.wait()
        jobs = [await queue.submit(note.options(priority=p), n) for n, p in (("a", 5), ("b", 5), ("c", 9), ("d", 0))]
        gate.set()
        await first
        for job in jobs:
            await job
    assert ran == ["c", "a", "b", "d"]


async def test_a_delayed_job_does_not_run_before_its_time(app: App) -> None:
    @app.queue.task
    async def when() -> datetime:
        return datetime.now(UTC)

    queue = await app.start()
    asked = datetime.now(UTC)
    later, at = (
        await queue.submit(when.options(delay=0.2)),
        await queue.submit(when.options(at=asked + timedelta(seconds=0.3))),
    )
    assert (await (await queue.submit(when.options(delay="1h"))).info()).state == "scheduled"
    assert await later >= asked + timedelta(seconds=0.2)
    assert await at >= asked + timedelta(seconds=0.3)


async def test_a_callers_own_id_is_one_job_however_often_it_is_submitted(app: App) -> None:
    runs: list[int] = []

    @app.queue.task
    async def charge(invoice: int) -> int:
        runs.append(invoice)
        return invoice

    queue = await app.start()
    jobs = [await queue.submit(charge.options(id="invoice-42"), 42) for _ in range(3)]
    assert len({job.id for job in jobs}) == 1
    assert [await job for job in jobs] == [42, 42, 42]
    assert await (await queue.submit(charge.options(id="invoice-42"), 42)) == 42
    assert runs == [42]


async def test_a_taken_id_is_told_and_another_task_is_refused_by_both_names(app: App) -> None:
    @app.queue.task(name="shop.charge")
    async def charge(invoice: int) -> int:
        return invoice

    @app.queue.task(name="shop.refund")
    async def refund(invoice: int) -> int:
        return -invoice

    queue = await app.start()
    mine = charge.options(id="invoice-42")
    first = await queue.submit(mine, 42)
    again = await queue.submit(mine, 43)
    assert (first.existed, again.existed, (await queue.submit(charge, 1)).existed) == (False, True, False)
    assert [await first, await again] == [42, 42]
    assert (await again.info()).own_id == first.own_id == "invoice-42"
    for asked in (queue.submit(refund.options(id="invoice-42"), 1), queue.run(refund.options(id="invoice-42"), 1)):
        with pytest.raises(Duplicate) as refused:
            await asked
        assert (refused.value.task, refused.value.asked) == ("shop.charge", "shop.refund")
        assert (refused.value.job, refused.value.own_id) == (first.id, "invoice-42")
        assert f"{first.id} ('invoice-42') is taken by a job of task shop.charge" in str(refused.value)
    assert (await (await queue.get("invoice-42", queue="default")).info()).task == "shop.charge"


async def test_of_many_jobs_each_tells_whether_it_was_there(app: App) -> None:
    @app.queue.task
    async def double(x: int) -> int:
        return 2 * x

    @app.queue.task
    async def half(x: int) -> float:
        return x / 2

    queue = await app.start()
    await queue.submit(double.options(id="1"), 1)
    for atomic in (True, False):
        calls = [double.call(0), double.options(id="1").call(5), double.options(id=f"2{atomic}").call(2)]
        jobs = await queue.submit_many([*calls, calls[2], double.call(3)], atomic=atomic)
        assert [job.existed for job in jobs] == [False, True, False, True, False]
        assert [await job for job in jobs] == [0, 2, 4, 4, 6]
    waits = double.options(delay="1h", id="waits")
    for atomic in (True, False):
        with pytest.raises(Duplicate, match=r"\('1'\) is taken by"):
            await queue.submit_many([waits.call(1), half.options(id="1").call(1)], atomic=atomic)
        with pytest.raises(JobNotFound) if atomic else nullcontext():
            await queue.get("waits", queue="default")


async def test_a_child_that_an_earlier_run_submitted_is_told_as_there(app: App) -> None:
    told: list[bool] = []

    @app.queue.task
    async def child() -> int:
        return 1

    @app.queue.task(retry=Retry(attempts=2, base=0))
    async def parent(context: Context) -> int:
        job = await context.submit(child)
        told.append(job.existed)
        if len(told) == 1:
            raise ValueError
        return await job

    queue = await app.start()
    assert await queue.run(parent) == 1
    assert told == [False, True]


async def test_errors_name_a_job_by_its_callers_own_id_too(app: App) -> None:
    @app.queue.task(retry=1)
    async def fails() -> None:
        raise ValueError("no")

    queue = await app.start()
    own = "invoice " + "4" * 200
    job = await queue.submit(fails.options(id=own))
    shown = f"job {job.id} ('invoice {'4' * 56}…')"
    for _ in range(2):
        with pytest.raises(JobFailed, match=re.escape(f"{shown} of task")) as failed:
            await job
        assert (failed.value.job, failed.value.own_id) == (job.id, own)
    found = await queue.get(own, queue="default")
    with pytest.raises(JobFailed, match=re.escape(shown)):
        await found.result(60)
    done = await queue.submit(fails.options(id="later", delay="1h"))
    with pytest.raises(NotRetryable, match=re.escape(f"job {done.id} ('later') is scheduled")):
        await done.retry()
    with pytest.raises(JobNotFound, match=r"no job \S+ \('nowhere'\) is known here"):
        await queue.get("nowhere", queue="default")


async def test_a_waiting_job_that_is_cancelled_never_runs(app: App) -> None:
    ran: list[int] = []

    @app.queue.task
    async def never() -> None:
        ran.append(1)

    queue = await app.start()
    job = await queue.submit(never.options(delay=60))
    assert await job.cancel("not needed") == "cancelled"
    assert await job.cancel() == "cancelled"
    with pytest.raises(JobCancelled):
        await job
    assert ran == []


async def test_a_running_job_gets_its_cancellation_and_a_finished_one_is_finished(app: App) -> None:
    busy, cleaned = asyncio.Event(), asyncio.Event()

    @app.queue.task
    async def block() -> None:
        busy.set()
        try:
            await asyncio.Event().wait()
        finally:
            # Cleanup may wait.
            await asyncio.sleep(0.01)
            cleaned.set()

    @app.queue.task
    async def add(a: int) -> int:
        return a + 1

    queue = await app.start()
    job = await queue.submit(block)
    waiter = asyncio.create_task(job.result())
    await busy.wait()
    assert await job.cancel("not needed", wait=60) == "cancelled"
    assert cleaned.is_set()
    with pytest.raises(JobCancelled):
        await waiter
    info = await job.info()
    assert (info.state, info.runs, info.failures) == ("cancelled", 1, 0)
    assert [attempt.outcome for attempt in info.attempts] == ["cancelled"]
    assert await job.cancel() == "cancelled"
    other = await queue.submit(add, 1)
    assert await other == 2
    assert await other.cancel(wait=1) == "finished"


async def test_a_job_that_heeds_no_cancel_is_told_stopping_and_its_success_is_told_finished(app: App) -> None:
    busy, asked, gate = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @app.queue.task
    async def stubborn() -> str:
        busy.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            asked.set()
            await gate.wait()
        return "done all the same"

    queue = await app.start()
    job = await queue.submit(stubborn)
    await busy.wait()
    assert await job.cancel() == "stopping"
    await asked.wait()
    assert (await job.info()).state == "stopping"
    assert await job.cancel(wait=0) == "stopping"
    finishing = asyncio.create_task(job.cancel(wait=60))
    gate.set()
    assert await finishing == "finished"
    assert await job == "done all the same"


async def test_a_job_that_fails_when_it_is_cancelled_is_cancelled_and_not_tried_again(app: App) -> None:
    busy = asyncio.Event()

    @app.queue.task
    async def fail() -> None:
        busy.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("in its cleanup")

    queue = await app.start()
    job = await queue.submit(fail)
    await busy.wait()
    assert await job.cancel(wait=60) == "cancelled"
    assert (await job.info()).runs == 1
    busy.clear()
    await job.retry()
    await busy.wait()
    assert await job.cancel(wait=60) == "cancelled"
    assert (await job.info()).generation == 1


async def test_a_plain_function_that_looks_is_stopped_by_its_cancel(app: App) -> None:
    begun, tick = threading.Event(), threading.Event()

    @app.queue.task
    def polite(context: Context) -> None:
        begun.set()
        while not context.should_stop():
            tick.wait(0.01)
        raise InterruptedError("as asked")

    queue = await app.start()
    job = await queue.submit(polite)
    await asyncio.to_thread(begun.wait)
    assert await job.cancel(wait=60) == "cancelled"


async def test_a_timeout_cancels_the_coroutine_and_lets_it_clean_up(app: App) -> None:
    cleaned = asyncio.Event()

    @app.queue.task(timeout=0.05, retry=1)
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    queue = await app.start()
    with pytest.raises(JobFailed) as told:
        await queue.run(slow)
    assert told.value.type == "TimeoutError"
    assert cleaned.is_set()


async def test_submit_many_is_all_or_none_and_keeps_its_order(app: App) -> None:
    @app.queue.task
    async def double(x: int) -> int:
        return 2 * x

    queue = await app.start()
    jobs = await queue.submit_many([double.call(x) for x in range(700)])
    assert [await job for job in jobs] == [2 * x for x in range(700)]
    with pytest.raises(BadArguments):
        await queue.submit_many([double.call(1), double.call(1, 2)])  # type: ignore[call-arg]
    assert await queue.submit_many([]) == []


async def test_submit_many_of_more_than_a_message_holds_is_all_or_none_too(app: App) -> None:
    @app.queue.task
    async def double(x: int) -> int:
        return 2 * x

    queue = await app.start()
    on_disk: list[int] = []

    async def calls(number: int) -> AsyncIterator[Call[int]]:
        for x in range(number):
            yield double.call(x)

    jobs = await queue.submit_many(calls(10_100), progress=on_disk.append)
    assert len(jobs) == 10_100
    assert on_disk == sorted(on_disk)
    assert on_disk[-1] == 10_100
    assert [await job for job in jobs[5_000:5_010]] == [2 * x for x in range(5_000, 5_010)]
    assert await jobs[-1] == 20_198

    async def failing() -> AsyncIterator[Call[int]]:
        async for call in calls(10_100):
            yield call
        raise OSError("the file ended in the middle of a line")

    with pytest.raises(OSError, match="middle of a line"):
        await queue.submit_many(failing())
    # Each of the parts that had been staged is cancelled, and none of their jobs ever ran.
    dropped = {info.id: info.runs async for info in queue.find(state=["cancelled", "blocked"])}
    assert 0 < len(dropped) <= 10_100
    assert set(dropped.values()) == {0}


async def test_submit_many_in_parts_accepts_each_when_it_arrives(app: App) -> None:
    @app.queue.task
    async def double(x: int) -> int:
        return 2 * x

    queue = await app.start()
    seen: list[int] = []
    jobs = await queue.submit_many((double.call(x) for x in range(2_500)), atomic=False, progress=seen.append)
    assert [await job for job in jobs] == [2 * x for x in range(2_500)]
    assert seen == [1_000, 2_000, 2_500]
    own = [double.options(id=f"n{x % 5}").call(x % 5) for x in range(10)]
    again = await queue.submit_many(own, atomic=False)
    assert {job.id for job in again} == {job.id for job in again[:5]}
    assert [await job for job in again] == [0, 2, 4, 6, 8] * 2


async def test_map_gives_results_in_the_order_of_its_items(app: App) -> None:
    @app.queue.task
    async def slow_first(x: int) -> int:
        await asyncio.sleep(0.02 if x % 10 == 0 else 0)
        return x

    queue = await app.start()
    assert [x async for x in queue.map(slow_first, range(50), window=7)] == list(range(50))


async def test_what_does_not_fit_is_refused_before_anything_is_sent(app: App) -> None:
    @app.queue.task
    async def take(x: int) -> None:
        """Never reached."""

    queue = await app.start()
    with pytest.raises(BadArguments):
        await queue.submit(take, 1, 2)  # type: ignore[call-arg]
    with pytest.raises(NotSerializable):
        await queue.submit(take, object())  # type: ignore[arg-type]
    with pytest.raises(PayloadTooLarge):
        await queue.submit(take, "x" * 1_100_000)  # type: ignore[arg-type]
    assert [info async for info in queue.find()] == []


async def test_a_payload_up_to_its_limit_comes_through(app: App) -> None:
    @app.queue.task
    async def echo(data: bytes) -> bytes:
        return data

    queue = await app.start()
    data = b"\x00" * 1_000_000
    assert [await job for job in [await queue.submit(echo, data) for _ in range(3)]] == [data] * 3


async def test_a_result_that_cannot_travel_fails_the_job_with_that_reason(app: App) -> None:
    @app.queue.task(retry=3)
    async def give() -> object:
        return object()

    @app.queue.task(retry=3)
    async def give_much() -> bytes:
        return b"x" * 1_200_000

    queue = await app.start()
    for task, code in ((give, "NotSerializable"), (give_much, "PayloadTooLarge")):
        job = await queue.submit(task)
        with pytest.raises(JobFailed) as told:
            await job
        assert code in told.value.type
        assert (await job.info()).failures == 1


async def test_a_job_of_a_task_that_no_worker_knows_waits_until_one_does(app: App) -> None:
    queue = await app.start()
    job = await queue.submit(NamedTask("nobody.knows").options(retry=1), 1)
    # What comes behind it passes by.
    assert await queue.run(app.queue.task(asyncio.sleep, name="sleep"), 0) is None
    info = await job.info()
    assert (info.state, info.runs, info.failures) == ("ready", 0, 0)
    assert info.unserved == "no connected worker of queue default knows task nobody.knows"

    async def known(number: int) -> int:
        return number + 1

    app.queue.task(known, name="nobody.knows")
    assert await job == 2


async def test_a_job_of_a_queue_that_only_its_submit_names_runs(app: App) -> None:
    @app.queue.task
    async def double(number: int) -> int:
        return 2 * number

    queue = await app.start()
    assert await queue.run(double.options(queue="only-here"), 4) == 8


async def test_an_id_that_nobody_knows_is_not_found(app: App) -> None:
    queue = await app.start()
    for unknown in ("01a200b5-224f-700a-9b03-19a5a35d2ca4", "nonsense", ""):
        with pytest.raises(JobNotFound):
            await queue.get(unknown)


async def test_waiting_for_a_result_ends_by_its_timeout_and_the_job_goes_on(app: App) -> None:
    gate = asyncio.Event()

    @app.queue.task
    async def block() -> int:
        await gate.wait()
        return 5

    queue = await app.start()
    job = await queue.submit(block)
    with pytest.raises(DeadlineExceeded):
        await job.result(timeout=0.05)
    gate.set()
    assert await job.result(timeout="60s") == 5


async def test_find_filters_by_state_and_task(app: App) -> None:
    @app.queue.task(retry=1)
    async def bad() -> None:
        raise ValueError

    @app.queue.task
    async def good() -> None:
        """Succeeds."""

    queue = await app.start()
    failed, worked = await queue.submit(bad), await queue.submit(good)
    waiting = await queue.submit(good.options(delay=60))
    with pytest.raises(JobFailed):
        await failed
    await worked
    assert [info.id async for info in queue.find(state="dead")] == [failed.id]
    assert [info.id async for info in queue.find(state="scheduled")] == [waiting.id]
    assert {info.id async for info in queue.find(task=good.name)} == {worked.id, waiting.id}


async def test_headers_and_context_reach_the_task(app: App) -> None:
    @app.queue.task
    async def see(ctx: Context, x: int) -> tuple[str, int, dict[str, str]]:
        ctx.log.info("seen")
        return ctx.job, x, dict(ctx.headers)

    queue = await app.start()
    job = await queue.submit(see.options(headers={"trace": "abc"}), 3)
    assert await job == (job.id, 3, {"trace": "abc"})
    assert (await job.info()).headers == {"trace": "abc"}
