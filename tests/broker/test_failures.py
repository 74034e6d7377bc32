"""The log of a broker that serves others: each failed attempt, and what follows."""

from __future__ import annotations

import logging

import pytest

from aioqueue.broker import failures as room
from aioqueue.core.endings import CRASHES_MAX
from aioqueue.model.bodies import pack_failure
from aioqueue.model.ids import id_text
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.states import JobState
from aioqueue.model.views import Failure
from aioqueue.protocol import messages as m
from tests.broker.conftest import House, Running, Script, item, running

POLICY = RetryPolicy(3, "constant", 200_000, jitter=False)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "aioqueue.broker.failures"
    ]


async def fail(worker: Script, text: str = "no funds", *, retry: bool = True) -> m.Settled:
    [run] = await worker.runs()
    body = pack_failure(Failure("CardError", text, "", retry))
    end = m.SettleItem(run.job, run.fence, m.RunEnd.FAILED, body, retry)
    worker.say(m.Settle(worker.ask(), [end], True))
    return await worker.hear(m.Settled)


async def a_worker(at: Running) -> Script:
    worker = await at.peer(m.Role.WORKER, name="web-1:8203")
    worker.say(m.Capacity(1, ["mail"]))
    return worker


async def test_a_failure_is_told_with_when_it_is_tried_again_and_a_death_with_its_reason(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(house) as at:
        at.broker.log_failures()
        client, worker = await at.peer(), await a_worker(at)
        again, once, never = (item("mail", retry=policy) for policy in (POLICY, RetryPolicy(1), POLICY))
        answers = []
        for job, retry in ((again, True), (once, True), (never, False)):
            await client.submit(job)
            answers.append(await fail(worker, retry=retry))

    [first], [second], [third] = (answer.following for answer in answers)
    assert (first.job, first.state, first.failures, first.attempts) == (again.job, JobState.SCHEDULED, 1, 3)
    assert 100_000 < first.in_ms <= 200_000
    assert second == m.Following(once.job, JobState.DEAD, 1, 1)
    assert third == m.Following(never.job, JobState.DEAD, 1, 3)
    begin = "of task test.task in queue mail failed on web-1:8203: CardError: no funds;"
    assert told(caplog) == [
        ("INFO", f"job {id_text(again.job)} {begin} again in 3 min, attempt 2 of 3"),
        ("WARNING", f"job {id_text(once.job)} {begin} dead: out of attempts (1 of 1)"),
        ("WARNING", f"job {id_text(never.job)} {begin} dead: it is not to be tried again after this error"),
    ]


async def test_what_follows_is_told_to_nobody_who_does_not_ask(house: House) -> None:
    async with running(house) as at:
        client, worker = await at.peer(), await a_worker(at)
        await client.submit(item("mail"))
        [run] = await worker.runs()
        answer = await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.FAILED, pack_failure(Failure("E", "t"))))

    assert answer.following == []


async def test_a_run_that_is_lost_with_its_worker_is_told_until_its_job_is_dead(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job = item("mail")
    async with running(house) as at:
        at.broker.log_failures()
        client = await at.peer()
        await client.submit(job)
        for number in range(CRASHES_MAX):
            secret = bytes([number]) * 16
            worker = await at.peer(m.Role.WORKER, secret, name="web-1:8203")
            worker.say(m.Capacity(1, ["mail"]))
            await worker.runs()
            beats = await at.peer(m.Role.HEARTBEAT, secret)
            beats.say(m.WorkerDied("signal 9", 1))
            await beats.hear(m.Pong)

    begin = f"job {id_text(job.job)} of task test.task in queue mail was lost with its worker web-1:8203, which died or"
    assert told(caplog) == [
        ("INFO", f"{begin} was cut off; again at once, which spends no attempt (1 of 3)"),
        ("INFO", f"{begin} was cut off; again at once, which spends no attempt (2 of 3)"),
        ("WARNING", f"{begin} was cut off; dead: 3 of its runs were lost so"),
    ]


async def test_in_a_storm_lines_are_left_out_and_counted(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(room, "LINES_A_SECOND", 1)
    async with running(house) as at:
        client, worker = await at.peer(), await a_worker(at)
        # It begins to count in its first round, which is not awaited here: so the second is one for all of these.
        at.broker.log_failures()
        for _ in range(3):
            await client.submit(item("mail", retry=RetryPolicy(1)))
            await fail(worker, "x" * 1_000)
        rounds = at.broker.services.ground.every(0.1)
        while len(told(caplog)) < 2:
            await anext(rounds)

    (_, line), *rest = told(caplog)
    assert len(line) < 500
    left_out = [text for _, text in rest if text.endswith(" more failed in the last second")]
    assert left_out
    # How many seconds it took is up to the machine.
    assert 0 < sum(int(text.split()[0]) for text in left_out) <= 2
