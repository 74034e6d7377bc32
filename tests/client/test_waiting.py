from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aioqueue.client.session import Session
from aioqueue.client.submitting import Acceptance
from aioqueue.errors import QueueClosed, QueueFull
from aioqueue.protocol import messages as m
from tests.support.fake_broker import FakeBroker, FakePeer

Opened = Callable[..., Awaitable[tuple[Session, FakePeer]]]
WANT_RESULT = int(m.SubmitFlag.WANT_RESULT)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def end(number: int) -> m.EndedItem:
    return m.EndedItem(key(number), 7, b"\x01\xc0")


async def waits_of(peer: FakePeer) -> list[int]:
    return [job[-1] for job in (await peer.expect(m.Wait)).jobs]


async def test_all_waits_of_one_tick_leave_in_one_frame(session_of: Opened) -> None:
    session, peer = await session_of()
    endings = session.endings
    reached = asyncio.gather(*(endings.reached(endings.ask(key(number))) for number in (1, 2, 3)))
    assert await waits_of(peer) == [1, 2, 3]
    peer.send(m.Ended([end(3), end(1)]), m.Ended([end(2)]))
    assert await reached == [end(1), end(2), end(3)]
    assert len(endings) == 0


async def test_many_waits_are_split_into_frames(session_of: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioqueue.client.waiting.ITEMS_A_FRAME_MAX", 2)
    session, peer = await session_of()
    for number in range(3):
        session.endings.ask(key(number))
    assert [await waits_of(peer), await waits_of(peer)] == [[0, 1], [2]]


async def test_an_end_that_is_expected_is_not_asked_for(session_of: Opened) -> None:
    session, peer = await session_of()
    ending = session.endings.expect(key(1))
    session.link.send_nowait(m.Watch())
    await peer.expect(m.Watch)
    peer.send(m.Ended([end(1)]))
    assert await session.endings.reached(ending) == end(1)


async def test_two_who_wait_for_one_job_ask_once(session_of: Opened) -> None:
    session, peer = await session_of()
    endings = session.endings
    both = asyncio.gather(*(endings.reached(endings.ask(key(1))) for _ in range(2)))
    assert await waits_of(peer) == [1]
    peer.send(m.Ended([end(1)]))
    assert await both == [end(1), end(1)]


async def test_one_of_two_who_is_cancelled_does_not_take_the_end_from_the_other(session_of: Opened) -> None:
    session, peer = await session_of()
    endings = session.endings
    first, second = (asyncio.ensure_future(endings.reached(endings.ask(key(1)))) for _ in range(2))
    await waits_of(peer)
    first.cancel()
    await asyncio.wait([first])
    peer.send(m.Ended([end(1)]))
    assert await second == end(1)


async def test_a_caller_who_is_cancelled_leaves_nothing_behind(session_of: Opened) -> None:
    session, peer = await session_of()
    waiting = asyncio.ensure_future(session.endings.reached(session.endings.ask(key(1))))
    await waits_of(peer)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert len(session.endings) == 0
    # The end comes all the same, and nobody minds.
    peer.send(m.Ended([end(1)]))
    again = asyncio.ensure_future(session.endings.reached(session.endings.ask(key(1))))
    assert await waits_of(peer) == [1]
    peer.send(m.Ended([end(1)]))
    assert await again == end(1)


async def test_an_end_told_twice_is_told_once(session_of: Opened) -> None:
    session, peer = await session_of()
    ending = session.endings.ask(key(1))
    await waits_of(peer)
    peer.send(m.Ended([end(1), m.EndedItem(key(1), 8)]))
    assert await session.endings.reached(ending) == end(1)


async def test_every_end_still_missing_is_asked_for_after_a_reconnect(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    for number in (1, 2):
        session.endings.ask(key(number))
    expected = session.endings.expect(key(3))
    await waits_of(peer)
    peer.send(m.Ended([end(1)]))
    peer.close()
    peer = await broker.welcome()
    assert await waits_of(peer) == [2, 3]
    peer.send(m.Ended([end(3)]))
    assert await session.endings.reached(expected) == end(3)


async def test_a_job_whose_submit_is_sent_again_is_not_asked_for(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    ending = session.endings.expect(key(1))
    session.submitter.add(m.SubmitItem(key(1), b"spec", b"\x01", WANT_RESULT), ending, session.patience)
    await peer.expect(m.Submit)
    peer.abort()
    peer = await broker.welcome()
    # A Wait that came first would be answered that there is no such job.
    submit = await peer.accept_submit()
    assert submit.items[0].flags & WANT_RESULT
    peer.send(m.Ended([end(1)]))
    assert await session.endings.reached(ending) == end(1)


async def test_a_job_whose_submit_was_answered_is_asked_for(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    ending = session.endings.expect(key(1))
    acceptance = Acceptance(asyncio.get_running_loop())
    session.submitter.add(m.SubmitItem(key(1), b"spec", b"\x01", WANT_RESULT), acceptance, session.patience)
    await peer.accept_submit()
    await acceptance.future
    peer.abort()
    peer = await broker.welcome()
    assert await waits_of(peer) == [1]
    peer.send(m.Ended([end(1)]))
    assert await session.endings.reached(ending) == end(1)


async def test_an_end_is_asked_for_though_another_submit_of_its_id_is_on_its_way(
    session_of: Opened, broker: FakeBroker
) -> None:
    session, peer = await session_of()
    ending = session.endings.ask(key(1))
    await waits_of(peer)
    session.submitter.add(
        m.SubmitItem(key(1), b"spec", b"\x01", int(m.SubmitFlag.OWN_ID)),
        Acceptance(asyncio.get_running_loop()),
        session.patience,
    )
    await peer.expect(m.Submit)
    peer.abort()
    peer = await broker.welcome()
    submit = await peer.accept_submit()
    assert submit.items[0].flags & WANT_RESULT
    peer.send(m.Ended([end(1)]))
    assert await session.endings.reached(ending) == end(1)


async def test_a_wait_made_without_a_connection_leaves_with_the_next(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    peer.abort()
    peer = await broker.accept()
    ending = session.endings.ask(key(1))
    await asyncio.sleep(0)
    await peer.welcome()
    assert await waits_of(peer) == [1]
    peer.send(m.Ended([end(1)]))
    assert await session.endings.reached(ending) == end(1)


async def test_a_refused_submit_tells_who_waits_for_its_result(session_of: Opened) -> None:
    session, peer = await session_of()
    ending = session.endings.expect(key(1))
    session.submitter.add(m.SubmitItem(key(1), b"spec", b"\x01", WANT_RESULT), ending, session.patience)
    submit = await peer.expect(m.Submit)
    peer.send(m.Refusal(submit.request, "queue_full", "full"))
    with pytest.raises(QueueFull):
        await session.endings.reached(ending)
    assert len(session.endings) == 0


async def test_a_submit_that_nobody_waits_for_any_more_is_not_sent(session_of: Opened) -> None:
    session, peer = await session_of()
    ending = session.endings.expect(key(1))
    session.submitter.add(m.SubmitItem(key(1), b"spec", b"\x01", WANT_RESULT), ending, session.patience)
    ending.forget()
    await asyncio.sleep(0)
    session.link.send_nowait(m.Watch())
    await peer.expect(m.Watch)


async def test_the_end_of_the_session_wakes_every_waiter(session_of: Opened) -> None:
    session, peer = await session_of()
    endings = session.endings
    waiting = asyncio.gather(
        endings.reached(endings.ask(key(1))), endings.reached(endings.ask(key(1))), return_exceptions=True
    )
    await waits_of(peer)
    await session.aclose()
    first, second = await waiting
    assert isinstance(first, QueueClosed)
    assert isinstance(second, QueueClosed)
    assert first is not second
