"""What is said to whoever waits for a job at a shell."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess

import pytest
from msgspec import structs

from aioqueue import Queue, Retry, Worker
from aioqueue.cli.waiting import Failures, tell_while_waiting, waits_for
from aioqueue.client.info import JobInfo, friendly
from aioqueue.client.named import NamedTask
from aioqueue.clock import SystemClock
from aioqueue.errors import JobFailed
from aioqueue.model.views import Attempt, Failure, WorkerStatistics
from tests.support.commands import COMMAND, Served, environment
from tests.support.examples import INFO
from tests.support.statistics import queue as queue_of
from tests.support.statistics import statistics

FAILED = Attempt(1, "failed", 1, 2, "web-1", Failure("ValueError", "no stock"))
CRASHED = Attempt(2, "crashed", 3, 4, "web-2")
WORKER = WorkerStatistics(4, "web-1", ["mail"], 60, 60, True, 20)


def job_in(state: str, *attempts: Attempt, due_in_ms: int = 0) -> JobInfo:
    due_ms = SystemClock().now().wall_ms + due_in_ms if due_in_ms else 0
    return friendly(
        structs.replace(
            INFO, state=state, attempts=list(attempts), due_ms=due_ms, failures=len(attempts), blocked=None, unserved=""
        )
    )


def test_each_run_that_ends_badly_is_told_once_and_the_last_of_a_dead_job_by_its_end() -> None:
    failures = Failures()

    (line,) = failures.new_in(job_in("scheduled", FAILED, due_in_ms=3_500))
    assert re.fullmatch(r"run 1 failed on web-1: ValueError: no stock; again in 3\.\d s", line)
    assert failures.new_in(job_in("running", FAILED)) == []
    assert failures.new_in(job_in("ready", FAILED, CRASHED)) == ["run 2 was lost with its worker web-2; again now"]
    assert failures.new_in(job_in("dead", FAILED, CRASHED, structs.replace(FAILED, run=3))) == []
    assert Failures().new_in(job_in("dead", FAILED, structs.replace(FAILED, run=2))) == [
        "run 1 failed on web-1: ValueError: no stock"
    ]


def test_what_a_job_waits_for_is_said_by_its_state() -> None:
    assert re.fullmatch(r"it is due in 59m \d+s", waits_for(job_in("scheduled", due_in_ms=3_599_000), None))
    assert waits_for(job_in("scheduled", FAILED, due_in_ms=50_000), None).startswith("it is tried again in ")
    assert waits_for(job_in("running"), None).endswith(" on worker-1")
    assert waits_for(friendly(structs.replace(INFO, state="running")), None).endswith(
        " on worker-1, whose event loop stands still at app.py:12 in send"
    )
    assert waits_for(job_in("stopping"), None) == "it is stopping"


def test_why_nobody_takes_a_ready_job_is_the_broker_s_own_word() -> None:
    ready = structs.replace(job_in("ready"), unserved="no connected worker of queue mail knows task app.send")
    assert waits_for(ready, None) == (
        "it waits in queue mail: no connected worker of queue mail knows task app.send; "
        "start one with `aioqueue worker MODULE:QUEUE`"
    )


def test_a_ready_job_waits_for_a_worker_or_a_slot() -> None:
    ready = job_in("ready")
    nobody = (
        "it waits in queue mail, from which no connected worker takes jobs; start one with "
        "`aioqueue worker MODULE:QUEUE`"
    )

    assert waits_for(ready, statistics()) == nobody
    assert waits_for(ready, statistics(workers=[structs.replace(WORKER, queues=["other"])])) == nobody
    busy = "60 of 60 slots of its workers are busy"
    for worker in (WORKER, structs.replace(WORKER, queues=[], all_queues=True)):
        assert waits_for(ready, statistics(workers=[worker])) == f"it waits in queue mail; {busy}"
    crowd = statistics(queue_of("mail", ready=1_271), workers=[WORKER])
    assert waits_for(ready, crowd) == f"it waits in queue mail, with 1,270 others; {busy}"
    # Of workers that are not named nothing can be said.
    unnamed = structs.replace(WORKER, queues=["other"], queues_left_out=3)
    assert waits_for(ready, statistics(workers=[unnamed])) == "it waits in queue mail"


async def test_whoever_waits_for_a_job_that_nobody_runs_is_told_so_once(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Queue(shop.url) as queue:
        job = await queue.submit(NamedTask("shop.wait_elsewhere").options(queue="elsewhere"))
        telling = asyncio.create_task(
            tell_while_waiting(queue, job, reasons=True, look_seconds=0.01, patient_seconds=0)
        )
        told = ""
        while not told:
            await asyncio.sleep(0.01)
            told = capsys.readouterr().err
        # It goes on to look, and ends with the job.
        await job.cancel()
        await telling

    assert told.startswith(f"aioqueue: job {job.id} of task shop.wait_elsewhere: it waits in queue elsewhere: ")
    assert told.count("\n") == 1
    assert capsys.readouterr().err == ""


async def test_failures_are_told_as_they_come(shop: Served, capsys: pytest.CaptureFixture[str]) -> None:
    queue = Queue(shop.url)

    @queue.task(name="waiting.fail", queue="waiting", retry=Retry(3, "constant", base=0.3))
    async def fail() -> None:
        raise ValueError("no stock")

    async with queue, Worker(queue, queues=["waiting"], name="web-1"):
        job = await queue.submit(fail)
        telling = asyncio.create_task(
            tell_while_waiting(queue, job, reasons=False, look_seconds=0.01, patient_seconds=0)
        )
        with pytest.raises(JobFailed):
            await job
        await telling

    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("aioqueue: run 1 failed on web-1: ValueError: no stock; again ")
    assert second.startswith("aioqueue: run 2 failed on web-1: ValueError: no stock; again ")


def test_at_a_terminal_the_id_comes_at_once_and_then_what_the_job_waits_for(shop: Served) -> None:
    ours, theirs = os.openpty()
    words = [*COMMAND, "submit", "shop:wait_elsewhere", "--wait", "--url", shop.url]
    with subprocess.Popen(words, cwd=shop.cwd, env=environment(), stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        told = b""
        while b"it waits in queue elsewhere: no worker of queue elsewhere is connected" not in told:
            told += os.read(ours, 1_000)
        process.terminate()
    os.close(ours)

    first, second = told.split(b"\r\n")[:2]
    assert second.startswith(b"aioqueue: job " + first + b" of task shop.wait_elsewhere: ")
