from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aioqueue.client.filters import Filter
from aioqueue.client.patience import Patience
from aioqueue.client.session import Session
from aioqueue.errors import (
    BadOption,
    BrokerUnavailable,
    DeadlineExceeded,
    JobNotFound,
    NotRetryable,
    OutcomeUnknown,
    QueueClosed,
    Unsupported,
)
from aioqueue.model.ids import id_text
from aioqueue.protocol import messages as m
from tests.support.examples import INFO
from tests.support.fake_broker import FakeBroker, FakePeer
from tests.support.patience import eventually

Opened = Callable[..., Awaitable[tuple[Session, FakePeer]]]
JOB = bytes(16)


async def test_an_answer_goes_to_who_asked(session_of: Opened) -> None:
    session, peer = await session_of()
    first = asyncio.ensure_future(session.questions.cancel(JOB, "no"))
    second = asyncio.ensure_future(session.questions.cancel(JOB, "yes"))
    asked = [await peer.expect(m.CancelJob) for _ in range(2)]
    assert [question.reason for question in asked] == ["no", "yes"]
    peer.send(m.Cancelled(asked[1].request, "cancelled"), m.Cancelled(asked[0].request, "finished"))
    assert (await first, await second) == ("finished", "cancelled")
    assert len(session.questions) == 0


async def test_a_refusal_is_raised_with_its_fields(session_of: Opened) -> None:
    session, peer = await session_of()
    asking = asyncio.ensure_future(session.questions.info(JOB))
    asked = await peer.expect(m.GetJob)
    peer.send(m.Refusal(asked.request, "job_not_found", "no job x", {"job": "x"}))
    with pytest.raises(JobNotFound, match="no job x") as caught:
        await asking
    assert caught.value.job == "x"


async def test_what_is_known_of_a_job_is_told_as_people_read_it(session_of: Opened) -> None:
    session, peer = await session_of()
    asking = asyncio.ensure_future(session.questions.info(INFO.id))
    asked = await peer.expect(m.GetJob)
    peer.send(m.JobRecord(asked.request, INFO))
    info = await asking
    assert (info.id, info.own_id, info.state) == (id_text(INFO.id), INFO.own_id, INFO.state)
    assert info.finished_at is not None
    assert info.finished_at.isoformat() == "2023-11-14T22:13:20.002000+00:00"
    assert info.due_at is None
    assert info.failure is not None
    assert info.attempts[0].outcome == "failed"


async def test_a_question_without_an_answer_is_asked_again_after_a_reconnect(
    session_of: Opened, broker: FakeBroker
) -> None:
    session, peer = await session_of()
    asking = asyncio.ensure_future(session.questions.cancel(JOB, ""))
    first = await peer.expect(m.CancelJob)
    peer.abort()
    peer = await broker.welcome()
    second = await peer.expect(m.CancelJob)
    assert second.request > first.request
    peer.send(m.Cancelled(second.request, "cancelled"))
    assert await asking == "cancelled"


async def test_a_question_asked_without_a_connection_leaves_with_the_next(
    session_of: Opened, broker: FakeBroker
) -> None:
    session, peer = await session_of()
    peer.abort()
    peer = await broker.accept()
    asking = asyncio.ensure_future(session.questions.cancel(JOB, ""))
    await asyncio.sleep(0)
    await peer.welcome()
    asked = await peer.expect(m.CancelJob)
    peer.send(m.Cancelled(asked.request, "cancelled"))
    assert await asking == "cancelled"


@pytest.mark.parametrize("reason", ["x" * 4_097, "\udcff"])
async def test_a_reason_that_cannot_be_sent_is_refused_here(session_of: Opened, reason: str) -> None:
    session, _ = await session_of()
    with pytest.raises(BadOption, match="reason"):
        await session.questions.cancel(JOB, reason)
    assert len(session.questions) == 0


