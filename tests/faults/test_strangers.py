"""A broker that comes back among connections that say nothing: all its clients are welcome again, soon.

`AIOQUEUE_CLIENTS=10000` has as many clients as a large installation, for half a minute or more.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack
from pathlib import Path

from aioqueue.client.link import Link
from aioqueue.errors import BrokerUnavailable
from aioqueue.ground import Ground
from aioqueue.limits import STRANGERS_MAX
from aioqueue.protocol import messages as m
from aioqueue.transport.address import TcpAddress
from aioqueue.transport.dialer import Dialer
from aioqueue.transport.files import raise_file_limit
from tests.support.commands import Served, serving

CLIENTS = int(os.environ.get("AIOQUEUE_CLIENTS", "400"))
# More than there is room for.
SILENT = STRANGERS_MAX + 200
# They are back within this; a test on a machine that does other things too is given more.
BACK_SECONDS = 30.0
PATIENCE = 8


class Clients:
    """Links of so many programs, and how many of them are connected."""

    def __init__(self, port: int) -> None:
        self.connected = 0
        self.changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        for _ in range(CLIENTS):
            link = Link(
                Dialer([TcpAddress("127.0.0.1", port)]), ground=Ground(), role=m.Role.CLIENT, namespace="default",
                name="", secret=os.urandom(16), on_welcome=lambda _: self.count(1),
                on_messages=lambda _: None, on_lost=lambda _: self.count(-1),
            )  # fmt: skip
            self._tasks.append(asyncio.create_task(link.run()))

    def count(self, change: int) -> None:
        self.connected += change
        self.changed.set()

    async def until(self, connected: int) -> None:
        async with asyncio.timeout(PATIENCE * BACK_SECONDS):
            while self.connected != connected:
                self.changed.clear()
                await self.changed.wait()

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


def connect_silently(served: Served, stack: ExitStack) -> None:
    """Connections that never say a word."""
    for _ in range(SILENT):
        try:
            connection = socket.create_connection(("127.0.0.1", served.ready["port"]), 60)
        except OSError as error:
            raise BrokerUnavailable(url=served.url, reason=str(error)) from error
        stack.callback(connection.close)


async def test_all_clients_of_a_restarted_broker_are_back_among_connections_that_say_nothing(tmp_path: Path) -> None:
    raise_file_limit()
    with ExitStack() as stack:
        served = await asyncio.to_thread(stack.enter_context, serving(tmp_path, "--session-ttl", "1m"))
        clients = Clients(served.ready["port"])
        try:
            await clients.until(CLIENTS)
            await asyncio.to_thread(connect_silently, served, stack)
            served.process.kill()
            await clients.until(0)
            began = asyncio.get_running_loop().time()
            again = await asyncio.to_thread(
                stack.enter_context, serving(tmp_path, "--session-ttl", "1m", port=served.ready["port"])
            )
            silent = asyncio.create_task(asyncio.to_thread(connect_silently, again, stack))
            await clients.until(CLIENTS)
            print(f"{CLIENTS:,} clients were back in {asyncio.get_running_loop().time() - began:.1f} s")
            await silent
            # Nobody who had said Hello made room for them.
            assert clients.connected == CLIENTS
        finally:
            await clients.aclose()
        told = again.err.count("connections that came later have said none either")
        assert 1 <= told <= 5
