"""A task that blocks the event loop of its worker for three `session_ttl`: seen, named, and never run twice."""

from __future__ import annotations

import json
import os
import re
from asyncio import create_subprocess_exec, subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from aioqueue import Job, Queue
from aioqueue.model.ids import id_bytes
from aioqueue.model.views import Block
from tests.support import logged_app
from tests.support.commands import COMMAND, environment
from tests.support.patience import eventually
from tests.support.programs import BrokerProgram, WorkerProgram, marks_of

# A supervisor that gets no turn for so long is as good as dead.
SESSION_TTL_MS = 2_000
APP_LINE = r"tests/support/logged_app\.py:\d+ in "


class Scene:
    """A broker, one worker process, and a client."""

    def __init__(self, folder: Path, broker: BrokerProgram, queue: Queue) -> None:
        self.folder = folder
        self.broker = broker
        self.queue = queue

    async def block(self, least_ms: int) -> Block:
        """What the worker's event loop stands still in, once it has for so long."""
        async with aclosing(cast(Any, self.queue.statistics())) as updates:
            async for statistics in updates:
                for worker in statistics.workers:
                    if worker.blocked is not None and worker.blocked.for_ms >= least_ms:
                        return cast(Block, worker.blocked)
        raise AssertionError("the statistics ended")

    async def command(self, *words: str) -> str:
        process = await create_subprocess_exec(
            *COMMAND, *words, "--url", self.broker.url, env=environment(), stdout=subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode()

    def log(self) -> str:
        return (self.folder / "worker.err").read_text()

    async def assert_ran_once(self, job: Job[Any]) -> None:
        info = await job.info()
        assert (info.state, info.runs, info.failures, info.crashes) == ("succeeded", 1, 0, 0)
        starts = [line for line in marks_of(self.folder).read_text().splitlines() if line.startswith("start ")]
        assert len(starts) == 1


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        broker = BrokerProgram(tmp_path, session_ttl=f"{SESSION_TTL_MS}ms")
        await broker.start()
        stack.push_async_callback(broker.end)
        for _ in range(2):
            # The second is there to take what the first would lose.
            worker = WorkerProgram(tmp_path, broker.url, grace="1s", concurrency=1)
            await worker.start()
            stack.push_async_callback(worker.end)
        queue = await stack.enter_async_context(Queue(broker.url))
        yield Scene(tmp_path, broker, queue)


@pytest.mark.faults
@pytest.mark.slow
async def test_python_that_blocks_for_three_session_ttl_is_named_everywhere_and_runs_once(scene: Scene) -> None:
    until = scene.folder / "go"
    job = await scene.queue.submit(logged_app.spin, str(until))
    try:
        block = await scene.block(3 * SESSION_TTL_MS)
        shown = await scene.command("show", job.id)
        watched = json.loads(await scene.command("top", "--once", "--json"))
    finally:
        until.touch()
    assert await job.result(60) > 0
    assert (block.job, block.task) == (id_bytes(job.id), "spin")
    assert re.search(APP_LINE + "spin", block.place)
    assert re.search("it blocks the event loop of its worker at .*" + APP_LINE + "spin.*, for ", shown)
    (running,) = watched["running"]
    assert (running["id"], running["blocked"]["job"]) == (job.id, job.id)
    assert max(worker["lag_ms"] for worker in watched["workers"]) >= SESSION_TTL_MS
    assert re.search(
        r"WARNING .* the event loop has stood still for .* s at .*" + APP_LINE + rf"spin.*: job {job.id} of task spin",
        scene.log(),
    )
    await scene.assert_ran_once(job)


@pytest.mark.faults
@pytest.mark.slow
async def test_c_code_that_holds_the_gil_for_three_session_ttl_is_told_and_runs_once(scene: Scene) -> None:
    fifo = scene.folder / "fifo"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    try:
        job = await scene.queue.submit(logged_app.hold_gil, str(fifo))
        # Its own process cannot speak; its supervisor says that it hears nothing.
        block = await scene.block(3 * SESSION_TTL_MS)
        shown = await scene.command("show", job.id)
    finally:
        os.write(writer, b"x")
        os.close(writer)
    assert await job.result(60) == 1
    assert (block.job, block.task) == (b"", "")
    assert "its worker stands still, no sign of the event loop, as under C code that holds the GIL, for" in shown
    # Which thread of the process runs first, and what of the block it still sees, is the system's choice; how long it
    # was they all tell. They may look when the result is told already.
    lengths = r"the event loop (?:has stood still for|stood still for|runs again after) (\d+\.\d) s"
    least = 2 * SESSION_TTL_MS / 1_000
    await eventually(lambda: any(float(seconds) >= least for seconds in re.findall(lengths, scene.log())))
    await scene.assert_ran_once(job)
