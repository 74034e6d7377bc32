"""`submit_many` of what does not fit one message, against a broker that says what the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aioqueue import BulkTooLarge, BulkUnknown, Call, Jobs, Queue, QueueFull
from aioqueue.client.bulk import _PARTS_UNDER_WAY
from aioqueue.errors import BadOption, BrokerUnavailable, NotSerializable, OutcomeUnknown
from aioqueue.limits import ATOMIC_BYTES_MAX, ATOMIC_JOBS_MAX, BODY_BYTES_MAX, BULK_PART_JOBS_MAX, FRAME_BYTES_TARGET
from aioqueue.model.ids import id_text
from aioqueue.model.states import JobState
from aioqueue.protocol import messages as m
from tests.support.fake_broker import FakeBroker, FakePeer
from tests.support.patience import eventually

RESEND = int(m.SubmitFlag.RESEND)
Entered = tuple[Queue, FakePeer]
MANY = ATOMIC_JOBS_MAX + 1


async def double(number: int) -> int:
    return 2 * number


async def store(data: bytes) -> None: ...


async def take_parts(peer: FakePeer, jobs: int) -> list[m.BulkStage]:
    """Take so many jobs in parts, and answer each part."""
    parts: list[m.BulkStage] = []
    while sum(len(part.items) for part in parts) < jobs:
        part = await peer.expect(m.BulkStage)
        peer.send(m.Submitted(part.request, 1))
        parts.append(part)
    return parts


async def test_what_does_not_fit_one_message_is_staged_in_parts_and_committed(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.ensure_future(queue.submit_many(task.call(number) for number in range(MANY)))
    parts = await take_parts(peer, MANY)
    commit = await peer.expect(m.BulkCommit)
    assert not submitting.done()
    peer.send(m.Submitted(commit.request, 2))
    jobs = await submitting
    items = [item for part in parts for item in part.items]
    assert [job.key for job in jobs] == [item.job for item in items]
    assert [part.part for part in parts] == list(range(len(parts)))
    assert {part.bulk for part in parts} == {commit.bulk}
    assert (commit.parts, commit.first) == (len(parts), jobs[0].key)
    assert max(len(part.items) for part in parts) == BULK_PART_JOBS_MAX


async def test_large_arguments_make_more_parts_and_none_is_much_larger_than_a_frame_should_be(
    entered: Entered,
) -> None:
    queue, peer = entered
    task = queue.task(store)
    body = bytes(BODY_BYTES_MAX // 10)
    jobs = ATOMIC_BYTES_MAX // len(body) + 1
    calls = [task.call(body)] * jobs
    submitting = asyncio.ensure_future(queue.submit_many(calls))
    parts = await take_parts(peer, jobs)
    peer.send(m.Submitted((await peer.expect(m.BulkCommit)).request, 2))
    assert len(await submitting) == jobs
    assert max(sum(len(item.args) for item in part.items) for part in parts) <= FRAME_BYTES_TARGET


async def test_what_fits_one_message_goes_as_one_though_it_comes_asynchronously(
    entered: Entered,
) -> None:
    queue, peer = entered
    task = queue.task(double)

    async def calls() -> AsyncIterator[Call[int]]:
        for number in range(3):
            yield task.call(number)

    submitting = asyncio.ensure_future(queue.submit_many(calls()))
    submit = await peer.expect(m.SubmitAtomic)
    peer.send(m.Submitted(submit.request, 1))
    jobs = await submitting
    assert isinstance(jobs, Jobs)
    assert [job.key for job in jobs] == [item.job for item in submit.items]


async def test_a_stream_is_not_read_faster_than_the_broker_takes_it(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    read = 0

    async def calls() -> AsyncIterator[Call[int]]:
        nonlocal read
        while True:
            read += 1
            yield task.call(read)

    submitting = asyncio.ensure_future(queue.submit_many(calls(), atomic=False))
    first = await peer.expect(m.Submit)
    for _ in range(_PARTS_UNDER_WAY - 1):
        await peer.expect(m.Submit)
    # Everything that could be read has been, or another part would be on its way.
    queue.session().link.send_nowait(m.Watch())
    await peer.expect(m.Watch)
    held = read
    assert held <= (_PARTS_UNDER_WAY + 1) * BULK_PART_JOBS_MAX + 1
    peer.send(m.Submitted(first.request, 1))
    await peer.expect(m.Submit)
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting


@pytest.mark.parametrize("staged", [0, 3])
async def test_after_a_reconnect_the_parts_without_an_answer_are_said_again_as_they_were(
    entered: Entered, broker: FakeBroker, staged: int
) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.ensure_future(queue.submit_many(task.call(number) for number in range(MANY)))
    for _ in range(staged):
        peer.send(m.Submitted((await peer.expect(m.BulkStage)).request, 1))
    lost = await peer.expect(m.BulkStage)
    await broker.stop()
    await broker.start()
    peer = await broker.welcome(fresh=False)
    again = await peer.expect(m.BulkStage)
    # Which of the answers arrived is not known here: it is one of those that were given, or the first that was not.
    assert again.part <= lost.part
    assert {item.flags for item in again.items} == {RESEND}
    if again.part == lost.part:
        assert [item.job for item in again.items] == [item.job for item in lost.items]
    peer.send(m.Submitted(again.request, 1))
    parts = {again.part}
    while len(parts) + again.part < -(-MANY // BULK_PART_JOBS_MAX):
        part = await peer.expect(m.BulkStage)
        parts.add(part.part)
        peer.send(m.Submitted(part.request, 1))
    commit = await peer.expect(m.BulkCommit)
    await broker.stop()
    await broker.start()
    peer = await broker.welcome(fresh=False)
    said_again = await peer.expect(m.BulkCommit)
    assert (said_again.bulk, said_again.first) == (commit.bulk, commit.first)
    peer.send(m.Submitted(said_again.request, 2))
    assert len(await submitting) == MANY


async def test_a_part_that_is_refused_drops_the_bulk(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.ensure_future(queue.submit_many(task.call(number) for number in range(MANY)))
    part = await peer.expect(m.BulkStage)
    peer.send(m.Refusal(part.request, "queue_full", "full"))
    with pytest.raises(QueueFull):
        await submitting
    message = await peer.read()
    while isinstance(message, m.BulkStage):
        message = await peer.read()
    assert message == m.BulkDrop(part.bulk)


async def test_a_bulk_that_the_broker_forgot_is_told_as_such(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.ensure_future(queue.submit_many(task.call(number) for number in range(MANY)))
    await take_parts(peer, MANY)
    peer.send(m.Refusal((await peer.expect(m.BulkCommit)).request, "bulk_unknown", "gone"))
    with pytest.raises(BulkUnknown):
        await submitting


async def test_an_id_of_its_own_among_more_than_a_message_holds_is_refused(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    calls = [task.call(number) for number in range(MANY)]
    calls[-1] = task.options(id="invoice-42").call(1)
    submitting = asyncio.ensure_future(queue.submit_many(calls))
    await take_parts(peer, MANY - 1)
    with pytest.raises(BulkTooLarge, match="invoice-42"):
        await submitting
    await peer.expect(m.BulkDrop)


async def test_a_refused_item_of_a_part_says_how_many_were_submitted_before(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.ensure_future(
        queue.submit_many((task.call(n) for n in range(2 * BULK_PART_JOBS_MAX)), atomic=False)
    )
    first = await peer.expect(m.Submit)
    second = await peer.expect(m.Submit)
    peer.send(m.Submitted(first.request, 1))
    outcomes = [m.Outcome.ACCEPTED] * (len(second.items) - 1) + [m.Outcome.REFUSED]
    refused = [m.ItemRefused(len(second.items) - 1, "queue_full", "full")]
    peer.send(m.Submitted(second.request, 2, outcomes, refused))
    with pytest.raises(QueueFull) as caught:
        await submitting
    assert f"{BULK_PART_JOBS_MAX:,} of the jobs before" in caught.value.__notes__[0]


async def test_of_many_calls_the_one_that_cannot_be_sent_is_named_by_its_number(entered: Entered) -> None:
    queue, _ = entered
    task = queue.task(double)
    calls: list[Any] = [task.call(1), task.call(2), task.call(object())]  # type: ignore[arg-type]
    with pytest.raises(NotSerializable) as caught:
        await queue.submit_many(calls)
    assert caught.value.__notes__ == ["it is call 2 of the submit_many, counted from 0"]


async def test_jobs_of_a_stream_are_a_sequence_and_are_asked_for_together(entered: Entered) -> None:
    queue, peer = entered
    twice, named = queue.task(double), queue.task(store)

    async def calls() -> AsyncIterator[Call[Any]]:
        yield twice.call(1)
        yield named.call(b"")
        yield twice.call(2)

    submitting = asyncio.ensure_future(queue.submit_many(calls()))
    submit = await peer.expect(m.SubmitAtomic)
    peer.send(m.Submitted(submit.request, 1))
    jobs = await submitting
    assert [job.task for job in jobs] == [twice.name, named.name, twice.name]
    assert [job.task for job in (jobs[-1], jobs[1], *jobs[:2])] == [twice.name, named.name, twice.name, named.name]
    with pytest.raises(IndexError):
        jobs[3]
    waiting = asyncio.ensure_future(next(iter(jobs)).result())
    wait = await peer.expect(m.Wait)
    assert wait.jobs == [job.key for job in jobs]
    peer.send(m.Ended([m.EndedItem(wait.jobs[0], JobState.SUCCEEDED, b"\x01\x02")]))
    assert await waiting == 2


@pytest.mark.parametrize(
    ("calls", "options", "fragment"),
    [
        (5, {}, "calls=5 cannot be used: it must be an iterable"),
        ("text", {}, "calls='t' cannot be used: each of them must be a `task.call"),
        ([1, 2], {}, "calls=1 cannot be used: each of them must be a `task.call"),
        ([], {"progress": 3}, "progress=3 cannot be used"),
        ([], {"atomic": "no"}, "atomic='no' cannot be used"),
    ],
)
async def test_what_are_no_calls_or_options_are_refused_before_anything_is_sent(
    calls: Any, options: dict[str, Any], fragment: str, entered: Entered
) -> None:
    queue, _ = entered
    with pytest.raises(BadOption) as caught:
        await queue.submit_many(calls, **options)
    assert fragment in str(caught.value)


async def test_a_submit_many_ends_with_its_queue(entered: Entered, broker: FakeBroker) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.ensure_future(queue.submit_many(task.call(number) for number in range(MANY)))
    await peer.expect(m.BulkStage)
    queue.session()._fail(BrokerUnavailable(url=queue.url, reason="gone for good"))
    with pytest.raises(BrokerUnavailable):
        await submitting


async def test_a_bulk_that_was_given_up_while_nobody_listened_is_dropped_and_not_begun_again(
    entered: Entered, broker: FakeBroker
) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.ensure_future(queue.submit_many(task.call(number) for number in range(MANY)))
    part = await peer.expect(m.BulkStage)
    await broker.stop()
    await peer.until_closed()
    while queue.session().link.connected:  # noqa: ASYNC110 - the link tells nobody that it is lost
        await asyncio.sleep(0.001)
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    await broker.start()
    peer = await broker.welcome(fresh=False)
    assert await peer.read() == m.BulkDrop(part.bulk)
    queue.session().link.send_nowait(m.Watch())
    await peer.expect(m.Watch)


async def test_a_bulk_waits_from_its_last_progress(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    hasty = queue.using(timeout=0.5)
    submitting = asyncio.ensure_future(hasty.submit_many(task.call(number) for number in range(MANY)))
    began = asyncio.get_running_loop().time()
    parts = 0
    while True:
        said = await peer.read()
        if isinstance(said, m.BulkCommit):
            break
        assert isinstance(said, m.BulkStage)
        # Each part takes its time, all of them much more than one call may.
        await asyncio.sleep(0.1)
        peer.send(m.Submitted(said.request, 1))
        parts += 1
    assert asyncio.get_running_loop().time() - began > 1.0
    peer.send(m.Submitted(said.request, 2))
    assert len(await submitting) == MANY
    assert parts > 10


async def test_a_bulk_whose_parts_are_not_answered_is_withdrawn(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    hasty = queue.using(timeout=0.05)
    submitting = asyncio.ensure_future(hasty.submit_many(task.call(number) for number in range(MANY)))
    part = await peer.expect(m.BulkStage)
    with pytest.raises(BrokerUnavailable, match="the submit_many was not sent, and will not be") as caught:
        await submitting
    assert not caught.value.sent
    said = await peer.read()
    while isinstance(said, m.BulkStage):
        said = await peer.read()
    assert said == m.BulkDrop(part.bulk)


async def test_a_bulk_whose_commit_is_not_answered_is_unknown_and_named(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.ensure_future(
        queue.using(timeout=0.5).submit_many(task.call(number) for number in range(MANY))
    )
    parts = await take_parts(peer, MANY)
    commit = await peer.expect(m.BulkCommit)
    with pytest.raises(OutcomeUnknown, match="the commit of bulk") as caught:
        await submitting
    assert (caught.value.bulk, caught.value.jobs) == (commit.bulk.hex(), MANY)
    assert caught.value.job == id_text(parts[0].items[0].job)
    assert await peer.read() == m.BulkDrop(commit.bulk)


async def test_one_frame_of_many_jobs_that_is_not_answered_is_unknown(entered: Entered, broker: FakeBroker) -> None:
    queue, peer = entered
    task = queue.task(double)
    submitting = asyncio.ensure_future(queue.using(timeout=0.05).submit_many([task.call(1), task.call(2)]))
    sent = await peer.expect(m.SubmitAtomic)
    with pytest.raises(OutcomeUnknown, match="the submit of 2 jobs was sent") as caught:
        await submitting
    assert (caught.value.job, caught.value.jobs) == (id_text(sent.items[0].job), 2)
    peer.abort()
    peer = await broker.welcome(fresh=False)
    await eventually(lambda: queue.session().link.connected)
    queue.session().link.send_nowait(m.Watch())
    await peer.expect(m.Watch)


async def test_a_submit_of_many_that_is_not_atomic_says_how_many_are_certain(entered: Entered) -> None:
    queue, peer = entered
    task = queue.task(double)
    calls = (task.call(number) for number in range(2 * BULK_PART_JOBS_MAX))
    submitting = asyncio.ensure_future(queue.using(timeout=0.5).submit_many(calls, atomic=False))
    await peer.accept_submit()
    await peer.expect(m.Submit)
    with pytest.raises(OutcomeUnknown, match=f"{BULK_PART_JOBS_MAX:,} of its jobs are certain") as caught:
        await submitting
    assert caught.value.certain == BULK_PART_JOBS_MAX
