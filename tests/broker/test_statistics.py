"""The view of everything: true, and never larger than what may be sent."""

from __future__ import annotations

from aioqueue.broker.statistics import fitted
from aioqueue.core.admission import BacklogLimits
from aioqueue.limits import FRAME_BYTES_MAX, NAME_CHARACTERS_MAX, QUEUES_A_WORKER_MAX, STATISTICS_BYTES_MAX
from aioqueue.model.views import AdmissionStatistics, WorkerStatistics
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from tests.broker.conftest import House, Running, item, running
from tests.support.statistics import queue, statistics


async def seen(at: Running) -> m.StatisticsUpdate:
    watcher = await at.peer()
    watcher.say(m.Watch())
    return await watcher.hear(m.StatisticsUpdate)


def long_name(number: int) -> str:
    return f"{number:05}".ljust(NAME_CHARACTERS_MAX, "x")


def test_a_view_of_very_many_queues_and_workers_is_cut_to_what_may_be_sent() -> None:
    names = [long_name(number) for number in range(20)]
    workers = [WorkerStatistics(n, "w" * 128, names, 1, 0, True, 0) for n in range(1_000)]
    view = fitted(statistics(*(queue(long_name(n)) for n in range(9_000)), workers=workers))

    size = len(Codec().encode(m.StatisticsUpdate(view)))
    assert STATISTICS_BYTES_MAX // 4 < size < STATISTICS_BYTES_MAX + 100 < FRAME_BYTES_MAX
    assert len(view.queues) + view.queues_left_out == 9_000
    assert len(view.workers) + view.workers_left_out == 1_000
    assert view.queues
    assert view.workers


async def test_workers_with_a_thousand_queues_each_are_told_of_with_some_of_them(house: House) -> None:
    async with running(house) as at:
        for number in range(12):
            names = [long_name(number * QUEUES_A_WORKER_MAX + each) for each in range(QUEUES_A_WORKER_MAX)]
            worker = await at.worker(1, *names)
            worker.say(m.Ping(1))
            await worker.hear(m.Pong)
        view = (await seen(at)).statistics

    assert len(view.workers) == 12
    assert {len(worker.queues) + worker.queues_left_out for worker in view.workers} == {QUEUES_A_WORKER_MAX}
    assert len(view.queues) + view.queues_left_out == 12 * QUEUES_A_WORKER_MAX


async def test_the_busiest_queues_are_among_those_that_are_told_of(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        await client.submit(*(item(f"queue-{number}") for number in range(1_100)))
        await client.submit(item("zebra"), item("zebra"))
        view = (await seen(at)).statistics

    assert ("zebra", 2) in {(each.queue, each.ready) for each in view.queues}
    assert len(view.queues) + view.queues_left_out == 1_101


async def test_how_full_the_broker_is_and_what_stops_are_told(house: House) -> None:
    async with running(house, limits=BacklogLimits(10, 1_000)) as at:
        client, worker = await at.peer(), await at.worker(1)
        job, other = item(), item()
        await client.submit(job, other)
        await worker.runs()
        client.say(m.CancelJob(client.ask(), job.job))
        await client.hear(m.Cancelled)
        view = (await seen(at)).statistics

    assert view.admission == AdmissionStatistics(2, len(job.args) + len(other.args), 10, 1_000)
    [lane] = view.queues
    assert (lane.ready, lane.running, lane.stopping) == (1, 1, 1)


async def test_what_the_steps_of_the_engine_cost_is_told(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        await client.submit(item())
        seconds = (await seen(at)).statistics.step_us_p99 / 1e6
        steps = at.broker.engine.steps_ns

    assert 0 < seconds <= max(steps) / 1e9
