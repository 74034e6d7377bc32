"""Calls while the broker is killed, stopped or behind a network that holds what is said: they end, and tell the truth.

Broker and worker are those that users run.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aioqueue import BrokerUnavailable, DeadlineExceeded, Job, JobNotFound, OutcomeUnknown, Queue
from aioqueue.protocol import messages as m
from tests.support.logged_app import bear, step
from tests.support.patience import eventually
from tests.support.programs import Bell, BrokerProgram, WorkerProgram
from tests.support.proxy import HOLE, Proxy, Toward

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[BrokerProgram]:
    program = BrokerProgram(tmp_path, session_ttl="20s")
    await program.start()
    yield program
    await program.end()


async def ids_in(queue: Queue) -> set[str]:
    return {info.id async for info in queue.find()}


async def test_nothing_that_was_given_up_while_the_broker_was_dead_is_there_when_it_is_back(
    broker: BrokerProgram,
) -> None:
    async with Queue(broker.url, timeout=None) as queue:
        before = await queue.submit(step, 1)
        broker.kill()
        await broker.ended()
        await eventually(lambda: not queue.health().connected)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await queue.submit(step, 2)
        hasty = queue.using(timeout=0.1)
        with pytest.raises(BrokerUnavailable, match=re.escape(f"no broker answers at {broker.url} (")) as caught:
            await hasty.submit(step, 3)
        assert not caught.value.sent
        with pytest.raises(BrokerUnavailable, match="the submit_many was not sent, and will not be"):
            await hasty.submit_many(step.call(number) for number in range(20_000))
        with pytest.raises(BrokerUnavailable, match="the cancel of job"):
            await as_of(hasty, before).cancel()
        waiting = asyncio.ensure_future(queue.submit(step, 4))
        await broker.start()
        after = await waiting
        assert await ids_in(queue) == {before.id, after.id}
        assert (await before.info()).state == "ready"


def as_of(queue: Queue, job: Job[Any]) -> Job[Any]:
    """The same job, for callers of this queue."""
    return Job(queue.session, job.key, step.signature)


async def test_what_a_stopped_broker_was_sent_may_have_been_accepted_and_can_be_looked_for(
    broker: BrokerProgram,
) -> None:
    async with Queue(broker.url, timeout="60s") as queue:
        hasty = queue.using(timeout=0.2)
        job = await queue.submit(step, 1)
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            with pytest.raises(OutcomeUnknown) as caught:
                await hasty.submit(step, 2)
            with pytest.raises(DeadlineExceeded):
                await hasty.get(job.id)
            with pytest.raises(OutcomeUnknown, match="asking again does no harm"):
                await as_of(hasty, job).cancel()
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        # It lay in the broker's socket.
        assert (await (await queue.get(caught.value.job)).info()).state == "ready"
        assert await job.cancel() == "cancelled"
        assert await ids_in(queue) == {job.id, caught.value.job}


@pytest.mark.parametrize("reset", [True, False])
async def test_what_the_broker_says_of_a_job_whose_outcome_was_unknown_is_so_for_ever(
    tmp_path: Path, reset: bool
) -> None:
    broker = BrokerProgram(tmp_path, session_ttl="1s")
    await broker.start()
    try:
        async with Proxy(broker.port) as proxy, Queue(proxy.url, timeout="60s") as queue:
            for _ in range(5):
                proxy.spoil(HOLE, toward=[Toward.BROKER])
                with pytest.raises(OutcomeUnknown) as caught:
                    await queue.using(timeout=0.1).submit(step, 1)
                asking = asyncio.ensure_future(queue.get(caught.value.job))
                if reset:
                    proxy.reset(m.Role.CLIENT)
                await eventually(lambda: not queue.health().connected)
                # What was said into the hole arrives now, beside what is said over a newer connection.
                proxy.clear()
                try:
                    await asking
                    known = True
                except JobNotFound:
                    known = False
                await queue.submit(step, 2)
                assert (caught.value.job in await ids_in(queue)) is known
    finally:
        await broker.end()


async def test_a_running_parent_outlives_an_outage_that_is_longer_than_its_queues_timeout(
    broker: BrokerProgram, tmp_path: Path
) -> None:
    bell = Bell(tmp_path / "bell")
    await bell.start()
    worker = WorkerProgram(tmp_path, broker.url, grace="5s", concurrency=2, bell=bell.path)
    await worker.start()
    try:
        async with Queue(broker.url, timeout=None) as queue:
            parent = await queue.submit(bear.options(retry=1), 21)
            rung = await bell.next()
            broker.kill()
            await broker.ended()
            await eventually(lambda: "lost the broker" in (tmp_path / "worker.err").read_text())
            rung.go()
            # The outage itself is what is tested: its queue's timeout is a fifth of that.
            await asyncio.sleep(1.0)
            await broker.start()
            assert await parent.result(60) == 42
            info = await parent.info()
            assert (info.runs, info.failures, info.crashes) == (1, 0, 0)
        assert await worker.stop() == 0
    finally:
        await worker.end()
        await bell.stop()


async def test_a_program_and_a_worker_that_start_without_a_broker_say_the_same(
    broker: BrokerProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.terminate()
    await broker.ended()
    monkeypatch.setattr("aioqueue.client.connecting.CONNECT_SECONDS", 0.5)
    with pytest.raises(BrokerUnavailable) as caught:
        await Queue(broker.url).__aenter__()
    assert str(caught.value) == f"no broker answers at {broker.url}: connection refused"
    worker = WorkerProgram(tmp_path, broker.url, grace="5s", concurrency=2)
    await worker.start()
    try:
        log = tmp_path / "worker.err"
        await eventually(lambda: f"{caught.value}; trying again" in log.read_text())
        # So does a program that does not wait for it, with its first call.
        async with Queue(broker.url, lazy=True, timeout="60s") as queue:
            with pytest.raises(BrokerUnavailable, match=re.escape(f"{broker.url} (connection refused), for")):
                await queue.using(timeout=0.1).submit(step, 1)
            running = asyncio.ensure_future(queue.run(step, 21))
            await broker.start()
            assert await running == 42
        assert await worker.stop() == 0
    finally:
        await worker.end()
