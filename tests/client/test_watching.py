from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from aioqueue.client.session import Session
from aioqueue.errors import QueueClosed
from aioqueue.protocol import messages as m
from tests.support.examples import STATISTICS
from tests.support.fake_broker import FakeBroker, FakePeer

Opened = Callable[..., Awaitable[tuple[Session, FakePeer]]]


def update(position: int) -> m.StatisticsUpdate:
    return m.StatisticsUpdate(msgspec.structs.replace(STATISTICS, position=position))


async def test_the_broker_is_asked_once_for_all_watchers(session_of: Opened) -> None:
    session, peer = await session_of()
    first, second = session.watchers.add(), session.watchers.add()
    assert await peer.read() == m.Watch()
    peer.send(update(5))
    assert (await first.next()).position == 5
    assert (await second.next()).position == 5
    session.watchers.remove(first)
    session.watchers.remove(second)
    assert await peer.read() == m.Watch(stop=True)
    assert len(session.watchers) == 0


async def test_a_slow_watcher_sees_the_latest_only(session_of: Opened) -> None:
    session, peer = await session_of()
    slow, quick = session.watchers.add(), session.watchers.add()
    for position in (1, 2, 3):
        peer.send(update(position))
        assert (await quick.next()).position == position
    assert (await slow.next()).position == 3


async def test_watching_goes_on_after_a_reconnect(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    watcher = session.watchers.add()
    await peer.expect(m.Watch)
    peer.abort()
    peer = await broker.welcome()
    assert await peer.read() == m.Watch()
    peer.send(update(8))
    assert (await watcher.next()).position == 8


async def test_the_end_of_the_session_ends_every_watcher(session_of: Opened) -> None:
    session, _ = await session_of()
    watcher = session.watchers.add()
    looking = asyncio.ensure_future(watcher.next())
    await asyncio.sleep(0)
    await session.aclose()
    with pytest.raises(QueueClosed):
        await looking
