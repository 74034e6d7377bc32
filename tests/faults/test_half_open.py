"""Connections that stand and carry nothing, in one direction or in both, are noticed by both ends and made again.

A broker that was stopped is no such thing: it says nothing for a while, and blames nobody for it.

Broker and worker are those that users run; a proxy makes the hole. Nothing may be lost, doubled, or counted as a crash.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from aioqueue import Job, Queue
from aioqueue.model.views import WorkerStatistics
from aioqueue.protocol import messages as m
from tests.faults.ledger import read_journal
from tests.support.logged_app import hold, step
from tests.support.patience import eventually
from tests.support.programs import Bell, BrokerProgram, WorkerProgram
from tests.support.proxy import BOTH, HOLE, Proxy, Toward

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ONE_WAY: Final = [
    pytest.param([Toward.BROKER], id="nothing comes from the peer"),
    pytest.param([Toward.PEER], id="nothing comes from the broker"),
]
HOLES: Final = [*ONE_WAY, pytest.param(BOTH, id="nothing passes")]


class Street:
    """A broker, a worker behind one proxy, and clients behind another."""

    def __init__(self, folder: Path, broker: BrokerProgram, workers: Proxy, clients: Proxy, bell: Bell) -> None:
        self.folder, self.broker, self.workers, self.clients, self.bell = folder, broker, workers, clients, bell

    def count(self, program: str, pattern: str) -> int:
        """How often the log of a program says this."""
        return len(re.findall(pattern, (self.folder / f"{program}.err").read_text()))

    async def until(self, queue: Queue, so: Callable[[WorkerStatistics], bool]) -> None:
        """Wait until the broker says this of its worker."""
        async with aclosing(queue.statistics()) as updates:
            async for statistics in updates:
                if any(map(so, statistics.workers)):
                    return

    async def held(self, queue: Queue) -> tuple[Job[Any], Any]:
        job = await queue.submit(hold, 21)
        rung = await self.bell.next()
        assert (rung.job, rung.attempt, rung.crashes) == (job.id, 1, 0)
        return job, rung


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def street(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Street]:
    folder = tmp_path_factory.mktemp("street")
    async with AsyncExitStack() as stack:
        broker = BrokerProgram(folder, session_ttl="1s")
        await broker.start()
        stack.push_async_callback(broker.end)
        workers = await stack.enter_async_context(Proxy(broker.port))
        clients = await stack.enter_async_context(Proxy(broker.port))
        bell = Bell(folder / "bell")
        await bell.start()
        stack.push_async_callback(bell.stop)
        worker = WorkerProgram(folder, workers.url, grace="5s", concurrency=2, bell=bell.path)
        await worker.start()
        stack.push_async_callback(worker.end)
        yield Street(folder, broker, workers, clients, bell)
        assert await worker.stop() == 0
        broker.terminate()
        assert await broker.ended() == 0
        evidence = await read_journal(broker.journal)
        assert (evidence.problems, evidence.living) == ([], {})


async def assert_ran_once(job: Job[Any]) -> None:
    info = await job.info()
    assert (info.state, info.runs, info.failures, info.crashes) == ("succeeded", 1, 0, 0)


@pytest.mark.parametrize("toward", ONE_WAY)
async def test_a_worker_whose_data_is_stuck_while_its_heartbeats_pass_is_noticed_by_both_ends(
    street: Street, toward: Collection[Toward]
) -> None:
    closed = "nothing came for 1000 ms: the connection is closed"
    lost = "lost the broker at"
    async with Queue(street.broker.url) as queue:
        job, rung = await street.held(queue)
        seen, noticed = street.count("broker", closed), street.count("worker", lost)
        street.workers.spoil(HOLE, toward=toward, roles=[m.Role.WORKER])
        await street.until(queue, lambda worker: worker.running == 1 and not worker.connected)
        # The worker notices by itself, or is told by the broker that did.
        await eventually(lambda: street.count("worker", lost) > noticed)
        if toward != [Toward.PEER]:
            assert street.count("broker", closed) > seen
        street.workers.clear()
        await street.until(queue, lambda worker: worker.connected and worker.slots == 2)
        assert await queue.run(step, 4) == 8
        rung.go()
        assert await job.result(60) == 42
        await assert_ran_once(job)


@pytest.mark.parametrize("toward", ONE_WAY)
async def test_heartbeats_that_are_stuck_while_the_data_passes_are_noticed_and_sent_again(
    street: Street, toward: Collection[Toward]
) -> None:
    async with Queue(street.broker.url) as queue:
        job, rung = await street.held(queue)
        noticed = street.count("worker", "heartbeats do not reach")
        street.workers.spoil(HOLE, toward=toward, roles=[m.Role.HEARTBEAT])
        await eventually(lambda: street.count("worker", "heartbeats do not reach") > noticed)
        beat = street.workers.passing(m.Beat, m.Role.HEARTBEAT)
        street.workers.clear()
        await beat
        # That one may have been in the hole, of a connection that is lost: the outage is over when more of them come.
        for _ in range(2):
            await street.workers.passing(m.Beat, m.Role.HEARTBEAT)
        rung.go()
        assert await job.result(60) == 42
        await assert_ran_once(job)


@pytest.mark.parametrize("toward", HOLES)
async def test_a_client_in_a_hole_connects_again_and_all_its_calls_end(
    street: Street, toward: Collection[Toward]
) -> None:
    async with Queue(street.clients.url) as queue:
        job = await queue.submit(step, 1)
        assert await job == 2
        street.clients.spoil(HOLE, toward=toward)
        submitting = asyncio.create_task(queue.submit(step, 21))
        asking = asyncio.create_task(job.info())
        waiting = asyncio.create_task(job.result())
        link = queue.session().link
        await eventually(lambda: not link.connected)
        street.clients.clear()
        # What was said into the hole arrives now, beside what is said again.
        again = await submitting
        assert await again == 42
        assert (await asking).state == "succeeded"
        assert await waiting == 2
        await assert_ran_once(again)


async def test_an_idle_client_notices_before_its_next_call(street: Street) -> None:
    async with Queue(street.clients.url) as queue:
        street.clients.spoil(HOLE)
        link = queue.session().link
        await eventually(lambda: not link.connected)
        street.clients.clear()
        assert await queue.run(step, 21) == 42


async def test_statistics_that_flow_do_not_hide_that_the_broker_hears_nothing(street: Street) -> None:
    """The broker speaks every second by itself; only it can tell that nothing reaches it."""
    async with Queue(street.clients.url) as queue, aclosing(queue.statistics()) as updates:
        await anext(updates)
        link = queue.session().link
        street.clients.spoil(HOLE, toward=[Toward.BROKER])
        await eventually(lambda: not link.connected)
        street.clients.clear()
        await anext(updates)
        assert await queue.run(step, 21) == 42


async def test_a_busy_broker_that_was_stopped_for_longer_than_a_ttl_blames_nobody(street: Street) -> None:
    async with Queue(street.broker.url) as queue, aclosing(queue.statistics()) as updates:
        job, rung = await street.held(queue)
        before = {worker.session for worker in (await anext(updates)).workers}
        over = asyncio.Event()

        async def submit() -> int:
            number = 0
            while not over.is_set():
                number += await queue.run(step, 1)
            return number

        busy = [asyncio.create_task(submit()) for _ in range(20)]
        for _ in range(2):
            await queue.run(step, 1)
            os.kill(street.broker.pid, signal.SIGSTOP)
            # The stop itself is what is tested; nothing tells of its end.
            await asyncio.sleep(1.5)
            os.kill(street.broker.pid, signal.SIGCONT)
        await queue.run(step, 1)
        over.set()
        assert all(await asyncio.gather(*busy))
        assert {worker.session for worker in (await anext(updates)).workers} == before
        rung.go()
        assert await job.result(60) == 42
        await assert_ran_once(job)
