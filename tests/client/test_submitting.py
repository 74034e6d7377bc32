from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aioqueue.client.session import Session
from aioqueue.client.submitting import Acceptance, item_bytes
from aioqueue.errors import BrokerUnavailable, OutcomeUnknown, QueueClosed, QueueFull
from aioqueue.limits import FRAME_BYTES_TARGET, IN_FLIGHT_BYTES_MAX, ITEMS_A_FRAME_MAX
from aioqueue.protocol import messages as m
from tests.support.fake_broker import FakeBroker, FakePeer

Opened = Callable[..., Awaitable[tuple[Session, FakePeer]]]
RESEND = int(m.SubmitFlag.RESEND)


def item(number: int = 0, args: bytes = b"\x01\x92\x90\x80") -> m.SubmitItem:
    return m.SubmitItem(number.to_bytes(16, "big"), b"spec", args)


def add(session: Session, *items: m.SubmitItem) -> list[asyncio.Future[None]]:
    futures = []
    for one in items:
        acceptance = Acceptance()
        session.submitter.add(one, acceptance)
        futures.append(acceptance.future)
    return futures


async def test_all_submits_of_one_tick_leave_in_one_frame(session_of: Opened) -> None:
    session, peer = await session_of()
    futures = add(session, item(1), item(2), item(3))
    submit = await peer.accept_submit()
    assert [one.job[-1] for one in submit.items] == [1, 2, 3]
    await asyncio.gather(*futures)


