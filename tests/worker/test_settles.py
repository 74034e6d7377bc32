"""Ends of runs: one frame a tick, kept until they are answered."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aioqueue.limits import (
    BODY_BYTES_MAX,
    FRAME_BYTES_MAX,
    FRAME_BYTES_TARGET,
    IN_FLIGHT_BYTES_MAX,
    ITEMS_A_FRAME_MAX,
)
from aioqueue.model.ids import id_text
from aioqueue.model.states import JobState
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.worker.settles import SettleBox, in_frames
from tests.support.runs import failure_in


class Outlet:
    """A link that remembers what was sent."""

    def __init__(self) -> None:
        self.connected = True
        self.sent: list[m.ClientMessage] = []
        self._requests = 0

    def next_request(self) -> int:
        self._requests += 1
        return self._requests

    def send_nowait(self, *messages: m.ClientMessage) -> None:
        self.sent.extend(messages)


def end(number: int, body: bytes = b"") -> m.SettleItem:
    return m.SettleItem(number.to_bytes(16, "big"), number, m.RunEnd.SUCCEEDED, body)


async def tick() -> None:
    """Let everything that is due in this turn of the loop happen."""
    await asyncio.sleep(0)


@pytest.fixture
def outlet() -> Outlet:
    return Outlet()


@pytest.fixture
def box(outlet: Outlet) -> SettleBox:
    return SettleBox(outlet)


async def test_all_ends_of_one_tick_leave_in_one_message(box: SettleBox, outlet: Outlet) -> None:
    for number in range(100):
        box.put(end(number))
    assert outlet.sent == []
    await tick()
    assert outlet.sent == [m.Settle(1, [end(number) for number in range(100)])]


async def test_what_became_of_each_end_can_be_read_in_the_log(
    box: SettleBox, outlet: Outlet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="aioqueue.worker.settles")
    for answers in ([], [m.SettleAnswer.ALREADY, m.SettleAnswer.STALE]):
        box.put(end(7))
        box.put(end(8))
        await tick()
        box.answered(m.Settled(outlet.sent[-1].request, 1, answers))  # type: ignore[union-attr]
    seven, eight = (id_text(end(number).job) for number in (7, 8))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", f"job {seven} with fence 7: the broker recorded the end SUCCEEDED (OK)"),
        ("DEBUG", f"job {eight} with fence 8: the broker recorded the end SUCCEEDED (OK)"),
        ("DEBUG", f"job {seven} with fence 7: the broker recorded the end SUCCEEDED (ALREADY)"),
        ("INFO", f"job {eight} had passed to another worker; its end here was not counted"),
    ]


async def test_an_end_is_kept_until_it_is_answered(box: SettleBox) -> None:
    box.put(end(1))
    await tick()
    assert len(box) == 1
    box.answered(m.Settled(1, 5))
    assert len(box) == 0


async def test_an_answer_to_another_message_leaves_an_end_kept(box: SettleBox) -> None:
    box.put(end(1))
    await tick()
    box.answered(m.Settled(77, 5))
    assert len(box) == 1


async def test_nothing_is_sent_without_a_connection(box: SettleBox, outlet: Outlet) -> None:
    outlet.connected = False
    box.put(end(1))
    await tick()
    assert outlet.sent == []
    assert box.resume() == ([end(1)], [])


async def test_after_a_reconnect_the_unanswered_come_first_and_in_order(box: SettleBox, outlet: Outlet) -> None:
    box.put(end(1))
    await tick()
    outlet.connected = False
    box.put(end(2))
    assert box.resume() == ([end(1), end(2)], [])


async def test_what_a_resume_holds_is_kept_until_it_is_answered(box: SettleBox) -> None:
    box.put(end(1))
    first, _ = box.resume()
    box.resumed(9, first)
    assert len(box) == 1
    box.answered_in_resume(9, [m.SettleAnswer.OK])
    assert len(box) == 0


async def test_what_does_not_fit_into_a_resume_follows_it(box: SettleBox, outlet: Outlet) -> None:
    outlet.connected = False
    for number in range(5):
        box.put(end(number, b"x" * BODY_BYTES_MAX))
    outlet.connected = True
    first, rest = box.resume()
    assert (len(first), len(rest)) == (1, 4)
    resumed = outlet.next_request()
    box.resumed(resumed, first)
    box.send_rest(rest)
    # As much as may be on the way; the last one goes when there is room.
    assert [message.items for message in outlet.sent if isinstance(message, m.Settle)] == [[item] for item in rest[:3]]
    assert len(box) == 5
    box.answered_in_resume(resumed, [m.SettleAnswer.OK])
    assert [message.items for message in outlet.sent if isinstance(message, m.Settle)] == [[item] for item in rest]
    assert len(box) == 4


async def test_large_results_wait_here_while_the_connection_has_enough(box: SettleBox, outlet: Outlet) -> None:
    for number in range(20):
        box.put(end(number, b"x" * BODY_BYTES_MAX))
    await tick()
    told: list[m.SettleItem] = []
    while len(box):
        on_the_way = [message for message in outlet.sent if isinstance(message, m.Settle)]
        outlet.sent.clear()
        assert 0 < sum(len(item.body) for message in on_the_way for item in message.items) <= IN_FLIGHT_BYTES_MAX
        for message in on_the_way:
            told += message.items
            box.answered(m.Settled(message.request, 1))
    assert [item.fence for item in told] == list(range(20))


async def test_waiting_for_an_empty_box_ends_with_the_last_answer(box: SettleBox) -> None:
    box.put(end(1))
    await tick()
    box.put(end(2))
    await tick()
    empty = asyncio.create_task(box.wait_empty())
    await tick()
    box.answered(m.Settled(1, 5))
    await tick()
    assert not empty.done()
    box.answered(m.Settled(2, 6, [m.SettleAnswer.STALE]))
    await empty


async def test_waiting_for_an_empty_box_outlasts_the_connection(box: SettleBox, outlet: Outlet) -> None:
    box.put(end(1))
    await tick()
    empty = asyncio.create_task(box.wait_empty())
    outlet.connected = False
    await tick()
    assert not empty.done()
    outlet.connected = True
    box.resumed(7, box.resume()[0])
    box.answered_in_resume(7, [])
    await empty


async def test_a_result_that_the_broker_refuses_becomes_a_failure(box: SettleBox, outlet: Outlet) -> None:
    box.put(end(1, b"result"))
    await tick()
    box.refused(m.Refusal(1, "payload_too_large", "too large"))
    await tick()
    sent = outlet.sent[-1]
    assert isinstance(sent, m.Settle)
    failure = failure_in(sent.items[0])
    assert (failure.type, failure.retry) == ("payload_too_large", False)


async def test_a_failure_that_the_broker_refuses_is_not_told_again(box: SettleBox, outlet: Outlet) -> None:
    box.put(m.SettleItem(bytes(16), 1, m.RunEnd.FAILED, b"failure"))
    await tick()
    box.refused(m.Refusal(1, "refused", "no"))
    await tick()
    assert len(outlet.sent) == 1
    assert len(box) == 0


@pytest.mark.parametrize("body_bytes", [0, 1_000, FRAME_BYTES_TARGET, BODY_BYTES_MAX])
def test_every_part_fits_a_frame_and_nothing_is_lost(body_bytes: int) -> None:
    count = ITEMS_A_FRAME_MAX + 10 if body_bytes == 0 else 12
    items = [end(number, bytes(body_bytes)) for number in range(count)]
    parts = list(in_frames(items))
    assert [item for part in parts for item in part] == items
    assert len(parts) > 1 or body_bytes == 1_000
    for part in parts:
        assert 0 < len(part) <= ITEMS_A_FRAME_MAX
        assert len(Codec().encode(m.Settle(1, part))) <= FRAME_BYTES_MAX


def test_no_ends_make_no_frame() -> None:
    assert list(in_frames([])) == []


def failed(number: int) -> tuple[m.DeliverItem, m.SettleItem]:
    job = number.to_bytes(16, "big")
    return m.DeliverItem(job, number, 1, "shop.charge", b""), m.SettleItem(job, number, m.RunEnd.FAILED, b"failure")


async def test_what_follows_a_failure_is_asked_for_and_logged(
    box: SettleBox, outlet: Outlet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="aioqueue.worker.settles")
    (run, end_of_run), (other, end_of_other) = failed(1), failed(2)
    for item, settle in ((run, end_of_run), (other, end_of_other)):
        box.expect(item)
        box.put(settle)
    box.put(end(3))
    await tick()
    assert outlet.sent == [m.Settle(1, [end_of_run, end_of_other, end(3)], True)]
    following = [
        m.Following(run.job, JobState.SCHEDULED, 2, 5, 2_100),
        m.Following(other.job, JobState.DEAD, 5, 5),
        # A later version may know other states.
        m.Following(end(3).job, 99, 1, 1),
    ]
    box.answered(m.Settled(1, 5, [], following))

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", f"job {id_text(run.job)} of task shop.charge: again in 2.1 s, attempt 3 of 5"),
        ("WARNING", f"job {id_text(other.job)} of task shop.charge: dead: out of attempts (5 of 5)"),
    ]
    box.put(end(4))
    await tick()
    assert outlet.sent[-1] == m.Settle(2, [end(4)])


async def test_a_failure_that_an_older_broker_answers_or_that_was_not_counted_is_not_asked_about_again(
    box: SettleBox, outlet: Outlet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="aioqueue.worker.settles")
    run, settle = failed(1)
    stale = m.Settled(2, 5, [m.SettleAnswer.STALE], [m.Following(run.job, JobState.DEAD, 5, 5)])
    for answer in (m.Settled(1, 5), stale):
        box.expect(run)
        box.put(settle)
        await tick()
        box.answered(answer)
    box.expect(run)
    box.put(settle)
    await tick()
    box.refused(m.Refusal(3, "payload_too_large", "too large"))
    await tick()
    box.put(end(2))
    await tick()

    assert [message.follows for message in outlet.sent if isinstance(message, m.Settle)] == [True, True, True, False]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
