from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aioqueue.client.patience import Patience
from aioqueue.client.session import Session
from aioqueue.client.submitting import Acceptance, item_bytes
from aioqueue.errors import BrokerUnavailable, OutcomeUnknown, QueueClosed, QueueFull
from aioqueue.limits import FRAME_BYTES_TARGET, IN_FLIGHT_BYTES_MAX, ITEMS_A_FRAME_MAX
from aioqueue.model.ids import id_text
from aioqueue.protocol import messages as m
from tests.support.fake_broker import FakeBroker, FakePeer
from tests.support.patience import eventually

Opened = Callable[..., Awaitable[tuple[Session, FakePeer]]]
RESEND = int(m.SubmitFlag.RESEND)


def item(number: int = 0, args: bytes = b"\x01\x92\x90\x80") -> m.SubmitItem:
    return m.SubmitItem(number.to_bytes(16, "big"), b"spec", args)


def add(session: Session, *items: m.SubmitItem) -> list[asyncio.Future[None]]:
    futures = []
    for one in items:
        acceptance = Acceptance(asyncio.get_running_loop())
        session.submitter.add(one, acceptance, session.patience)
        futures.append(acceptance.future)
    return futures


async def nothing_more(session: Session, peer: FakePeer) -> None:
    """Nothing that was to be submitted is said any more."""
    await eventually(lambda: session.link.connected)
    session.link.send_nowait(m.Watch())
    await peer.expect(m.Watch)


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


async def test_a_submit_that_is_never_answered_ends_with_an_unknown_outcome_that_names_the_job(
    session_of: Opened,
) -> None:
    session, peer = await session_of(patience=Patience(0.02))
    (future,) = add(session, item(1))
    await peer.expect(m.Submit)
    with pytest.raises(OutcomeUnknown) as caught:
        await future
    job = id_text(item(1).job)
    assert (caught.value.job, caught.value.sent, caught.value.seconds) == (job, True, 0.02)
    assert str(caught.value) == (
        f"the submit of job {job} was sent and not answered within 0.02 s; it may have been accepted: "
        f'`await queue.get("{job}")`, where JobNotFound means that it was not'
    )
    assert session.submitter.unanswered() == []


