"""A network that is gone between a worker and the broker: its jobs pass on, and what it says of them comes too late."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from aioqueue import Queue, Worker
from tests.support.programs import BrokerProgram
from tests.support.proxy import HOLE, Proxy

TTL_SECONDS = 1.0


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("on_partition", ["stop", "run"])
async def test_a_job_passes_on_and_the_first_worker_s_word_is_refused(
    tmp_path: Path, on_partition: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "aioqueue.worker.settles")
    begun, may_end = [asyncio.Event(), asyncio.Event()], [asyncio.Event(), asyncio.Event()]
    cancelled = asyncio.Event()

    def app(url: str, number: int) -> Queue:
        queue = Queue(url, worker=False)

        @queue.task(name="hold")
        async def hold() -> int:
            begun[number].set()
            with suppress(asyncio.CancelledError):
                await may_end[number].wait()
                return number
            cancelled.set()
            # Stubborn: it has something to say all the same, as late as it is.
            await may_end[number].wait()
            return number

        return queue

    async with AsyncExitStack() as stack:
        broker = BrokerProgram(tmp_path, session_ttl=f"{TTL_SECONDS}s")
        await broker.start()
        stack.push_async_callback(broker.end)
        proxy = await stack.enter_async_context(Proxy(broker.port))
        far = await stack.enter_async_context(app(proxy.url, 0))
        near = await stack.enter_async_context(app(broker.url, 1))
        first = Worker(far, on_partition=on_partition, concurrency=1, grace=0, cancel_grace=10)
        await stack.enter_async_context(first)
        job = await near.submit(near.tasks.get("hold"))
        await begun[0].wait()
        proxy.spoil(HOLE)
        await stack.enter_async_context(Worker(near, concurrency=1, grace=0, cancel_grace=0.1))
        await begun[1].wait()
        if on_partition == "stop":
            await cancelled.wait()
        proxy.clear()
        # It comes back, and hears that the lease has passed on, or says its end and is refused: nothing counts.
        may_end[0].set()
        await asyncio.wait_for(_passed(caplog), 60)
        may_end[1].set()
        assert await job == 1
        info = await job.info()
        assert (info.state, info.failures) == ("succeeded", 0)


async def _passed(caplog: pytest.LogCaptureFixture) -> None:
    words = ("had passed to another worker", "its lease passed to another worker")
    while not any(word in caplog.text for word in words):  # noqa: ASYNC110 (a log rings no bell)
        await asyncio.sleep(0.01)
