"""A worker's beginning and end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from aioqueue import AioqueueError, Queue, Worker
from aioqueue.errors import BadName, BadOption, HistoryLost, NotEntered
from aioqueue.protocol import messages as m
from aioqueue.transport.address import TcpAddress
from aioqueue.transport.dialer import Dialer
from aioqueue.worker.wiring import Wiring
from tests.support.fake_broker import FakeBroker, FakePeer
from tests.support.runs import result_in
from tests.support.workers import Desk, wired

Serving = Callable[..., Any]
RunOf = Callable[..., m.DeliverItem]


@pytest.fixture
async def begun(queue: Queue) -> AsyncIterator[asyncio.Queue[str]]:
    """The queue's tasks `endless`, `short` (which ends when it is told to) and `deaf`; gives the names that began."""
    names: asyncio.Queue[str] = asyncio.Queue()
    over = asyncio.Event()

    @queue.task(name="endless")
    async def endless() -> None:
        names.put_nowait("endless")
        await asyncio.Event().wait()

    @queue.task(name="deaf")
    async def deaf() -> None:
        names.put_nowait("deaf")
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()

    yield names
    over.set()


async def begin(desk: Desk, run: m.DeliverItem, begun: asyncio.Queue[str]) -> None:
    desk.peer.send(m.Deliver([run]))
    assert await begun.get() == run.task


async def goodbye(peer: FakePeer) -> None:
    await peer.expect(m.Goodbye)
    assert await peer.until_closed() == []


async def test_a_stopping_worker_takes_no_more_jobs_and_finishes_those_that_run(
    queue: Queue, serving: Serving, run_of: RunOf
) -> None:
    may_end = asyncio.Event()
    begun = asyncio.Event()

    @queue.task(name="slow")
    async def slow() -> str:
        begun.set()
        await may_end.wait()
        return "finished"

    desk = await serving(queue, concurrency=1)
    first, waits, late = (run_of("slow") for _ in range(3))
    desk.peer.send(m.Deliver([first, waits]))
    await begun.wait()
    desk.worker.stop()
    assert await desk.peer.expect(m.Capacity) == m.Capacity(0, ["default"])
    # What has not begun is given back, and so is what was on its way.
    (end,) = await desk.settle()
    assert (end.job, end.end) == (waits.job, m.RunEnd.RELEASED)
    assert (await desk.end_of(late)).end is m.RunEnd.RELEASED
    may_end.set()
    (end,) = await desk.settle()
    assert (end.job, result_in(end)) == (first.job, "finished")
    await goodbye(desk.peer)


async def test_a_job_that_exceeds_the_grace_is_cancelled_and_given_back(
    queue: Queue, serving: Serving, run_of: RunOf, begun: asyncio.Queue[str]
) -> None:
    desk = await serving(queue, grace=0.01)
    await begin(desk, run_of("endless"), begun)
    desk.worker.stop()
    await desk.peer.expect(m.Capacity)
    (end,) = await desk.settle()
    assert end.end is m.RunEnd.RELEASED
    await goodbye(desk.peer)


async def test_asking_twice_cuts_the_grace_short(
    queue: Queue, serving: Serving, run_of: RunOf, begun: asyncio.Queue[str]
) -> None:
    desk = await serving(queue, grace="1d")
    await begin(desk, run_of("endless"), begun)
    desk.worker.stop()
    await desk.peer.expect(m.Capacity)
    desk.worker.stop()
    (end,) = await desk.settle()
    assert end.end is m.RunEnd.RELEASED
    await goodbye(desk.peer)