async def test_a_question_that_cannot_be_packed_is_not_asked_again(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    with pytest.raises(UnicodeEncodeError):
        await session.questions.page(Filter(queue="\udcff"), 1, b"")
    peer.abort()
    await broker.welcome()
    assert len(session.questions) == 0


async def test_a_question_without_an_answer_ends_by_its_deadline(session_of: Opened) -> None:
    session, peer = await session_of(patience=Patience(0.02))
    with pytest.raises(DeadlineExceeded):
        await session.questions.info(JOB)
    await peer.expect(m.GetJob)
    assert len(session.questions) == 0


async def test_an_act_that_was_sent_and_not_answered_may_have_been_done(session_of: Opened) -> None:
    session, peer = await session_of(patience=Patience(0.02))
    with pytest.raises(OutcomeUnknown) as caught:
        await session.questions.cancel(JOB, "")
    await peer.expect(m.CancelJob)
    assert (caught.value.job, caught.value.sent) == (id_text(JOB), True)
    assert str(caught.value) == (
        f"the cancel of job {id_text(JOB)} was sent and not answered within 0.02 s; it may have been done, and asking "
        "again does no harm"
    )
    assert len(session.questions) == 0


@pytest.mark.parametrize("act", ["cancel", "retry"])
async def test_an_act_that_was_not_sent_is_withdrawn(session_of: Opened, broker: FakeBroker, act: str) -> None:
    session, _ = await session_of(patience=Patience(0.02))
    await broker.stop()
    await eventually(lambda: not session.link.connected)
    with pytest.raises(BrokerUnavailable) as caught:
        await (session.questions.cancel(JOB, "") if act == "cancel" else session.questions.retry(JOB))
    assert not isinstance(caught.value, DeadlineExceeded | OutcomeUnknown)
    assert not caught.value.sent
    assert str(caught.value).endswith(f"; the {act} of job {id_text(JOB)} was not sent, and will not be")
    await broker.start()
    peer = await broker.welcome(fresh=False)
    await eventually(lambda: session.link.connected)
    session.link.send_nowait(m.Watch())
    await peer.expect(m.Watch)


async def test_a_question_while_the_broker_is_away_says_so(session_of: Opened, broker: FakeBroker) -> None:
    session, _ = await session_of(patience=Patience(0.02))
    await broker.stop()
    await eventually(lambda: not session.link.connected)
    with pytest.raises(DeadlineExceeded, match="what is known of a job was not answered: no broker answers at tcp://"):
        await session.questions.info(JOB)


async def test_what_a_broker_cannot_do_is_told_when_that_is_known(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    with pytest.raises(Unsupported, match="the runs of a job"):
        await session.questions.history(JOB)
    peer.abort()
    peer = await broker.accept()
    asking = asyncio.ensure_future(session.questions.history(JOB))
    await peer.welcome(capabilities=int(m.Capability.RUNS))
    asked = await peer.expect(m.GetJob)
    assert asked.runs
    peer.send(m.JobRecord(asked.request, INFO))
    assert (await asking)[0].id == id_text(INFO.id)


async def test_a_caller_who_is_cancelled_leaves_nothing_behind(session_of: Opened) -> None:
    session, peer = await session_of()
    asking = asyncio.ensure_future(session.questions.info(JOB))
    asked = await peer.expect(m.GetJob)
    asking.cancel()
    await asyncio.wait([asking])
    assert len(session.questions) == 0
    # An answer that comes too late belongs to nobody.
    peer.send(m.Refusal(asked.request, "job_not_found", "no job x"))
    again = asyncio.ensure_future(session.questions.cancel(JOB, ""))
    peer.send(m.Cancelled((await peer.expect(m.CancelJob)).request, "cancelled"))
    await again


async def test_a_retry_that_was_answered_is_judged_as_it_was_answered(session_of: Opened) -> None:
    session, peer = await session_of()
    retrying = asyncio.ensure_future(session.questions.retry(JOB))
    peer.send(m.JobRecord((await peer.expect(m.GetJob)).request, INFO))
    asked = await peer.expect(m.RetryJob)
    peer.send(m.Refusal(asked.request, "not_retryable", "it is ready", {"job": "x", "state": "ready"}))
    with pytest.raises(NotRetryable):
        await retrying


async def test_a_retry_that_is_said_again_asks_for_the_same_generation(session_of: Opened, broker: FakeBroker) -> None:
    session, peer = await session_of()
    retrying = asyncio.ensure_future(session.questions.retry(JOB))
    peer.send(m.JobRecord((await peer.expect(m.GetJob)).request, INFO))
    first = await peer.expect(m.RetryJob)
    peer.abort()
    peer = await broker.welcome()
    again = await peer.expect(m.RetryJob)
    assert first.generation == again.generation == INFO.generation + 1
    peer.send(m.Requeued(again.request, again.generation))
    await retrying


async def test_the_end_of_the_session_ends_every_question(session_of: Opened) -> None:
    session, peer = await session_of()
    asking = asyncio.ensure_future(session.questions.info(JOB))
    await peer.expect(m.GetJob)
    await session.aclose()
    with pytest.raises(QueueClosed):
        await asking
