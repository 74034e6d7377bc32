"""What the broker says becomes runs, what runs say becomes messages; over a lost connection too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from aioqueue import Context, Queue, Worker
from aioqueue.limits import BODY_BYTES_MAX
from aioqueue.model.bodies import unpack_failure
from aioqueue.model.states import Cause
from aioqueue.protocol import messages as m
from aioqueue.protocol.extras import Key, packed
from tests.support.fake_broker import FakeBroker, FakePeer
from tests.support.runs import failure_in, result_in
from tests.support.workers import wired

Serving = Callable[..., Any]
Newer = Callable[..., Awaitable[FakePeer]]
RunOf = Callable[..., m.DeliverItem]


class Gate:
    """Jobs that wait until the test opens it."""

    def __init__(self, queue: Queue) -> None:
        self.begun: asyncio.Queue[int] = asyncio.Queue()
        self.cancelled: asyncio.Queue[int] = asyncio.Queue()
        self._open = asyncio.Event()
        queue.task(self.wait, name="wait")

    async def wait(self, number: int = 0) -> int:
        self.begun.put_nowait(number)
        try:
            await self._open.wait()
        except asyncio.CancelledError:
            self.cancelled.put_nowait(number)
            raise
        return number

    def open(self) -> None:
        self._open.set()


@pytest.fixture
async def newer(queue: Queue, broker: FakeBroker) -> AsyncIterator[Newer]:
    """`await newer()` gives the connection of a worker of `queue`, welcomed by a broker that knows what is declared."""
    running: list[asyncio.Task[None]] = []

    async def welcome(**options: Any) -> FakePeer:
        worker = Worker(queue, **{"wiring": wired(broker), **options})
        running.append(asyncio.create_task(worker.run()))
        return await broker.welcome(capabilities=int(m.Capability.CONTROL))

    yield welcome
    await broker.stop()
    for task in running:
        task.cancel()
    await asyncio.wait(running)


@pytest.fixture
async def gate(queue: Queue) -> Gate:
    return Gate(queue)


async def test_a_worker_says_its_role_and_then_its_capacity(queue: Queue, serving: Serving) -> None:
    desk = await serving(queue, queues=["mail", "video"], concurrency=7, name="left-hand")
    assert (desk.hello.role, desk.hello.name, desk.hello.secret) == (m.Role.WORKER, "left-hand", b"s" * 16)
    assert desk.capacity == m.Capacity(7, ["mail", "video"])


async def test_a_worker_of_all_queues_names_those_of_its_tasks_to_an_older_broker(
    queue: Queue, serving: Serving
) -> None:
    @queue.task(queue="mail")
    async def send() -> None: ...

    desk = await serving(queue, queues=None)
    assert desk.capacity.queues == ["default", "mail"]


async def test_a_worker_declares_before_its_first_capacity_and_again_after_a_reconnect(
    queue: Queue, broker: FakeBroker, newer: Newer
) -> None:
    @queue.task(name="send", queue="mail")
    async def send() -> None: ...

    peer = await newer(labels=["gpu"])
    declare, capacity = await peer.expect(m.Declare), await peer.expect(m.Capacity)
    assert ([task.name for task in declare.tasks], declare.labels, declare.all_queues) == (["send"], ["gpu"], True)
    assert (capacity.slots, capacity.queues) == (100, [])
    peer.abort()
    again = await broker.welcome(fresh=False, capabilities=int(m.Capability.CONTROL))
    await again.expect(m.Resume)
    assert (await again.expect(m.Declare)).tasks == declare.tasks
    assert await again.expect(m.Capacity) == capacity


async def test_a_task_that_is_declared_later_is_offered_too(queue: Queue, newer: Newer) -> None:
    peer = await newer()
    assert (await peer.expect(m.Declare)).tasks == []
    await peer.expect(m.Capacity)

    async def declare() -> None: ...

    await asyncio.to_thread(lambda: [queue.task(declare, name=name) for name in ("a", "b")])
    names: list[str] = []
    # Two at once are told at once, unless the thread was slow.
    while names != ["a", "b"]:
        names = [task.name for task in (await peer.expect(m.Declare)).tasks]
        await peer.expect(m.Capacity)


async def test_descriptions_follow_where_the_broker_wants_them(queue: Queue, newer: Newer) -> None:
    for name in ("a", "b"):
        queue.task(asyncio.sleep, name=name)
    peer = await newer()
    declare = await peer.expect(m.Declare)
    await peer.expect(m.Capacity)
    peer.send(m.Declared(declare.request, 1, [1]))
    told = await peer.expect(m.DescribeTasks)
    assert [task.name for task in told.tasks] == ["b"]
    assert told.request > declare.request


@pytest.mark.parametrize(("task", "args", "why"), [("nope", (), "UnknownTask"), ("add", ("x", 1), "BadArguments")])
async def test_a_run_that_does_not_fit_is_a_misfit_and_a_failure_for_a_broker_that_knows_none(
    queue: Queue, broker: FakeBroker, newer: Newer, run_of: RunOf, task: str, args: Any, why: str
) -> None:
    @queue.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    peer = await newer()
    await peer.expect(m.Declare)
    await peer.expect(m.Capacity)
    peer.send(m.Deliver([run_of(task, *args)]))
    (end,) = (await peer.expect(m.Settle)).items
    assert (end.end, unpack_failure(end.body).type) == (m.RunEnd.MISFIT, why)
    peer.abort()
    older = await broker.welcome(fresh=False)
    (said,) = (await older.expect(m.Resume)).settles
    # Another attempt may meet a worker that knows the task; the arguments will not fit the next time either.
    assert (said.end, said.body, said.retry) == (m.RunEnd.FAILED, end.body, why == "UnknownTask")


async def test_a_delivered_run_is_done_and_settled(queue: Queue, serving: Serving, run_of: RunOf) -> None:
    @queue.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    desk = await serving(queue)
    assert result_in(await desk.end_of(run_of("add", 2, 3))) == 5


async def test_runs_that_end_together_are_settled_together(queue: Queue, serving: Serving, run_of: RunOf) -> None:
    @queue.task(name="noop")
    async def noop() -> None: ...

    desk = await serving(queue, concurrency=200)
    desk.peer.send(m.Deliver([run_of("noop") for _ in range(200)]))
    ends = await desk.settle()
    frames = 1
    while len(ends) < 200:
        ends += await desk.settle()
        frames += 1
    assert frames < 10


async def test_a_run_goes_on_over_a_lost_connection_and_is_named_in_resume(
    queue: Queue, broker: FakeBroker, serving: Serving, run_of: RunOf, gate: Gate
) -> None:
    desk = await serving(queue)
    run = run_of("wait", 5)
    desk.peer.send(m.Deliver([run]))
    await gate.begun.get()
    desk.peer.abort()
    peer = await broker.welcome(fresh=False)
    resume = await peer.expect(m.Resume)
    assert resume.held == [m.HeldRun(run.job, run.fence)]
    assert resume.settles == []
    peer.send(m.Resumed(resume.request, [m.Verdict.KEEP]))
    await peer.expect(m.Capacity)
    gate.open()
    settle = await peer.expect(m.Settle)
    assert result_in(settle.items[0]) == 5


async def test_an_end_that_was_not_answered_is_said_again_after_a_reconnect(
    queue: Queue, broker: FakeBroker, serving: Serving, run_of: RunOf, gate: Gate
) -> None:
    desk = await serving(queue)
    run = run_of("wait", 5)
    desk.peer.send(m.Deliver([run]))
    gate.open()
    told = await desk.peer.expect(m.Settle)
    desk.peer.abort()
    peer = await broker.welcome(fresh=False)
    resume = await peer.expect(m.Resume)
    assert (resume.held, resume.settles) == ([], told.items)
    peer.send(m.Resumed(resume.request, [], [m.SettleAnswer.ALREADY]))
    await peer.expect(m.Capacity)
    peer.abort()
    again = await (await broker.welcome(fresh=False)).expect(m.Resume)
    assert (again.held, again.settles) == ([], [])


async def test_an_end_during_an_outage_is_told_in_resume(
    queue: Queue, broker: FakeBroker, serving: Serving, run_of: RunOf, gate: Gate
) -> None:
    desk = await serving(queue)
    desk.peer.send(m.Deliver([run_of("wait", 5)]))
    await gate.begun.get()
    desk.peer.abort()
    peer = await broker.accept()
    gate.open()
    # The connection stands, and nobody has said Welcome on it.
    await asyncio.sleep(0)
    await peer.welcome(fresh=False)
    resume = await peer.expect(m.Resume)
    assert [result_in(item) for item in resume.settles] == [5]
    assert resume.held == []


async def test_results_too_large_for_one_resume_follow_it_and_their_runs_are_held_till_then(
    queue: Queue, broker: FakeBroker, serving: Serving, run_of: RunOf
) -> None:
    @queue.task(name="large")
    async def large() -> bytes:
        return b"x" * (BODY_BYTES_MAX - 100)

    desk = await serving(queue)
    runs = [run_of("large") for _ in range(5)]
    desk.peer.send(m.Deliver(runs))
    told: list[bytes] = []
    while len(told) < 5:
        told += [item.job for item in (await desk.peer.expect(m.Settle)).items]
    desk.peer.abort()
    peer = await broker.welcome(fresh=False)
    resume = await peer.expect(m.Resume)
    named = {item.job for item in resume.settles} | {held.job for held in resume.held}
    assert named == {run.job for run in runs}
    rest = [(await peer.expect(m.Settle)).items[0].job for _ in resume.held]
    assert rest == [held.job for held in resume.held]


async def test_a_run_that_another_worker_has_is_stopped_and_not_settled(
    queue: Queue, broker: FakeBroker, serving: Serving, run_of: RunOf, gate: Gate
) -> None:
    @queue.task(name="fine")
    async def fine() -> str:
        return "fine"

    desk = await serving(queue)
    desk.peer.send(m.Deliver([run_of("wait", number) for number in (1, 2, 3)]))
    for _ in range(3):
        await gate.begun.get()
    desk.peer.abort()
    peer = await broker.welcome(fresh=True)
    resume = await peer.expect(m.Resume)
    verdicts = {1: m.Verdict.STALE, 2: m.Verdict.KEEP, 3: m.Verdict.CANCEL}
    peer.send(m.Resumed(resume.request, [verdicts[held.fence] for held in resume.held]))
    await peer.expect(m.Capacity)
    assert {await gate.cancelled.get(), await gate.cancelled.get()} == {1, 3}
    ended = (await peer.expect(m.Settle)).items
    assert [(end.fence, end.end) for end in ended] == [(3, m.RunEnd.RELEASED)]
    gate.open()
    assert [result_in(end) for end in (await peer.expect(m.Settle)).items] == [2]


async def test_a_new_session_with_nothing_to_tell_says_no_resume(
    queue: Queue, broker: FakeBroker, serving: Serving
) -> None:
    desk = await serving(queue)
    desk.peer.abort()
    peer = await broker.accept()
    assert (await peer.welcome(fresh=True)).secret == desk.hello.secret
    await peer.expect(m.Capacity)


async def test_a_refused_result_becomes_a_failure(queue: Queue, serving: Serving, run_of: RunOf) -> None:
    @queue.task(name="large")
    async def large() -> str:
        return "large"

    desk = await serving(queue)
    desk.peer.send(m.Deliver([run_of("large")]))
    told = await desk.peer.expect(m.Settle)
    desk.peer.send(m.Refusal(told.request, "payload_too_large", "it is too large"))
    (end,) = await desk.settle()
    assert failure_in(end).text == "the broker refused the result: it is too large"


async def test_an_unknown_task_is_settled_as_such(queue: Queue, serving: Serving, run_of: RunOf) -> None:
    desk = await serving(queue)
    failure = failure_in(await desk.end_of(run_of("not.here")))
    assert (failure.type, failure.retry) == ("UnknownTask", True)


async def test_a_run_that_the_broker_cancels_is_stopped_and_told_and_no_other(
    queue: Queue, gate: Gate, serving: Serving, run_of: RunOf
) -> None:
    desk = await serving(queue)
    first, second = run_of("wait", 1), run_of("wait", 2)
    desk.peer.send(m.Deliver([first, second]))
    assert {await gate.begun.get(), await gate.begun.get()} == {1, 2}
    # The fence of another lease is none of its business.
    desk.peer.send(m.CancelRun(second.job, first.fence + second.fence), m.CancelRun(first.job, first.fence))
    assert await gate.cancelled.get() == 1
    (end,) = await desk.settle()
    assert (end.job, end.fence, end.end) == (first.job, first.fence, m.RunEnd.RELEASED)
    assert gate.cancelled.empty()
    gate.open()
    (other,) = await desk.settle()
    assert result_in(other) == 2


def bounded(item: m.DeliverItem, left_ms: int) -> m.DeliverItem:
    """The run of a job whose deadline is so far away."""
    item.extra = packed({Key.DEADLINE: left_ms, Key.DEADLINE_AT: 1_700_000_000_000})
    return item


async def test_a_run_is_stopped_at_its_deadline_by_the_workers_own_clock_also_while_it_is_cut_off(
    queue: Queue, gate: Gate, broker: FakeBroker, serving: Serving, run_of: RunOf
) -> None:
    desk = await serving(queue)
    item = bounded(run_of("wait", 1), 1)
    desk.peer.send(m.Deliver([item]))
    assert await gate.begun.get() == 1
    desk.peer.abort()
    assert await gate.cancelled.get() == 1
    peer = await broker.welcome(fresh=False)
    resume = await peer.expect(m.Resume)
    ends = resume.settles or (await peer.expect(m.Settle)).items
    assert [(end.job, end.fence, end.end) for end in ends] == [(item.job, item.fence, m.RunEnd.RELEASED)]


async def test_a_run_that_waits_for_a_slot_is_given_back_at_its_deadline_without_beginning(
    queue: Queue, gate: Gate, serving: Serving, run_of: RunOf
) -> None:
    desk = await serving(queue, concurrency=1)
    item = bounded(run_of("wait", 2), 1)
    desk.peer.send(m.Deliver([run_of("wait", 1), item]))
    (end,) = await desk.settle()
    assert (end.fence, end.end) == (item.fence, m.RunEnd.RELEASED)
    assert [await gate.begun.get(), gate.begun.empty()] == [1, True]


async def test_a_run_that_is_over_is_not_remembered_until_its_deadline(
    queue: Queue, slots_of: Callable[..., Any], run_of: RunOf
) -> None:
    seen: list[Any] = []

    @queue.task(name="look")
    async def look(context: Context) -> None:
        seen.append(context.deadline)

    slots = slots_of()
    slots.offer(*(bounded(run_of("look"), 3_600_000) for _ in range(300)))
    for _ in range(300):
        await slots.end()
    assert len(slots.deadlines) < 150
    assert seen == [datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)] * 300


async def test_a_run_that_the_broker_stops_for_its_deadline_is_told_so_in_the_log(
    queue: Queue, gate: Gate, serving: Serving, run_of: RunOf, caplog: pytest.LogCaptureFixture
) -> None:
    desk = await serving(queue)
    item = run_of("wait", 1)
    desk.peer.send(m.Deliver([item]))
    await gate.begun.get()
    with caplog.at_level("INFO", "aioqueue.worker.session"):
        desk.peer.send(m.CancelRun(item.job, item.fence, Cause.DEADLINE))
        assert await gate.cancelled.get() == 1
    assert "its deadline passed" in caplog.text