async def test_a_job_that_heeds_nothing_is_left_behind_and_given_back_when_it_has_ended(
    broker: FakeBroker, run_of: RunOf
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    queue = Queue(broker.url)

    @queue.task(name="deaf")
    async def deaf() -> None:
        begun.set()
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()

    wiring = Wiring(dialer=Dialer([TcpAddress("127.0.0.1", broker.port)]))
    async with Worker(queue, grace=0, cancel_grace=0.005, wiring=wiring):
        peer = await broker.welcome()
        await peer.expect(m.Capacity)
        beats = await broker.welcome()
        peer.send(m.Deliver([run_of("deaf")]))
        await begun.wait()
    # The worker is over, its session is not: a goodbye would give the job to somebody else.
    assert await peer.until_closed() == [m.Capacity(0, ["default"])]
    beats.send(m.Ping(7))
    while not isinstance(message := await beats.read(), m.Pong):
        assert isinstance(message, m.Beat)
    may_end.set()
    while isinstance(message := await beats.read(), m.Beat):
        pass
    assert message == m.WorkerDied("", 1, leaving=True)


async def test_the_owner_of_a_secret_is_told_how_many_jobs_are_left_behind(
    queue: Queue, broker: FakeBroker, serving: Serving, run_of: RunOf, begun: asyncio.Queue[str]
) -> None:
    left: list[tuple[int, int]] = []
    desk = await serving(
        queue,
        grace=0,
        cancel_grace=0.005,
        wiring=wired(broker, on_leaving=lambda untold, kept: left.append((untold, kept))),
    )
    await begin(desk, run_of("deaf"), begun)
    desk.worker.stop()
    assert await desk.peer.until_closed() == [m.Capacity(0, ["default"])]
    assert left == [(0, 1)]


async def test_cancelling_run_stops_the_worker_in_a_hurry(
    queue: Queue, broker: FakeBroker, run_of: RunOf, begun: asyncio.Queue[str]
) -> None:
    worker = Worker(queue, grace="1d", wiring=wired(broker))
    running = asyncio.create_task(worker.run())
    peer = await broker.welcome()
    desk = Desk(worker, peer, m.Hello(1, 1, m.Role.WORKER, bytes(16)), await peer.expect(m.Capacity))
    await begin(desk, run_of("endless"), begun)
    running.cancel()
    await peer.expect(m.Capacity)
    (end,) = await desk.settle()
    assert end.end is m.RunEnd.RELEASED
    await goodbye(peer)
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_worker_in_an_app_beats_on_a_connection_of_its_own(broker: FakeBroker, run_of: RunOf) -> None:
    queue = Queue(broker.url)
    wiring = Wiring(dialer=Dialer([TcpAddress("127.0.0.1", broker.port)]))
    async with Worker(queue, name="here", wiring=wiring) as worker:
        peer = await broker.accept()
        hello = await peer.welcome()
        await peer.expect(m.Capacity)
        await worker.ready()
        beats = await broker.accept()
        second = await beats.welcome()
        assert (second.role, second.secret, second.name) == (m.Role.HEARTBEAT, hello.secret, "here")
        await beats.expect(m.Beat)
        peer.close()
        await broker.stop()


async def test_leaving_the_block_stops_the_worker_in_good_order(queue: Queue, broker: FakeBroker) -> None:
    async with Worker(queue, wiring=wired(broker)):
        peer = await broker.welcome()
        assert await peer.expect(m.Capacity) == m.Capacity(100, ["default"])
    assert await peer.expect(m.Capacity) == m.Capacity(0, ["default"])
    await goodbye(peer)


async def test_a_worker_can_be_stopped_while_no_broker_answers(queue: Queue, broker: FakeBroker) -> None:
    await broker.stop()
    async with Worker(queue, wiring=wired(broker)):
        pass


async def test_jobs_of_a_worker_that_stops_during_an_outage_are_ended_too(
    queue: Queue, broker: FakeBroker, serving: Serving, run_of: RunOf
) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @queue.task(name="endless")
    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    desk = await serving(queue, grace=0)
    desk.peer.send(m.Deliver([run_of("endless")]))
    await begun.wait()
    await broker.stop()
    desk.worker.stop()
    await cancelled.wait()


async def test_a_refusal_that_lasts_ends_the_worker_with_it(queue: Queue, broker: FakeBroker) -> None:
    worker = Worker(queue, wiring=wired(broker))
    running = asyncio.create_task(worker.run())
    peer = await broker.accept()
    await peer.expect(m.Hello)
    peer.send(m.Refusal(0, HistoryLost.code, "confirmed history is missing"))
    with pytest.raises(HistoryLost):
        await running


async def test_the_error_of_a_block_is_not_hidden_by_the_worker_s_own(queue: Queue, broker: FakeBroker) -> None:
    async def block() -> None:
        async with Worker(queue, wiring=wired(broker)):
            peer = await broker.accept()
            await peer.expect(m.Hello)
            peer.send(m.Refusal(0, HistoryLost.code, "confirmed history is missing"))
            await peer.until_closed()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await block()


async def test_a_worker_runs_again_after_it_was_stopped(queue: Queue, broker: FakeBroker) -> None:
    worker = Worker(queue, wiring=wired(broker))
    for _ in range(2):
        async with worker:
            peer = await broker.welcome()
            await peer.expect(m.Capacity)
            await worker.ready()
        await peer.expect(m.Capacity)
        await goodbye(peer)


async def test_leaving_the_block_can_be_cancelled_and_leaves_no_job_behind(
    queue: Queue, broker: FakeBroker, run_of: RunOf, begun: asyncio.Queue[str]
) -> None:
    async def block() -> None:
        async with Worker(queue, grace="1d", wiring=wired(broker)) as worker:
            await worker.ready()
            await begun.get()

    blocked = asyncio.create_task(block())
    peer = await broker.welcome()
    await peer.expect(m.Capacity)
    peer.send(m.Deliver([run_of("endless")]))
    await peer.expect(m.Capacity)
    blocked.cancel()
    told = await peer.expect(m.Settle)
    assert told.items[0].end is m.RunEnd.RELEASED
    peer.send(m.Settled(told.request, 1))
    await goodbye(peer)
    with pytest.raises(asyncio.CancelledError):
        await blocked


async def test_a_queue_that_is_not_entered_has_no_stream_for_a_worker(queue: Queue) -> None:
    with pytest.raises(NotEntered):
        await Worker(queue).run()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"concurrency": 0}, BadOption),
        ({"concurrency": 1.5}, BadOption),
        ({"concurrency": True}, BadOption),
        ({"concurrency": 1_000_000}, BadOption),
        ({"threads": -1}, BadOption),
        ({"threads": 0}, BadOption),
        ({"queues": []}, BadOption),
        ({"queues": "default"}, BadOption),
        ({"queues": ["no space"]}, BadName),
        ({"grace": -1}, BadOption),
        ({"cancel_grace": float("nan")}, BadOption),
    ],
)
def test_what_no_worker_can_be_is_refused_at_once(
    queue: Queue, options: dict[str, Any], error: type[AioqueueError]
) -> None:
    with pytest.raises(error):
        Worker(queue, **options)


def test_a_worker_is_of_a_queue_and_not_of_its_url() -> None:
    with pytest.raises(BadOption, match="it must be a Queue"):
        Worker("tcp://127.0.0.1:7411")  # type: ignore[arg-type]


def test_a_secret_of_another_length_is_refused() -> None:
    with pytest.raises(BadOption, match="secret"):
        Wiring(secret=b"short")
