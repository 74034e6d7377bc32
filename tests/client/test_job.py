from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

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
from tests.support.commands import PATIENCE_SECONDS, environment
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


def test_a_failed_job_that_nobody_catches_shows_the_traceback_of_its_task_wherever_it_went() -> None:
    with pytest.raises(JobFailed) as caught:
        result_of(DEAD, NamedTask("shop.count"))
    for error in (caught.value, copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        shown = "".join(traceback.format_exception(error))
        assert shown.endswith("no apples\n\nThe task's own traceback, from its worker:\n\nTraceback: …\n\n")
    nothing = JobFailed(job=ID, task="shop.count", type="ProcessDied", text="", traceback="")
    assert not hasattr(nothing, "__notes__")


FAILING = """
import asyncio
from aioqueue import Context, Queue

queue = Queue("memory:")

@queue.task(retry=1)
async def charge(rate: dict) -> int:
    return 100 * rate["usd"]

@queue.task(retry=1)
async def order(context: Context) -> int:
    return await (await context.submit(charge, {}))

async def main(name):
    async with queue:
        if name == "map":
            return [each async for each in queue.map(charge, [{}])]
        if name == "submit":
            return await (await queue.submit(charge, {}))
        if name == "result":
            return await (await queue.submit(charge, {})).result(60)
        return await (queue.run(order) if name == "order" else queue.run(charge, {}))
"""


def shown_by(folder: Path, *command: str) -> str:
    ended = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment(), capture_output=True, text=True, check=False,
        timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert ended.returncode == 1, ended
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("how", ["run", "submit", "map", "result", "order"])
def test_a_script_that_catches_no_failed_job_ends_with_the_line_of_the_task(tmp_path: Path, how: str) -> None:
    (tmp_path / "script.py").write_text(f"{FAILING}\nasyncio.run(main({how!r}))\n")

    told, _, own = shown_by(tmp_path, "script.py").partition("The task's own traceback, from its worker:")

    assert "errors.JobFailed: job " in told
    assert 'return 100 * rate["usd"]' in own
    assert own.rstrip().endswith("KeyError: 'usd'")
    assert "aioqueue/" not in own
    assert "EndedItem" not in told


def test_a_test_that_catches_no_failed_job_shows_no_frame_and_no_message_of_this_package(tmp_path: Path) -> None:
    tests = "".join(
        f"def test_{how}() -> None:\n    asyncio.run(main({how!r}))\n\n"
        for how in ("run", "submit", "map", "result", "order")
    )
    (tmp_path / "test_shop.py").write_text(f"{FAILING}\n{tests}")
    # An empty configuration, or pytest would look for one in the folders above.
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    report = shown_by(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:logging", "--showlocals")

    assert "5 failed" in report
    assert report.count('return 100 * rate["usd"]') >= 5
    frames = [line for line in report.splitlines() if "aioqueue/" in line and "Error" not in line]
    assert frames == []
    for part in ("EndedItem", "b'\\x01", "result_of"):
        assert part not in report
