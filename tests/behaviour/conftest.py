"""The same program against each kind of broker: in memory, in a file, and behind a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from aioqueue import Queue, Worker
from aioqueue.broker.opening import open_broker
from aioqueue.ground import Ground
from aioqueue.transport.address import SqliteAddress
from aioqueue.transport.tcp import listen


class App:
    """Declares tasks, then `start` runs broker, worker and queue together."""

    def __init__(self, kind: str, folder: Path, stack: AsyncExitStack) -> None:
        self.kind = kind
        self._folder = folder
        self._stack = stack
        self._url = ""
        self.queue = self.new_queue()

    def new_queue(self) -> Queue:
        """One more handle; over TCP it reaches the same broker."""
        urls = {"memory": "memory:", "sqlite": f"sqlite:{self._folder / 'jobs.db'}"}
        return Queue(self._url or urls.get(self.kind, "tcp://127.0.0.1:1"))

    async def start(self, *, worker: bool = True) -> Queue:
        if self.kind != "tcp":
            if not worker:
                self.queue = _without_worker(self.queue)
            return await self._stack.enter_async_context(self.queue)
        await self._serve()
        self.queue.url = self._url
        await self._stack.enter_async_context(self.queue)
        if worker:
            at_work = Worker(self.queue, queues=None)
            await self._stack.enter_async_context(at_work)
            await at_work.ready()
        return self.queue

    async def _serve(self) -> None:
        """A broker in a task of its own: a fixture's end runs in another task than its beginning."""
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        serving = asyncio.create_task(_serve(str(self._folder / "broker.db"), ready, stop))

        async def end() -> None:
            stop.set()
            await serving

        self._stack.push_async_callback(end)
        self._url = await ready


async def _serve(path: str, ready: asyncio.Future[str], stop: asyncio.Event) -> None:
    async with open_broker(SqliteAddress(path), ground=Ground()) as broker, anyio.create_task_group() as tasks:
        listener = await listen("127.0.0.1", 0)
        tasks.start_soon(listener.serve, broker.attend, tasks)
        ready.set_result(listener.url)
        await stop.wait()
        await listener.aclose()
        tasks.cancel_scope.cancel()


def _without_worker(queue: Queue) -> Queue:
    other = Queue(queue.url, worker=False)
    other.include(queue)
    return other


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker here may be kept waiting by its disk."""
    monkeypatch.setattr("aioqueue.client.connecting.CONNECT_SECONDS", 60.0)


@pytest.fixture(params=["memory", "sqlite", "tcp"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[App]:
    async with AsyncExitStack() as stack:
        yield App(request.param, tmp_path, stack)


Declare = Callable[[App], None]
