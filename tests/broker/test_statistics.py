"""The view of everything: true, and never larger than what may be sent."""

from __future__ import annotations

from aioqueue.broker.beats import Beats
from aioqueue.broker.idleness import IdleWatch
from aioqueue.broker.statistics import FAILURES_NAMESPACES_MAX, FAILURES_SHOWN, Statistician, fitted
from aioqueue.clock import Now
from aioqueue.core.admission import BacklogLimits
from aioqueue.core.effects import ArchiveJob, ArchiveRun
from aioqueue.core.partition import Partition
from aioqueue.limits import FRAME_BYTES_MAX, NAME_CHARACTERS_MAX, QUEUES_A_WORKER_MAX, STATISTICS_BYTES_MAX
from aioqueue.model.bodies import pack_failure
from aioqueue.model.records import EndedRun, FinishedJob
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.states import JobState
from aioqueue.model.views import AdmissionStatistics, Failure, WorkerStatistics
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from tests.broker.conftest import House, Running, Script, item, running
from tests.support.statistics import JOB, queue, statistics


async def seen(at: Running, namespace: str = "default") -> m.StatisticsUpdate:
    watcher = await at.peer(namespace=namespace)
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


async def fail_one(at: Running, namespace: str, text: str) -> tuple[Script, Script]:
    """A client and a worker of this namespace, with a queue of its name, in which one job became dead."""
    client, worker = await at.peer(namespace=namespace), await at.peer(m.Role.WORKER, namespace=namespace)
    worker.say(m.Capacity(1, [namespace]))
    await client.submit(item(namespace, namespace=namespace, retry=RetryPolicy(1)))
    [run] = await worker.runs()
    await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.FAILED, pack_failure(Failure("ValueError", text))))
    return client, worker


async def test_a_watcher_sees_nothing_of_other_namespaces(house: House) -> None:
    async with running(house) as at:
        client, worker = await fail_one(at, "shop", "the card of Ada was refused")
        await client.submit(item("shop", namespace="shop"))
        await worker.runs()
        await fail_one(at, "bank", "no funds")
        shop, bank, nobody = await seen(at, "shop"), await seen(at, "bank"), await seen(at)

    for update, name, text in ((shop, "shop", "the card of Ada was refused"), (bank, "bank", "no funds")):
        view = update.statistics
        assert {(each.namespace, each.queue) for each in view.queues} == {(name, name)}
        assert [worker.queues for worker in view.workers] == [[name]]
        assert [failure.text for failure in view.failures] == [text]
        # A client, a worker and the watcher.
        assert view.sessions == 3
    assert [job.queue for job in shop.statistics.running] == ["shop"]
    assert bank.statistics.running == []
    view = nobody.statistics
    assert [view.queues, view.workers, view.running, view.failures, view.sessions] == [[], [], [], [], 1]
    assert b"Ada" not in Codec().encode(bank)
    # How full the broker is concerns everybody.
    assert view.admission is not None
    assert view.admission.jobs == 1


async def test_watchers_of_several_namespaces_are_each_told_of_their_own_as_time_goes_on(house: House) -> None:
    async with running(house) as at:
        watchers = [await at.peer(namespace=name) for name in ("shop", "bank", "shop")]
        for watcher in watchers:
            watcher.say(m.Watch())
            await watcher.hear(m.StatisticsUpdate)
        await fail_one(at, "shop", "no stock")
        told = [(await watcher.hear(m.StatisticsUpdate)).statistics for watcher in watchers]
        watchers[0].say(m.Watch(True))
        again = (await watchers[2].hear(m.StatisticsUpdate)).statistics

    assert [[queue.queue for queue in view.queues] for view in (*told, again)] == [["shop"], [], ["shop"], ["shop"]]


async def test_how_many_queues_are_left_out_is_counted_in_the_namespace(house: House) -> None:
    async with running(house) as at:
        client, other = await at.peer(), await at.peer(namespace="shop")
        await client.submit(*(item(f"queue-{number}") for number in range(1_003)))
        await other.submit(item("mail", namespace="shop"))

        assert (await seen(at)).statistics.queues_left_out == 3
        assert (await seen(at, "shop")).statistics.queues_left_out == 0


def test_failures_of_very_many_namespaces_are_not_all_remembered() -> None:
    state, now = Partition().state, Now(0, 0)
    statistician = Statistician(state, Beats(), IdleWatch(state), now)
    for number in range(FAILURES_NAMESPACES_MAX + 1):
        for name in ("first", f"name-{number}"):
            run = EndedRun(JOB, 0, 1, "failed", 0, 1, "w", b"")
            finished = FinishedJob(
                JOB, name, "mail", "send", JobState.DEAD, 0, 1, 0, 1, 1, 5, 0, 0, 1, -1, "w", 1, b"", b"", b"", b""
            )
            statistician.take([ArchiveRun(run), ArchiveJob(finished)])

    def remembered(namespace: str) -> int:
        return len(statistician.view(namespace, now, 1, 0, []).failures)

    assert remembered("name-0") == 0
    assert remembered("name-2") == 1
    assert remembered("first") == FAILURES_SHOWN


async def test_what_the_steps_of_the_engine_cost_is_told(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        await client.submit(item())
        seconds = (await seen(at)).statistics.step_us_p99 / 1e6
        steps = at.broker.engine.steps_ns

    assert 0 < seconds <= max(steps) / 1e9
