from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from aioqueue import Job, Queue
from aioqueue.client.sources import URL_VARIABLE
from aioqueue.errors import (
    BadArguments,
    BadName,
    BadOption,
    BadUrl,
    BrokerUnavailable,
    JobFailed,
    JobNotFound,
    NotEntered,
    PayloadTooLarge,
    QueueClosed,
    QueueFull,
    TaskExists,
)
from aioqueue.limits import ATOMIC_JOBS_MAX, BODY_BYTES_MAX
from aioqueue.model.bodies import pack_body, pack_failure, unpack_body
from aioqueue.model.ids import id_text, own_id, route_in, route_of
from aioqueue.model.spec import unpack_spec
from aioqueue.model.states import JobState
from aioqueue.model.views import Failure
from aioqueue.protocol import messages as m
from tests.support.examples import INFO, STATISTICS
from tests.support.fake_broker import FakeBroker, FakePeer

Entered = tuple[Queue, FakePeer]
WANT_RESULT, OWN_ID, RESEND = (
    int(flag) for flag in (m.SubmitFlag.WANT_RESULT, m.SubmitFlag.OWN_ID, m.SubmitFlag.RESEND)
)


async def double(number: int) -> int:
    return 2 * number


def ended(item: m.SubmitItem) -> m.EndedItem:
    """The end of a job of `double`."""
    (number,), _ = unpack_body(item.args)
    return m.EndedItem(item.job, JobState.SUCCEEDED, pack_body(2 * number))


async def do_all(peer: FakePeer, jobs: int) -> list[m.SubmitItem]:
    """Accept so many jobs of `double` and run each as it comes."""
    items: list[m.SubmitItem] = []
    while len(items) < jobs:
        new = (await peer.accept_submit()).items
        peer.send(m.Ended([ended(item) for item in new]))
        items += new
    return items


# --- declaring and connecting ---


def test_the_url_is_what_was_set_then_the_argument_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    queue, other = Queue(), Queue("sqlite:jobs.db")
    assert queue.url == ""
    monkeypatch.setenv(URL_VARIABLE, "tcp://broker")
    assert (queue.url, other.url) == ("tcp://broker:7411", "sqlite:jobs.db")
    queue.url = other.url = "memory:"
    assert (queue.url, other.url) == ("memory:", "memory:")


async def test_a_queue_without_a_broker_declares_tasks_and_is_refused_when_it_is_entered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    queue = Queue()
    queue.task(double)
    assert repr(queue) == "<Queue without a broker of namespace default>"
    with pytest.raises(BadUrl, match=r"no broker is named: write Queue\('memory:'\).* set AIOQUEUE_URL"):
        await queue.__aenter__()
    queue.url = "memory:"
    async with queue:
        assert await queue.run(queue.tasks.get(double.__module__ + ".double"), 2) == 4


async def test_a_queue_in_memory_is_a_new_one_each_time_and_nothing_is_said_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = Queue("memory:")
    for _ in range(2):
        async with queue:
            pass
    assert "another journal" not in caplog.text


async def test_an_entered_queue_keeps_its_broker_when_the_environment_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, "memory:")
    async with Queue() as queue:
        monkeypatch.setenv(URL_VARIABLE, "tcp://broker")
        assert queue.url == "memory:"
    assert queue.url == "tcp://broker:7411"


def test_what_cannot_be_is_refused_where_it_is_written() -> None:
    with pytest.raises(BadUrl):
        Queue("redis://localhost")
    with pytest.raises(BadName):
        Queue("memory:", namespace="my shop")
    with pytest.raises(BadName):
        Queue("memory:", name="web 1")
    for worker in (-1, "yes", 1_000_000):
        with pytest.raises(BadOption):
            Queue("memory:", worker=worker)  # type: ignore[arg-type]


def test_a_queue_prints_as_what_it_is() -> None:
    assert repr(Queue("tcp://broker", namespace="shop")) == "<Queue tcp://broker:7411 of namespace shop>"


def test_defaults_hold_for_tasks_that_say_nothing_else() -> None:
    queue = Queue("memory:", defaults={"queue": "mail", "retry": 2})
    assert queue.task(double).plan("default").queue == "mail"
    assert queue.queues() == ("default", "mail")