async def test_a_frame_is_closed_when_it_has_grown_to_its_target(session_of: Opened) -> None:
    session, peer = await session_of()
    futures = add(session, *(item(number, bytes(FRAME_BYTES_TARGET // 3)) for number in range(5)))
    sizes = []
    while sum(sizes) < 5:
        submit = await peer.accept_submit()
        assert sum(map(item_bytes, submit.items)) <= FRAME_BYTES_TARGET
        sizes.append(len(submit.items))
    assert sizes == [2, 2, 1]
    await asyncio.gather(*futures)


async def test_an_item_larger_than_the_target_has_a_frame_of_its_own(session_of: Opened) -> None:
    session, peer = await session_of()
    futures = add(session, item(1, bytes(FRAME_BYTES_TARGET * 2)), item(2))
    assert len((await peer.accept_submit()).items) == 1
    assert len((await peer.accept_submit()).items) == 1
    await asyncio.gather(*futures)


async def test_a_frame_holds_no_more_items_than_a_frame_may(
    session_of: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ITEMS_A_FRAME_MAX * item_bytes(item()) > FRAME_BYTES_TARGET
    monkeypatch.setattr("aioqueue.client.submitting.ITEMS_A_FRAME_MAX", 2)
    session, peer = await session_of()
    futures = add(session, item(1), item(2), item(3))
    assert [len((await peer.accept_submit()).items) for _ in range(2)] == [2, 1]
    await asyncio.gather(*futures)


async def test_no_more_is_in_flight_than_the_bound(session_of: Opened) -> None:
    session, peer = await session_of()
    size = IN_FLIGHT_BYTES_MAX // 4
    futures = add(session, *(item(number, bytes(size)) for number in range(6)))
    sent = [await peer.expect(m.Submit) for _ in range(4)]
    session.link.send_nowait(m.Watch())
    # Nothing of the rest came before what was said after it.
    await peer.expect(m.Watch)
    peer.send(m.Submitted(sent[0].request, 1))
    sent.append(await peer.expect(m.Submit))
    for submit in sent[1:]:
        peer.send(m.Submitted(submit.request, 1))
    await peer.accept_submit()
    await asyncio.gather(*futures)


async def test_each_item_hears_of_its_own_refusal(session_of: Opened) -> None:
    session, peer = await session_of()
    futures = add(session, item(1), item(2), item(3))
    submit = await peer.expect(m.Submit)
    refusal = m.ItemRefused(1, "queue_full", "the queue mail holds 5", {"limit": 5})
    outcomes = [m.Outcome.ACCEPTED, m.Outcome.REFUSED, m.Outcome.EXISTS]
    peer.send(m.Submitted(submit.request, 1, outcomes, [refusal]))
    first, second, third = await asyncio.gather(*futures, return_exceptions=True)
    assert first is None
    assert third is None
    assert isinstance(second, QueueFull)
    assert second.limit == 5


async def test_a_refused_frame_refuses_all_of_its_items(session_of: Opened) -> None:
    session, peer = await session_of()
    futures = add(session, item(1), item(2))
    submit = await peer.expect(m.Submit)
    peer.send(m.Refusal(submit.request, "queue_full", "full"))
    errors = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(error) for error in errors] == [QueueFull, QueueFull]
    # One exception raised in two places would collect the tracebacks of both.
    assert errors[0] is not errors[1]


async def test_what_was_not_answered_is_sent_again_as_such(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    first = add(session, item(1), item(2))
    await peer.expect(m.Submit)
    peer.abort()
    peer = await broker.welcome(fresh=False)
    again = await peer.accept_submit()
    assert [(one.job[-1], one.flags & RESEND) for one in again.items] == [(1, RESEND), (2, RESEND)]
    await asyncio.gather(*first)


async def test_what_was_answered_is_not_sent_again(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    (first,) = add(session, item(1))
    await peer.accept_submit()
    await first
    peer.abort()
    peer = await broker.welcome()
    (second,) = add(session, item(2))
    submit = await peer.accept_submit()
    assert [(one.job[-1], one.flags) for one in submit.items] == [(2, 0)]
    await second


async def test_after_a_reconnect_the_old_order_is_kept(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    futures = add(session, item(1))
    await peer.expect(m.Submit)
    futures += add(session, item(2))
    await peer.expect(m.Submit)
    peer.abort()
    peer = await broker.accept()
    futures += add(session, item(3))
    await peer.welcome()
    submits = [await peer.accept_submit() for _ in range(3)]
    assert [submit.items[0].job[-1] for submit in submits] == [1, 2, 3]
    assert [submit.items[0].flags for submit in submits] == [RESEND, RESEND, 0]
    await asyncio.gather(*futures)


async def test_an_answer_given_twice_ends_neither_the_connection_nor_what_comes_after(session_of: Opened) -> None:
    session, peer = await session_of()
    (first,) = add(session, item(1))
    submit = await peer.accept_submit()
    await first
    peer.send(m.Submitted(submit.request, 1))
    (second,) = add(session, item(2))
    assert (await peer.accept_submit()).request != submit.request
    await second
    assert session.link.connected
    assert session.submitter.idle


async def test_a_submit_made_without_a_connection_leaves_with_the_next(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    peer.abort()
    peer = await broker.accept()
    (future,) = add(session, item(1))
    await asyncio.sleep(0)
    await peer.welcome()
    assert (await peer.accept_submit()).items[0].flags == 0
    await future


async def test_a_caller_cancelled_before_the_frame_left_submits_nothing(session_of: Opened) -> None:
    session, peer = await session_of()
    first, second = add(session, item(1), item(2))
    first.cancel()
    assert [one.job[-1] for one in (await peer.accept_submit()).items] == [2]
    await second


async def test_a_frame_of_cancelled_callers_is_not_sent(session_of: Opened) -> None:
    session, peer = await session_of()
    (first,) = add(session, item(1))
    first.cancel()
    await asyncio.sleep(0)
    session.link.send_nowait(m.Watch())
    await peer.expect(m.Watch)
    assert session.submitter.unanswered() == []


async def test_a_caller_cancelled_after_the_frame_left_leaves_nothing_behind(session_of: Opened) -> None:
    session, peer = await session_of()
    first, second = add(session, item(1), item(2))
    submit = await peer.expect(m.Submit)
    first.cancel()
    peer.send(m.Submitted(submit.request, 1))
    await second
    assert session.submitter.unanswered() == []


async def test_a_submit_that_is_never_answered_ends_with_an_unknown_outcome(session_of: Opened) -> None:
    session, peer = await session_of(resend_seconds=0.02)
    (future,) = add(session, item(1))
    await peer.expect(m.Submit)
    with pytest.raises(OutcomeUnknown):
        await future
    assert session.submitter.unanswered() == []


async def test_a_submit_that_was_never_sent_has_a_known_outcome(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of(resend_seconds=0.02)
    peer.abort()
    await broker.accept()
    (future,) = add(session, item(1))
    with pytest.raises(BrokerUnavailable) as caught:
        await future
    assert caught.value.code == "broker_unavailable"


async def test_what_timed_out_makes_room_for_what_waits(session_of: Opened) -> None:
    session, peer = await session_of(resend_seconds=0.02)
    size = IN_FLIGHT_BYTES_MAX // 4
    futures = add(session, *(item(number, bytes(size)) for number in range(4)))
    for _ in range(4):
        await peer.expect(m.Submit)
    await asyncio.gather(*futures, return_exceptions=True)
    (late,) = add(session, item(9, bytes(size)))
    # It leaves at once, or never. Whether it is answered in time is up to the machine.
    assert (await peer.expect(m.Submit)).items[0].job[-1] == 9
    await asyncio.wait([late])
    assert isinstance(late.exception(), OutcomeUnknown)


async def test_an_atomic_submit_is_one_frame_and_has_one_answer(session_of: Opened) -> None:
    session, peer = await session_of()
    acceptance = Acceptance()
    session.submitter.add_part([item(1), item(2)], 200, [acceptance], m.SubmitAtomic)
    submit = await peer.expect(m.SubmitAtomic)
    assert len(submit.items) == 2
    peer.send(m.Submitted(submit.request, 1, [m.Outcome.ACCEPTED, m.Outcome.EXISTS]))
    await acceptance.future


async def test_an_atomic_submit_does_not_overtake_what_was_submitted_before(session_of: Opened) -> None:
    session, peer = await session_of()
    (single,) = add(session, item(1))
    acceptance = Acceptance()
    session.submitter.add_part([item(2)], 100, [acceptance], m.SubmitAtomic)
    await peer.accept_submit()
    submit = await peer.expect(m.SubmitAtomic)
    peer.send(m.Submitted(submit.request, 1))
    await asyncio.gather(single, acceptance.future)


async def test_an_atomic_submit_is_sent_again_whole(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    acceptance = Acceptance()
    session.submitter.add_part([item(1), item(2)], 200, [acceptance], m.SubmitAtomic)
    await peer.expect(m.SubmitAtomic)
    peer.abort()
    peer = await broker.welcome()
    submit = await peer.expect(m.SubmitAtomic)
    assert [one.flags for one in submit.items] == [RESEND, RESEND]
    peer.send(m.Submitted(submit.request, 1))
    await acceptance.future


@pytest.mark.parametrize("sent", [True, False])
async def test_the_end_of_the_session_ends_every_submit(session_of: Opened, sent: bool) -> None:
    session, peer = await session_of()
    futures: list[Any] = add(session, item(1))
    if sent:
        await peer.expect(m.Submit)
    await session.aclose()
    assert isinstance((await asyncio.gather(*futures, return_exceptions=True))[0], QueueClosed)
