from __future__ import annotations

import asyncio

import pytest

from aioqueue import Job, Queue
from aioqueue.client.job import result_of
from aioqueue.client.named import NamedTask
from aioqueue.errors import (
    ArchiveFailed,
    BadResult,
    DeadlineExceeded,
    JobCancelled,
    JobError,
    JobFailed,
    JobNotFound,
    ResultExpired,
)
from aioqueue.model.bodies import pack_body, pack_failure
from aioqueue.model.ids import id_text
from aioqueue.model.states import JobState
from aioqueue.model.views import Failure
from aioqueue.protocol import messages as m
from tests.support.examples import INFO
from tests.support.fake_broker import FakeBroker, FakePeer

Entered = tuple[Queue, FakePeer]
KEY = INFO.id
ID = id_text(KEY)
SUCCEEDED = m.EndedItem(KEY, JobState.SUCCEEDED, pack_body(42))
DEAD = m.EndedItem(KEY, JobState.DEAD, pack_failure(Failure("shop.OutOfStock", "no apples", "Traceback: …")))


@pytest.fixture
def job(entered: Entered) -> Job[int]:
    return Job(entered[0].session, KEY, NamedTask("shop.count"))


async def test_a_job_gives_its_result(entered: Entered, job: Job[int]) -> None:
    waiting = asyncio.ensure_future(job.result())
    assert (await entered[1].expect(m.Wait)).jobs == [KEY]
    entered[1].send(m.Ended([SUCCEEDED]))
    assert await waiting == 42


async def test_a_result_that_came_once_is_not_asked_for_again(entered: Entered, job: Job[int]) -> None:
    _, peer = entered
    waiting = asyncio.gather(job.result(), job.result())
    await peer.expect(m.Wait)
    peer.send(m.Ended([SUCCEEDED]))
    assert await waiting == [42, 42]
    assert await job == 42


async def test_a_result_that_does_not_come_in_time_is_a_timeout(entered: Entered, job: Job[int]) -> None:
    with pytest.raises(TimeoutError) as caught:
        await job.result(timeout=0.01)
    assert isinstance(caught.value, DeadlineExceeded)
    assert ID in str(caught.value)
    assert len(entered[0].session().endings) == 0


async def test_a_result_can_be_waited_for_again_after_a_timeout(entered: Entered, job: Job[int]) -> None:
    _, peer = entered
    with pytest.raises(DeadlineExceeded):
        await job.result(timeout=0.01)
    await peer.expect(m.Wait)
    waiting = asyncio.ensure_future(job.result(timeout="60s"))
    await peer.expect(m.Wait)
    peer.send(m.Ended([SUCCEEDED]))
    assert await waiting == 42


async def test_a_job_outlives_the_loss_of_its_connection(entered: Entered, job: Job[int], broker: FakeBroker) -> None:
    _, peer = entered
    waiting = asyncio.ensure_future(job.result())
    await peer.expect(m.Wait)
    peer.abort()
    peer = await broker.welcome()
    await peer.expect(m.Wait)
    peer.send(m.Ended([SUCCEEDED]))
    assert await waiting == 42


async def test_after_a_retry_the_same_job_waits_for_its_new_end(entered: Entered, job: Job[int]) -> None:
    _, peer = entered
    waiting = asyncio.ensure_future(job.result())
    await peer.expect(m.Wait)
    peer.send(m.Ended([DEAD]))
    with pytest.raises(JobFailed):
        await waiting
    retrying = asyncio.ensure_future(job.retry())
    peer.send(m.JobRecord((await peer.expect(m.GetJob)).request, INFO))
    asked = await peer.expect(m.RetryJob)
    peer.send(m.Requeued(asked.request, 1))
    await retrying
    waiting = asyncio.ensure_future(job.result())
    await peer.expect(m.Wait)
    peer.send(m.Ended([SUCCEEDED]))
    assert await waiting == 42


async def test_info_and_cancel_ask_the_broker(entered: Entered, job: Job[int]) -> None:
    _, peer = entered
    asking = asyncio.ensure_future(job.info())
    peer.send(m.JobRecord((await peer.expect(m.GetJob)).request, INFO))
    assert (await asking).id == ID
    cancelling = asyncio.ensure_future(job.cancel("sold out"))
    asked = await peer.expect(m.CancelJob)
    peer.send(m.Cancelled(asked.request, "finished"))
    assert await cancelling == "finished"
    assert (asked.job, asked.reason) == (KEY, "sold out")


def test_a_job_is_printed_with_its_id_and_task() -> None:
    job: Job[int] = Job(Queue("memory:").session, KEY, NamedTask("shop.count"))
    assert job.id == ID
    assert job.task == "shop.count"
    assert repr(job) == f"<Job {ID} of shop.count>"


def test_two_objects_of_one_job_are_equal() -> None:
    session = Queue("memory:").session
    one: Job[int] = Job(session, KEY, NamedTask("shop.count"))
    other: Job[int] = Job(session, KEY, NamedTask("shop.count"))
    assert one == other
    assert len({one, other}) == 1
    assert one != Job(session, bytes(16), NamedTask("shop.count"))
    assert one != ID


def test_a_failure_is_told_as_data() -> None:
    with pytest.raises(JobFailed, match=r"shop\.count failed: shop\.OutOfStock: no apples") as caught:
        result_of(DEAD, NamedTask("shop.count"))
    assert (caught.value.type, caught.value.text) == ("shop.OutOfStock", "no apples")
    assert caught.value.traceback == "Traceback: …"
    assert caught.value.job == ID


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (m.EndedItem(KEY, JobState.CANCELLED), JobCancelled),
        (m.EndedItem(KEY, 0, b"", "job_not_found"), JobNotFound),
        (m.EndedItem(KEY, 0, b"", "result_expired"), ResultExpired),
        (m.EndedItem(KEY, 0, b"", "archive_failed"), ArchiveFailed),
        (m.EndedItem(KEY, JobState.DEAD, b"\x01\xc1"), JobFailed),
        (m.EndedItem(KEY, JobState.EXPIRED), JobError),
        (m.EndedItem(KEY, 200), JobError),
        (m.EndedItem(KEY, JobState.SUCCEEDED, b"\x09?"), BadResult),
    ],
)
def test_every_other_end_is_an_error_that_names_the_job(item: m.EndedItem, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        result_of(item, NamedTask("shop.count"))
    assert ID in str(caught.value) or kind is BadResult