def test_a_queue_takes_the_tasks_of_another() -> None:
    first, second = Queue("memory:"), Queue("memory:")
    first.task(double, name="shop.double")
    second.include(first)
    assert "shop.double" in second.tasks

    async def other() -> None: ...

    with pytest.raises(TaskExists):
        second.task(other, name="shop.double")


async def test_nothing_works_outside_of_async_with() -> None:
    queue = Queue("tcp://127.0.0.1:1")
    task = queue.task(double)
    for call in (queue.submit(task, 1), queue.run(task, 1), queue.submit_many([task.call(1)]), queue.get(str(INFO.id))):
        with pytest.raises((NotEntered, JobNotFound)):
            await call
    with pytest.raises(NotEntered):
        await anext(queue.map(task, [1]))
    with pytest.raises(NotEntered):
        _ = queue.dialer


async def test_a_queue_can_be_entered_again_and_remembers_what_it_saw(broker: FakeBroker) -> None:
    queue = Queue(broker.url, name="web-1")
    secrets = []
    for seen in (0, 7):
        entering = asyncio.ensure_future(queue.__aenter__())
        peer = await broker.accept()
        hello = await peer.welcome(position=7)
        secrets.append(hello.secret)
        assert (hello.name, hello.position_seen) == ("web-1", seen)
        await entering
        await queue.__aexit__(None, None, None)
        assert await peer.until_closed() == [m.Goodbye()]
    assert secrets[0] != secrets[1]
    with pytest.raises(NotEntered):
        queue.session()


async def test_a_queue_that_is_entered_cannot_be_entered_or_moved(entered: Entered) -> None:
    queue, _ = entered
    with pytest.raises(BadOption, match="entered already"):
        await queue.__aenter__()
    with pytest.raises(BadOption, match="connected"):
        queue.url = "memory:"
    queue.session()


async def test_the_url_may_be_changed_before_entering() -> None:
    queue = Queue("memory:")
    queue.url = "tcp://[::1]:99"
    assert queue.url == "tcp://[::1]:99"


