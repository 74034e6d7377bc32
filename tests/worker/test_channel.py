"""Both ends of the channel, over a real socket pair."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from aioqueue.transport.address import TcpAddress
from aioqueue.worker.channel import (
    ChildEnd,
    Connecting,
    Failed,
    Ready,
    Stop,
    SupervisorEnd,
    Work,
    WorkerOptions,
)

Ends = tuple[SupervisorEnd, ChildEnd, socket.socket]


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    near, far = socket.socketpair()
    supervisor = await SupervisorEnd.open(near)
    child = ChildEnd(far)
    yield supervisor, child, far
    await supervisor.aclose()
    child.close()


async def test_what_the_supervisor_says_arrives_whole(ends: Ends) -> None:
    supervisor, child, _ = ends
    said = [Work(WorkerOptions(target="shop:queue", queues=["a"]), bytes(range(16)), "left"), Stop(), Stop(hurry=True)]
    for message in said:
        supervisor.send(message)
    assert [await asyncio.to_thread(child.receive) for _ in said] == said


async def test_what_the_child_says_arrives_whole(ends: Ends) -> None:
    supervisor, child, _ = ends
    failed = Failed("app_not_found", "two\nlines \u00fc \U0001f600")
    said = [Connecting([TcpAddress("::1", 7411)], "shop", b"process.", b"about"), Ready(), failed]
    for message in said:
        child.send(message)
    assert [await supervisor.receive() for _ in said] == said


async def test_the_end_of_the_child_is_seen(ends: Ends) -> None:
    supervisor, child, far = ends
    child.send(Ready())
    far.shutdown(socket.SHUT_RDWR)
    assert await supervisor.receive() == Ready()
    assert await supervisor.receive() is None
    supervisor.send(Stop())


async def test_the_end_of_the_supervisor_is_seen(ends: Ends) -> None:
    supervisor, child, _ = ends
    await supervisor.aclose()
    assert await asyncio.to_thread(child.receive) is None
    child.send(Ready())


async def test_a_message_that_was_cut_off_is_none(ends: Ends) -> None:
    supervisor, _, far = ends
    far.send(b'{"type": "rea')
    far.shutdown(socket.SHUT_RDWR)
    assert await supervisor.receive() is None
