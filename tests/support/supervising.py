"""Supervisors as real processes, before a broker whose every word the test says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil

from aioqueue.protocol import messages as m
from aioqueue.worker.channel import WorkerOptions
from tests.support.fake_broker import FakeBroker, FakePeer
from tests.support.runs import result_in

PROGRAM = Path(__file__).parent / "supervised.py"
PROJECT = PROGRAM.parents[2]

APP = """
import asyncio, os, signal
from aioqueue import Queue

queue = Queue()

@queue.task(name="pid")
async def pid() -> int:
    return os.getpid()

@queue.task(name="endless")
async def endless(begun: str) -> None:
    open(begun, "w").close()
    await asyncio.Event().wait()

@queue.task(name="deaf")
def deaf(begun: str) -> None:
    with open(begun, "w"):
        pass
    import threading
    threading.Event().wait()

@queue.task(name="command")
def command(begun: str) -> int:
    import subprocess
    told = f"echo $$ > {begun}.new; mv {begun}.new {begun}; while ! [ -e {begun}.go ]; do sleep 0.05; done; exit 7"
    return subprocess.run(["sh", "-c", told]).returncode

queue.task(command.fn, name="command_apart", executor="process")

@queue.task(name="blocking")
async def blocking(begun: int) -> None:
    os.kill(begun, signal.SIGUSR1)
    import time
    time.sleep(60)
"""


class Greeter:
    """Welcomes the connections that the children of a supervisor make."""

    def __init__(self, broker: FakeBroker) -> None:
        self.children: dict[bytes, Connections] = {}
        self._broker = broker
        self._ready: asyncio.Queue[Connections] = asyncio.Queue()
        self._greeting = asyncio.create_task(self._greet())

    async def _greet(self) -> None:
        """Welcome every connection."""
        while True:
            peer = await self._broker.accept()
            # Of a child that was killed, its own have ended before they are welcomed.
            with contextlib.suppress(EOFError, ConnectionError):
                await self._welcome(peer)

    async def _welcome(self, peer: FakePeer) -> None:
        """A child is here when its worker and its heartbeat are; its queue has a client of its own."""
        hello = await peer.welcome()
        if hello.role is m.Role.CLIENT:
            return
        child = self.children.setdefault(hello.secret, Connections())
        before = child.complete
        if hello.role is m.Role.WORKER:
            child.capacity = await peer.expect(m.Capacity)
            child.worker, child.name = peer, hello.name
        elif isinstance(await peer.read(), m.Beat):
            # And not the news of a death.
            child.beats = peer
        if child.complete and not before:
            self._ready.put_nowait(child)

    async def child(self) -> Connections:
        """The next child that is at work."""
        return await self._ready.get()

    async def aclose(self) -> None:
        self._greeting.cancel()
        await asyncio.wait([self._greeting])


class Running(Greeter):
    """A supervisor's process, and the connections that its children make."""

    def __init__(self, process: asyncio.subprocess.Process, broker: FakeBroker) -> None:
        super().__init__(broker)
        self.process = process

    async def output(self) -> str:
        """What it printed until its end."""
        out, _ = await self.process.communicate()
        return out.decode()

    async def aclose(self) -> None:
        await super().aclose()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


class Connections:
    """The connections of one child: its own, and the one on which the supervisor beats for it."""

    worker: FakePeer
    beats: FakePeer
    capacity: m.Capacity
    name: str

    @property
    def complete(self) -> bool:
        return hasattr(self, "worker") and hasattr(self, "beats")

    async def result(self, run: m.DeliverItem) -> Any:
        self.worker.send(m.Deliver([run]))
        return result_in((await self.settle())[0])

    async def settle(self) -> list[m.SettleItem]:
        told = await self.worker.expect(m.Settle)
        self.worker.send(m.Settled(told.request, 1))
        return told.items

    async def death(self) -> m.WorkerDied:
        """What the supervisor tells of it, after its beats."""
        while isinstance(message := await self.beats.read(), m.Beat):
            pass
        assert isinstance(message, m.WorkerDied)
        # A ping comes after it, whose answer says that it was read.
        await self.beats.until_closed()
        return message


Supervised = Callable[..., Awaitable[Running]]


async def start_supervisor(broker: FakeBroker, folder: Path, app: str, processes: int, **options: Any) -> Running:
    """Start a supervisor in a directory where `shop.py` holds that text."""
    (folder / "shop.py").write_text(app)
    options = {"target": "shop:queue", "url": broker.url, "queues": ["default"], "cancel_grace_ms": 50, **options}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), msgspec.json.encode(WorkerOptions(**options)).decode(), str(processes),
        cwd=folder, env={**os.environ, "PYTHONPATH": str(PROJECT)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    return Running(process, broker)


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