async def test_a_submit_that_was_never_sent_says_so_and_never_will_be(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of(patience=Patience(0.02))
    await broker.stop()
    await eventually(lambda: not session.link.connected)
    (future,) = add(session, item(1))
    with pytest.raises(BrokerUnavailable) as caught:
        await future
    assert (caught.value.code, caught.value.sent) == ("broker_unavailable", False)
    assert caught.value.job == id_text(item(1).job)
    assert str(caught.value).startswith(f"no broker answers at {broker.url} (")
    assert str(caught.value).endswith(" s; the job was not sent, and will not be")
    await broker.start()
    peer = await broker.welcome(fresh=False)
    await nothing_more(session, peer)


async def test_what_was_sent_is_not_said_again_when_its_caller_has_left(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    first, second, third = add(session, item(1), item(2), item(3))
    await peer.expect(m.Submit)
    (alone,) = add(session, item(4))
    await peer.expect(m.Submit)
    peer.abort()
    peer = await broker.accept()
    second.cancel()
    alone.cancel()
    await peer.welcome(fresh=False)
    again = await peer.expect(m.Submit)
    assert [one.job[-1] for one in again.items] == [1, 3]
    # Of what is left, each hears of its own.
    refusal = m.ItemRefused(1, "queue_full", "the queue mail holds 5", {"limit": 5})
    peer.send(m.Submitted(again.request, 1, [m.Outcome.ACCEPTED, m.Outcome.REFUSED], [refusal]))
    await first
    with pytest.raises(QueueFull):
        await third
    await nothing_more(session, peer)


async def test_what_was_not_sent_is_withdrawn_when_its_caller_has_left(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    peer.abort()
    peer = await broker.accept()
    futures = add(session, item(1), item(2))
    await asyncio.sleep(0)
    (alone,) = add(session, item(3))
    await asyncio.sleep(0)
    futures[0].cancel()
    alone.cancel()
    await peer.welcome(fresh=False)
    assert [one.job[-1] for one in (await peer.accept_submit()).items] == [2]
    await futures[1]
    await nothing_more(session, peer)


async def test_callers_who_come_and_go_while_nobody_listens_leave_nothing_behind(
    session_of: Opened, broker: FakeBroker
) -> None:
    session, _ = await session_of(patience=Patience(math.inf))
    await broker.stop()
    await eventually(lambda: not session.link.connected)
    (staying,) = add(session, item(1))
    for number in range(1_000):
        (leaving,) = add(session, item(number))
        await asyncio.sleep(0)
        leaving.cancel()
    assert session.submitter.counts()[0] < 200
    await broker.start()
    peer = await broker.welcome(fresh=False)
    assert [one.job[-1] for one in (await peer.accept_submit()).items] == [1]
    await staying


async def test_calls_of_two_patiences_in_one_tick_each_keep_their_own(session_of: Opened) -> None:
    session, peer = await session_of()
    hasty, patient = Acceptance(asyncio.get_running_loop()), Acceptance(asyncio.get_running_loop())
    session.submitter.add(item(1), hasty, Patience(0.02))
    session.submitter.add(item(2), patient, session.patience)
    assert [(await peer.expect(m.Submit)).items[0].job[-1] for _ in range(2)] == [1, 2]
    with pytest.raises(OutcomeUnknown):
        await hasty.future
    assert not patient.future.done()


async def test_what_timed_out_makes_room_when_it_is_answered_and_not_before(session_of: Opened) -> None:
    # Who gives up does not make the broker faster: all of it would wait in the connection.
    session, peer = await session_of(patience=Patience(0.02))
    size = IN_FLIGHT_BYTES_MAX // 4
    futures = add(session, *(item(number, bytes(size)) for number in range(4)))
    sent = [await peer.expect(m.Submit) for _ in range(4)]
    assert {type(each) for each in await asyncio.gather(*futures, return_exceptions=True)} == {OutcomeUnknown}
    (late,) = add(session, item(9, bytes(size)))
    with pytest.raises(BrokerUnavailable, match="takes no more") as caught:
        await late
    assert not caught.value.sent
    peer.send(m.Submitted(sent[0].request, 1))
    acceptance = Acceptance(asyncio.get_running_loop())
    session.submitter.add(item(10), acceptance, Patience(60.0))
    assert (await peer.accept_submit()).items[0].job[-1] == 10
    await acceptance.future


async def test_a_submit_that_was_first_sent_too_long_ago_is_not_said_again(
    session_of: Opened, broker: FakeBroker
) -> None:
    session, peer = await session_of(patience=Patience(math.inf, 0.0))
    (future,) = add(session, item(1))
    await peer.expect(m.Submit)
    peer.abort()
    peer = await broker.welcome(fresh=False)
    with pytest.raises(OutcomeUnknown):
        await future
    await nothing_more(session, peer)


async def test_an_atomic_submit_is_one_frame_and_has_one_answer(session_of: Opened) -> None:
    session, peer = await session_of()
    acceptance = Acceptance(asyncio.get_running_loop())
    session.submitter.add_part([item(1), item(2)], 200, acceptance, m.SubmitAtomic, session.patience)
    submit = await peer.expect(m.SubmitAtomic)
    assert len(submit.items) == 2
    peer.send(m.Submitted(submit.request, 1, [m.Outcome.ACCEPTED, m.Outcome.EXISTS]))
    await acceptance.future


async def test_an_atomic_submit_does_not_overtake_what_was_submitted_before(session_of: Opened) -> None:
    session, peer = await session_of()
    (single,) = add(session, item(1))
    acceptance = Acceptance(asyncio.get_running_loop())
    session.submitter.add_part([item(2)], 100, acceptance, m.SubmitAtomic, session.patience)
    await peer.accept_submit()
    submit = await peer.expect(m.SubmitAtomic)
    peer.send(m.Submitted(submit.request, 1))
    await asyncio.gather(single, acceptance.future)


async def test_an_atomic_submit_is_sent_again_whole(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    acceptance = Acceptance(asyncio.get_running_loop())
    session.submitter.add_part([item(1), item(2)], 200, acceptance, m.SubmitAtomic, session.patience)
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