async def test_no_broker_is_an_error_that_names_the_url(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioqueue.client.connecting.CONNECT_SECONDS", 0.02)
    await broker.stop()
    queue = Queue(broker.url)
    with pytest.raises(BrokerUnavailable, match=broker.url):
        await queue.__aenter__()
    # And it may be tried again.
    await broker.start()
    monkeypatch.setattr("aioqueue.client.connecting.CONNECT_SECONDS", 5.0)
    async with AsyncExitStack() as stack:
        entering = asyncio.ensure_future(stack.enter_async_context(queue))
        await broker.welcome()
        await entering


# --- submitting ---


async def test_submit_returns_when_the_broker_has_it(entered: Entered) -> None:
    queue, peer = entered
    submitting = asyncio.ensure_future(queue.submit(queue.task(double), 21))
    submit = await peer.expect(m.Submit)
    (item,) = submit.items
    assert not submitting.done()
    assert unpack_body(item.args) == [[21], {}]
    assert unpack_spec(item.spec).task.endswith("double")
    assert (item.flags, item.own_id, item.headers) == (0, "", b"")
    assert route_in(item.job) == route_of("default", "default")
    peer.send(m.Submitted(submit.request, 1))
    assert (await submitting).key == item.job


async def test_what_is_no_task_is_answered_with_how_to_say_it(entered: Entered) -> None:
    queue, _ = entered
    call = queue.task(double).call(2)
    with pytest.raises(BadOption, match=r"task='Call' cannot be used: .* as in submit\(task, 1, 2\)"):
        await queue.submit(call)  # type: ignore[call-overload]


async def test_what_does_not_fit_is_refused_before_anything_is_sent(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    with pytest.raises(BadArguments):
        await queue.submit(task)  # type: ignore[call-overload]
    with pytest.raises(PayloadTooLarge):
        await queue.run(task, bytes(BODY_BYTES_MAX))  # type: ignore[call-overload]
    with pytest.raises(BadOption, match="task's name"):
        await queue.submit(42)  # type: ignore[call-overload]
    queue.session().link.send_nowait(m.Watch())
    await peer.expect(m.Watch)


async def test_options_travel_with_the_submit(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double).options(queue="mail", delay=1.5, priority="high", headers={"trace": "x"})
    submitting = asyncio.ensure_future(queue.submit(task, 1))
    (item,) = (await peer.accept_submit()).items
    spec = unpack_spec(item.spec)
    assert (spec.queue, spec.priority, item.delay_ms) == ("mail", 8, 1_500)
    assert unpack_body(b"\x01" + item.headers) == {"trace": "x"}
    await submitting


async def test_an_id_of_the_callers_own_is_the_same_job_each_time(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double).options(id="invoice-42")
    submitting = asyncio.ensure_future(queue.submit(task, 1))
    (item,) = (await peer.accept_submit()).items
    assert item.job == own_id("default", "default", "invoice-42")
    assert (item.flags, item.own_id) == (OWN_ID, "invoice-42")
    assert (await submitting).id == id_text(item.job)


async def test_a_task_can_be_submitted_by_its_name(entered: Entered) -> None:
    queue, peer = entered
    running = asyncio.ensure_future(queue.run("elsewhere.count", 1, of="apples"))
    (item,) = (await peer.accept_submit()).items
    assert unpack_body(item.args) == [[1], {"of": "apples"}]
    assert unpack_spec(item.spec).task == "elsewhere.count"
    peer.send(m.Ended([m.EndedItem(item.job, JobState.SUCCEEDED, pack_body({"apples": 3}))]))
    assert await running == {"apples": 3}


async def test_the_name_of_a_task_declared_here_is_that_task(entered: Entered) -> None:
    queue, _ = entered
    queue.task(double, name="shop.double")
    with pytest.raises(BadArguments):
        await queue.submit("shop.double")


async def test_a_submit_in_flight_across_a_restart_returns_once_it_is_accepted(
    entered: Entered, broker: FakeBroker
) -> None:
    queue, peer = entered
    submitting = asyncio.ensure_future(queue.submit(queue.task(double), 1))
    first = await peer.expect(m.Submit)
    await broker.stop()
    await broker.start()
    peer = await broker.welcome(fresh=False)
    again = await peer.accept_submit()
    assert again.items[0].job == first.items[0].job
    assert again.items[0].flags == RESEND
    assert (await submitting).key == first.items[0].job


async def test_submits_gathered_in_one_tick_share_a_frame(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.gather(*(queue.submit(task, number) for number in range(50)))
    submit = await peer.accept_submit()
    assert len(submit.items) == 50
    assert [job.key for job in await submitting] == [item.job for item in submit.items]


# --- submit_many ---


async def test_submit_many_is_one_frame_in_the_order_of_the_calls(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.ensure_future(queue.submit_many(task.call(number) for number in range(3)))
    submit = await peer.expect(m.SubmitAtomic)
    peer.send(m.Submitted(submit.request, 1))
    jobs = await submitting
    assert [job.key for job in jobs] == [item.job for item in submit.items]


async def test_jobs_of_one_submit_many_awaited_in_turn_are_asked_for_together(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.ensure_future(queue.submit_many(task.call(number) for number in range(3)))
    submit = await peer.expect(m.SubmitAtomic)
    peer.send(m.Submitted(submit.request, 1))
    jobs = await submitting

    async def in_turn() -> list[int]:
        return [await job for job in jobs]

    waiting = asyncio.ensure_future(in_turn())
    assert (await peer.expect(m.Wait)).jobs == [item.job for item in submit.items]
    peer.send(m.Ended([ended(item) for item in submit.items]))
    assert await waiting == [0, 2, 4]
    assert len(jobs) == 3


async def test_a_refused_submit_many_submits_nothing(entered: Entered) -> None:
    queue, peer = entered
    submitting = asyncio.ensure_future(queue.submit_many([queue.task(double).call(1)]))
    submit = await peer.expect(m.SubmitAtomic)
    peer.send(m.Refusal(submit.request, "queue_full", "full"))
    with pytest.raises(QueueFull):
        await submitting


async def test_a_submit_many_of_the_largest_size_fits_a_frame(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.ensure_future(queue.submit_many(task.call(number) for number in range(ATOMIC_JOBS_MAX)))
    submit = await peer.expect(m.SubmitAtomic)
    peer.send(m.Submitted(submit.request, 1))
    assert len(await submitting) == ATOMIC_JOBS_MAX


async def test_a_submit_many_of_nothing_sends_nothing(entered: Entered) -> None:
    queue, _ = entered
    assert await queue.submit_many([]) == []


# --- run and map ---


async def test_run_asks_for_the_result_with_the_submit(entered: Entered) -> None:
    queue, peer = entered
    running = asyncio.ensure_future(queue.run(queue.task(double), 21))
    (item,) = await do_all(peer, 1)
    assert item.flags == WANT_RESULT
    assert await running == 42


async def test_an_end_that_comes_before_the_acceptance_counts(entered: Entered) -> None:
    queue, peer = entered
    running = asyncio.ensure_future(queue.run(queue.task(double), 21))
    submit = await peer.expect(m.Submit)
    peer.send(m.Ended([ended(submit.items[0])]), m.Submitted(submit.request, 1))
    assert await running == 42


async def test_run_of_a_callers_own_id_waits_for_that_job(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double).options(id="once")
    running = asyncio.gather(queue.run(task, 1), queue.run(task, 1))
    submit = await peer.accept_submit()
    await peer.expect(m.Wait)
    peer.send(m.Ended([ended(submit.items[0])]))
    assert await running == [2, 2]


async def test_a_run_that_is_cancelled_leaves_nothing_behind(entered: Entered) -> None:
    queue, peer = entered
    running = asyncio.ensure_future(queue.run(queue.task(double), 21))
    await peer.accept_submit()
    running.cancel()
    await asyncio.wait([running])
    assert len(queue.session().endings) == 0


async def test_map_gives_results_in_the_order_of_the_items(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)

    async def collect() -> list[int]:
        return [result async for result in queue.map(task, range(4), window=4)]

    collecting = asyncio.ensure_future(collect())
    items = (await peer.accept_submit()).items
    for item in reversed(items):
        peer.send(m.Ended([ended(item)]))
    assert await collecting == [0, 2, 4, 6]


async def test_map_has_no_more_than_its_window_under_way(entered: Entered) -> None:
    queue, peer = entered
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    async def collect() -> list[int]:
        return [result async for result in queue.map(queue.task(double), numbers(), window=3)]

    collecting = asyncio.ensure_future(collect())
    items = (await peer.accept_submit()).items
    assert len(items) == 3
    # The next item was looked at, and waits for its place.
    assert taken == [0, 1, 2, 3]
    peer.send(m.Ended([ended(items[0])]))
    assert len((await peer.accept_submit()).items) == 1
    collecting.cancel()
    await asyncio.wait([collecting])


async def test_a_job_that_fails_in_a_map_leaves_the_others_alone(entered: Entered) -> None:
    queue, peer = entered
    results = queue.map(queue.task(double), range(3))
    first = asyncio.ensure_future(anext(results))
    items = (await peer.accept_submit()).items
    failed = m.EndedItem(items[0].job, JobState.DEAD, pack_failure(Failure("ValueError", "no")))
    peer.send(m.Ended([failed]))
    with pytest.raises(JobFailed):
        await first
    assert len(queue.session().endings) == 0
    queue.session().link.send_nowait(m.Watch())
    await peer.expect(m.Watch)


async def test_a_map_that_is_closed_leaves_nothing_behind(entered: Entered) -> None:
    queue, peer = entered
    results = queue.map(queue.task(double), range(5))
    first = asyncio.ensure_future(anext(results))
    items = (await peer.accept_submit()).items
    peer.send(m.Ended([ended(items[0])]))
    assert await first == 0
    before = len(asyncio.all_tasks())
    await results.aclose()
    assert len(queue.session().endings) == 0
    assert len(asyncio.all_tasks()) == before


async def test_a_refused_item_of_a_map_is_raised_in_its_turn(entered: Entered) -> None:
    queue, peer = entered
    results = queue.map(queue.task(double), range(2))
    first = asyncio.ensure_future(anext(results))
    submit = await peer.expect(m.Submit)
    outcomes = [m.Outcome.ACCEPTED, m.Outcome.REFUSED]
    peer.send(m.Submitted(submit.request, 1, outcomes, [m.ItemRefused(1, "queue_full", "full")]))
    peer.send(m.Ended([ended(submit.items[0])]))
    assert await first == 0
    with pytest.raises(QueueFull):
        await anext(results)


async def test_map_refuses_what_would_be_one_job_or_none(entered: Entered) -> None:
    queue, _ = entered
    task = queue.task(double)
    for window in (0, 1.5, True):
        with pytest.raises(BadOption, match="window"):
            await anext(queue.map(task, [1], window=window))  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="id="):
        await anext(queue.map(task.options(id="one"), [1]))
    with pytest.raises(BadOption, match="task='int'"):
        await anext(queue.map(7, [1]))  # type: ignore[arg-type]


async def test_a_map_across_a_restart_gives_each_result_once(entered: Entered, broker: FakeBroker) -> None:
    queue, peer = entered
    task = queue.task(double)

    async def collect() -> list[int]:
        return [result async for result in queue.map(task, range(6), window=3)]

    collecting = asyncio.ensure_future(collect())
    submit = await peer.accept_submit()
    peer.send(m.Ended([ended(submit.items[0])]))
    await peer.expect(m.Submit)
    await broker.stop()
    await broker.start()
    peer = await broker.welcome()
    again = await peer.accept_submit()
    assert again.items[0].flags == WANT_RESULT | RESEND
    waits = await peer.expect(m.Wait)
    assert waits.jobs == [item.job for item in submit.items[1:]]
    peer.send(m.Ended([ended(item) for item in (*submit.items[1:], *again.items)]))
    await do_all(peer, 2)
    assert await collecting == [0, 2, 4, 6, 8, 10]


# --- looking ---


async def test_a_job_that_was_found_is_awaited_like_any_other(entered: Entered) -> None:
    queue, peer = entered

    async def send(number: int) -> bytes:
        return bytes(number)

    queue.task(send, name=INFO.task)
    getting = asyncio.ensure_future(queue.get(id_text(INFO.id)))
    peer.send(m.JobRecord((await peer.expect(m.GetJob)).request, INFO))
    job: Job[Any] = await getting
    waiting = asyncio.ensure_future(job.result())
    await peer.expect(m.Wait)
    # Read as the task declared here says: bytes, which are packed as text where nobody knows.
    peer.send(m.Ended([m.EndedItem(INFO.id, JobState.SUCCEEDED, pack_body(b"\x00"))]))
    assert await waiting == b"\x00"


async def test_a_job_is_found_by_its_callers_own_id_in_its_lane(entered: Entered) -> None:
    queue, peer = entered
    getting = asyncio.ensure_future(queue.get("invoice-42", queue="mail"))
    asked = await peer.expect(m.GetJob)
    assert asked.job == own_id("default", "mail", "invoice-42")
    peer.send(m.JobRecord(asked.request, INFO))
    assert (await getting).key == asked.job
    with pytest.raises(BadName):
        await queue.get("invoice-42", queue="two words")
    with pytest.raises(JobNotFound, match="for one of your own"):
        await queue.get("invoice-42")


async def test_a_job_that_is_not_known_is_not_found(entered: Entered) -> None:
    queue, peer = entered
    with pytest.raises(JobNotFound):
        await queue.get("invoice 42")
    getting = asyncio.ensure_future(queue.get(id_text(INFO.id)))
    asked = await peer.expect(m.GetJob)
    peer.send(m.Refusal(asked.request, "job_not_found", "no such job"))
    with pytest.raises(JobNotFound):
        await getting


async def test_find_goes_from_page_to_page(entered: Entered) -> None:
    queue, peer = entered

    async def collect() -> list[str]:
        return [info.id async for info in queue.find(state=["dead", "ready"], queue="mail", task="app.send")]

    collecting = asyncio.ensure_future(collect())
    first = await peer.expect(m.FindJobs)
    assert (first.states, first.queue, first.task) == ([JobState.DEAD, JobState.READY], "mail", "app.send")
    peer.send(m.JobPage(first.request, [INFO, INFO], b"page 2"))
    second = await peer.expect(m.FindJobs)
    assert second.after == b"page 2"
    peer.send(m.JobPage(second.request, [INFO]))
    assert len(await collecting) == 3


async def test_find_asks_for_no_more_than_its_limit(entered: Entered) -> None:
    queue, peer = entered

    async def collect() -> int:
        return len([info async for info in queue.find(limit=3)])

    collecting = asyncio.ensure_future(collect())
    first = await peer.expect(m.FindJobs)
    assert (first.limit, first.states) == (3, [])
    peer.send(m.JobPage(first.request, [INFO, INFO], b"more"))
    second = await peer.expect(m.FindJobs)
    assert second.limit == 1
    peer.send(m.JobPage(second.request, [INFO], b"more"))
    assert await collecting == 3


@pytest.mark.parametrize("names", [{"queue": "\udcff"}, {"task": "a b"}])
async def test_find_refuses_a_name_that_nothing_can_have(entered: Entered, names: dict[str, str]) -> None:
    with pytest.raises(BadName):
        await anext(entered[0].find(**names))


async def test_find_names_each_state_once_however_often_it_is_wanted(entered: Entered) -> None:
    queue, peer = entered
    finding = asyncio.ensure_future(anext(queue.find(state=["dead", "ready"] * 10), None))
    asked = await peer.expect(m.FindJobs)
    assert len(asked.states) == 2
    peer.send(m.JobPage(asked.request, []))
    assert await finding is None


async def test_find_refuses_a_state_that_there_is_not(entered: Entered) -> None:
    with pytest.raises(BadOption, match="succeeded"):
        await anext(entered[0].find(state="done"))
    with pytest.raises(
        BadOption, match="state='suspended' cannot be used: it must be one of scheduled, blocked, ready"
    ):
        # Its number is reserved; nothing would ever be found.
        await anext(entered[0].find(state="suspended"))


@pytest.mark.parametrize("limit", [-1, 1.5, True])
async def test_find_refuses_a_limit_that_counts_nothing(entered: Entered, limit: Any) -> None:
    with pytest.raises(BadOption, match="limit"):
        await anext(entered[0].find(limit=limit))


async def test_statistics_come_until_nobody_looks(entered: Entered) -> None:
    queue, peer = entered
    statistics = queue.statistics()
    first = asyncio.ensure_future(anext(statistics))
    await peer.expect(m.Watch)
    peer.send(m.StatisticsUpdate(STATISTICS))
    assert await first == STATISTICS
    await statistics.aclose()
    assert await peer.read() == m.Watch(stop=True)


# --- the end ---


async def test_leaving_ends_every_call_that_waits(broker: FakeBroker) -> None:
    queue = Queue(broker.url)
    task = queue.task(double)
    entering = asyncio.ensure_future(queue.__aenter__())
    peer = await broker.welcome()
    await entering
    calls = [asyncio.ensure_future(call) for call in (queue.submit(task, 1), queue.run(task, 2))]
    calls.append(asyncio.ensure_future(queue.get(id_text(INFO.id))))
    calls.append(asyncio.ensure_future(anext(queue.statistics())))
    await peer.expect(m.GetJob)
    await queue.__aexit__(None, None, None)
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [QueueClosed] * 4


async def test_a_job_may_be_awaited_in_a_later_stay(broker: FakeBroker) -> None:
    queue = Queue(broker.url)
    task = queue.task(double)
    async with AsyncExitStack() as stack:
        entering = asyncio.ensure_future(stack.enter_async_context(queue))
        peer = await broker.welcome()
        await entering
        submitting = asyncio.ensure_future(queue.submit(task, 21))
        (item,) = (await peer.accept_submit()).items
        job = await submitting
        waiting = asyncio.ensure_future(job.result())
        await peer.expect(m.Wait)
    with pytest.raises(QueueClosed):
        await waiting
    with pytest.raises(NotEntered):
        await job
    async with AsyncExitStack() as stack:
        entering = asyncio.ensure_future(stack.enter_async_context(queue))
        peer = await broker.welcome()
        await entering
        waiting = asyncio.ensure_future(job.result())
        await peer.expect(m.Wait)
        peer.send(m.Ended([ended(item)]))
        assert await waiting == 42
