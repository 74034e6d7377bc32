from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from aioqueue.client.session import Session
from aioqueue.errors import BrokerUnavailable, HistoryLost, QueueClosed, WrongNamespace
from aioqueue.ground import Ground
from aioqueue.protocol import messages as m
from aioqueue.transport.address import TcpAddress
from aioqueue.transport.dialer import Dialer
from tests.support.fake_broker import FakeBroker, FakePeer

Opened = Callable[..., Awaitable[tuple[Session, FakePeer]]]


def session_at(port: int) -> Session:
    return Session(Dialer([TcpAddress("127.0.0.1", port)]), ground=Ground(), namespace="default")


async def test_a_broker_that_is_not_there_is_named_with_the_reason() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(BrokerUnavailable) as caught:
            await session_at(port).open(0.05)
    assert str(caught.value) == f"no broker answers at tcp://127.0.0.1:{port}: connection refused"


async def test_a_peer_that_accepts_and_says_nothing_is_no_broker(broker: FakeBroker) -> None:
    with pytest.raises(BrokerUnavailable, match=r"no answer within 0\.05 s"):
        await session_at(broker.port).open(0.05)


async def test_a_broker_that_comes_up_meanwhile_is_found(broker: FakeBroker) -> None:
    await broker.stop()
    session = session_at(broker.port)
    opening = asyncio.ensure_future(session.open(5.0))
    await asyncio.sleep(0)
    await broker.start()
    peer = await broker.welcome()
    await opening
    await session.aclose()
    assert await peer.until_closed() == [m.Goodbye()]


async def test_a_refusal_that_lasts_is_raised_where_the_session_is_opened(broker: FakeBroker) -> None:
    opening = asyncio.ensure_future(session_at(broker.port).open(5.0))
    peer = await broker.accept()
    await peer.expect(m.Hello)
    peer.send(m.Refusal(0, "wrong_namespace", "not yours"))
    with pytest.raises(WrongNamespace):
        await opening


async def test_opening_can_be_cancelled(broker: FakeBroker) -> None:
    session = session_at(broker.port)
    opening = asyncio.ensure_future(session.open(5.0))
    peer = await broker.accept()
    await peer.expect(m.Hello)
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()
    assert await peer.until_closed() == []


async def test_a_history_that_was_lost_ends_the_session_and_every_wait(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    waiting = asyncio.ensure_future(session.endings.reached(session.endings.ask(bytes(16))))
    await peer.expect(m.Wait)
    peer.abort()
    peer = await broker.accept()
    await peer.expect(m.Hello)
    peer.send(m.Refusal(0, "history_lost", "you saw position 9"))
    with pytest.raises(HistoryLost):
        await waiting
    with pytest.raises(HistoryLost):
        session.check()


async def test_a_closed_session_says_so(session_of: Opened) -> None:
    session, _ = await session_of()
    session.check()
    await session.aclose()
    with pytest.raises(QueueClosed):
        session.check()


async def test_closing_twice_does_no_harm(session_of: Opened) -> None:
    session, peer = await session_of()
    await session.aclose()
    await session.aclose()
    assert await peer.until_closed() == [m.Goodbye()]


async def test_a_fault_of_the_client_itself_leaves_nobody_waiting(session_of: Opened) -> None:
    session, peer = await session_of()

    def broken(message: m.Ended) -> None:
        raise ZeroDivisionError

    session._handlers[m.Ended] = broken
    waiting = asyncio.ensure_future(session.endings.reached(session.endings.ask(bytes(16))))
    await peer.expect(m.Wait)
    peer.send(m.Ended([]))
    with pytest.raises(BrokerUnavailable, match="ZeroDivisionError"):
        await waiting
