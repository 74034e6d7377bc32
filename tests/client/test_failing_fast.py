"""What a program meets while its broker is away: calls that end in time, or at once, and no job that runs later."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aioqueue import BrokerUnavailable, DeadlineExceeded, OutcomeUnknown, Queue
from aioqueue.client.children import Family
from aioqueue.errors import BadOption, JournalError, NotEntered, WrongNamespace
from aioqueue.model.ids import id_text
from aioqueue.model.states import JobState
from aioqueue.protocol import messages as m
from tests.support.fake_broker import FakeBroker, FakePeer
from tests.support.patience import eventually

Entered = tuple[Queue, FakePeer]


async def double(number: int) -> int:
    return 2 * number


@pytest.fixture
async def absent(broker: FakeBroker, stack: AsyncExitStack) -> Queue:
    """A queue whose broker went away."""
    queue = Queue(broker.url)
    entering = asyncio.ensure_future(stack.enter_async_context(queue))
    await broker.welcome()
    await entering
    await broker.stop()
    await eventually(lambda: not queue.health().connected)
    return queue


async def nothing_more(queue: Queue, broker: FakeBroker) -> None:
    """The broker comes back, and nothing is said to it."""
    await broker.start()
    peer = await broker.welcome(fresh=False)
    await eventually(lambda: queue.health().connected)
    queue.session().link.send_nowait(m.Watch())
    await peer.expect(m.Watch)


@pytest.mark.parametrize("timeout", [0, "soon", -1, True])
def test_a_timeout_that_cannot_be_is_refused_where_it_is_written(timeout: Any) -> None:
    with pytest.raises(BadOption, match="timeout"):
        Queue("memory:", timeout=timeout)
    with pytest.raises(BadOption, match="timeout"):
        Queue("memory:").using(timeout=timeout)


def test_lazy_is_yes_or_no() -> None:
    with pytest.raises(BadOption, match="lazy"):
        Queue("memory:", lazy="no")  # type: ignore[arg-type]


async def test_a_submit_that_was_cancelled_while_the_broker_was_away_never_runs(
    absent: Queue, broker: FakeBroker
) -> None:
    task = absent.task(double)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await absent.submit(task, 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await absent.submit_many([task.call(1), task.call(2)])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await absent.run(task, 1)
    await nothing_more(absent, broker)


async def test_a_call_in_an_outage_longer_than_its_timeout_fails_at_once(absent: Queue, broker: FakeBroker) -> None:
    task = absent.task(double)
    hasty = absent.using(timeout=0.05)
    with pytest.raises(BrokerUnavailable, match="the job was not sent, and will not be"):
        await hasty.submit(task, 1)
    turns = 0
    done = asyncio.Event()

    async def count() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    for _ in range(20):
        with pytest.raises(BrokerUnavailable):
            await hasty.submit(task, 1)
        with pytest.raises(DeadlineExceeded):
            await hasty.get(id_text(bytes(16)))
    done.set()
    await counting
    # Nobody waited: each of the forty came to its end in some turns of the event loop.
    assert turns < 40 * 100
    await nothing_more(absent, broker)


async def test_a_restart_that_is_shorter_than_the_timeout_goes_unseen(absent: Queue, broker: FakeBroker) -> None:
    submitting = asyncio.ensure_future(absent.submit(absent.task(double), 1))
    await asyncio.sleep(0)
    await broker.start()
    peer = await broker.welcome(fresh=False)
    await peer.accept_submit()
    assert (await submitting).task.endswith("double")


async def test_a_view_has_the_queues_connection_and_its_own_timeout(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    hasty = queue.using(timeout=0.05)
    assert isinstance(hasty, Queue)
    assert (hasty.url, hasty.namespace, hasty.queues()) == (queue.url, queue.namespace, queue.queues())
    assert hasty.session().link is queue.session().link
    with pytest.raises(OutcomeUnknown):
        await hasty.submit(task, 1)
    await peer.expect(m.Submit)
    submitting = asyncio.ensure_future(queue.submit(task, 2))
    await peer.accept_submit()
    job = await submitting
    # What it gives has its timeout too.
    submitting = asyncio.ensure_future(hasty.submit(task, 3))
    await peer.accept_submit()
    with pytest.raises(DeadlineExceeded):
        await (await submitting).info()
    await peer.expect(m.GetJob)
    asking = asyncio.ensure_future(job.info())
    await peer.expect(m.GetJob)
    assert not asking.done()
    asking.cancel()


async def test_a_view_that_was_made_before_the_queue_is_entered_works_in_each_of_its_stays(broker: FakeBroker) -> None:
    queue = Queue(broker.url)
    task = queue.task(double)
    patient = queue.using(timeout="60s")
    with pytest.raises(NotEntered):
        await patient.submit(task, 1)
    for _ in range(2):
        entering = asyncio.ensure_future(queue.__aenter__())
        peer = await broker.welcome()
        await entering
        submitting = asyncio.ensure_future(patient.submit(task, 1))
        await peer.accept_submit()
        await submitting
        await queue.__aexit__(None, None, None)


async def test_a_view_can_be_entered_in_the_place_of_its_queue(broker: FakeBroker) -> None:
    queue = Queue("tcp://127.0.0.1:1")
    view = queue.using(timeout="5s")
    view.url = broker.url
    assert queue.url == broker.url
    entering = asyncio.ensure_future(view.__aenter__())
    await broker.welcome()
    assert await entering is view
    assert queue.health() == view.health()
    assert queue.session().patience.seconds == 30.0
    await view.__aexit__(None, None, None)
    with pytest.raises(NotEntered):
        queue.session()


async def test_health_tells_how_the_queue_stands_with_its_broker(entered: Entered, broker: FakeBroker) -> None:
    queue, peer = entered
    began = datetime.now(UTC)
    assert (queue.health().connected, queue.health().trouble) == (True, "")
    submitting = [asyncio.ensure_future(queue.submit(queue.task(double), 1))]
    await peer.expect(m.Submit)
    await broker.stop()
    await eventually(lambda: not queue.health().connected)
    submitting.append(asyncio.ensure_future(queue.get(id_text(bytes(16)))))
    await asyncio.sleep(0)
    health = queue.health()
    assert (health.waiting, health.unanswered) == (1, 1)
    assert health.trouble
    assert health.since >= began.replace(microsecond=began.microsecond // 1000 * 1000)
    for each in submitting:
        each.cancel()
    await asyncio.wait(submitting)
    assert queue.health()[3:] == (0, 0)


async def test_ready_waits_for_the_broker_and_says_why_it_is_not_there(absent: Queue, broker: FakeBroker) -> None:
    with pytest.raises(BrokerUnavailable, match=broker.url):
        await absent.ready(0.05)
    waiting = asyncio.ensure_future(absent.ready())
    await broker.start()
    await broker.welcome(fresh=False)
    await waiting
    await absent.ready("1s")


async def test_a_lazy_queue_is_entered_without_a_broker_and_finds_it_when_it_comes(broker: FakeBroker) -> None:
    await broker.stop()
    async with Queue(broker.url, lazy=True, timeout="60s") as queue:
        assert not queue.health().connected
        with pytest.raises(BrokerUnavailable, match="the job was not sent"):
            await queue.using(timeout=0.02).submit(queue.task(double), 1)
        submitting = asyncio.ensure_future(queue.submit(queue.task(double), 2))
        await broker.start()
        peer = await broker.welcome()
        assert len((await peer.accept_submit()).items) == 1
        await submitting
        await queue.ready(60)


async def test_what_no_waiting_heals_is_an_error_line_and_the_answer_of_the_next_call(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with Queue(broker.url, lazy=True) as queue:
        peer = await broker.accept()
        await peer.expect(m.Hello)
        peer.send(m.Refusal(0, "wrong_namespace", "not yours"))
        with pytest.raises(WrongNamespace):
            await queue.ready(60)
        with pytest.raises(WrongNamespace):
            await queue.submit(queue.task(double), 1)
        assert (queue.health().connected, queue.health().trouble) == (False, "not yours")
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == ["not yours"]


async def test_a_lazy_queue_opens_its_file_beside_what_comes_next(tmp_path: Path) -> None:
    async with Queue(f"sqlite:{tmp_path / 'jobs.db'}", lazy=True) as queue:
        assert await queue.run(queue.task(double), 21) == 42
    (tmp_path / "text.db").write_text("no journal at all " * 100)
    async with Queue(f"sqlite:{tmp_path / 'text.db'}", lazy=True, worker=False) as queue:
        with pytest.raises(JournalError):
            await queue.submit(queue.task(double), 1)


async def test_a_running_job_submits_across_an_outage_that_is_longer_than_the_timeout(
    absent: Queue, broker: FakeBroker
) -> None:
    task = absent.task(double)
    hasty = absent.using(timeout=0.02)
    child = asyncio.ensure_future(hasty.submit_child(Family(bytes(16)), task, (1,), {}))
    for _ in range(3):
        with pytest.raises(BrokerUnavailable):
            await hasty.submit(task, 1)
    assert not child.done()
    await broker.start()
    peer = await broker.welcome(fresh=False)
    submit = await peer.accept_submit()
    assert (await child).key == submit.items[0].job


async def test_a_map_that_is_closed_leaves_what_was_sent_and_withdraws_what_was_not(
    entered: Entered, broker: FakeBroker
) -> None:
    queue, peer = entered
    task = queue.task(double)
    sent: list[m.SubmitItem] = []
    results = queue.map(task, range(10), window=3)
    first = asyncio.ensure_future(anext(results))
    while len(sent) < 3:
        sent += (await peer.accept_submit()).items
    peer.send(m.Ended([m.EndedItem(sent[0].job, int(JobState.SUCCEEDED), b"\x01\x05")]))
    assert await first == 5
    await broker.stop()
    await eventually(lambda: not queue.health().connected)
    # It submits a fourth, which is not sent, and waits for the second.
    second = asyncio.ensure_future(anext(results))
    await asyncio.sleep(0)
    await eventually(lambda: queue.health().waiting == 1)
    second.cancel()
    await asyncio.wait([second])
    await results.aclose()
    await nothing_more(queue, broker)


async def test_a_run_is_bounded_by_the_timeout_until_its_job_is_accepted_and_then_waits_for_the_job(
    entered: Entered,
) -> None:
    queue, peer = entered
    task = queue.task(double)
    hasty = queue.using(0.1)
    with pytest.raises(OutcomeUnknown) as caught:
        await hasty.run(task, 1)
    submit = await peer.expect(m.Submit)
    assert caught.value.job == id_text(submit.items[0].job)
    running = asyncio.ensure_future(queue.using(0.5).run(task, 2))
    job = (await peer.accept_submit()).items[0].job
    # Longer than the timeout: it is the job that is waited for now.
    await asyncio.wait([running], timeout=1.0)
    assert not running.done()
    peer.send(m.Ended([m.EndedItem(job, int(JobState.SUCCEEDED), b"\x01\x04")]))
    assert await running == 4


async def test_a_result_is_waited_for_across_an_outage_and_its_own_timeout_tells_of_it(
    entered: Entered, broker: FakeBroker
) -> None:
    queue, peer = entered
    submitting = asyncio.ensure_future(queue.using(timeout=0.5).submit(queue.task(double), 1))
    submit = await peer.accept_submit()
    job = await submitting
    await broker.stop()
    await eventually(lambda: not queue.health().connected)
    with pytest.raises(DeadlineExceeded, match=r"was not answered within 1 s; the broker has been away for \d"):
        await job.result(timeout=1)
    waiting = asyncio.ensure_future(job.result())
    await broker.start()
    peer = await broker.welcome(fresh=False)
    assert submit.items[0].job in (await peer.expect(m.Wait)).jobs
    peer.send(m.Ended([m.EndedItem(submit.items[0].job, int(JobState.SUCCEEDED), b"\x01\x02")]))
    assert await waiting == 2


async def test_nobody_who_listens_is_named_when_entering_and_by_every_call_alike() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        async with Queue(url, lazy=True, timeout=0.3) as queue:
            with pytest.raises(BrokerUnavailable) as caught:
                await queue.submit(queue.task(double), 1)
    assert str(caught.value).startswith(f"no broker answers at {url} (connection refused), for 0.")
