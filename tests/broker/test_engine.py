"""The engine: what waits for the journal, what is looked up beside core, and what happens when the journal fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest
from anyio import EndOfStream

from aioqueue.archive.base import Tombstone
from aioqueue.clock import ManualClock
from aioqueue.errors import ArchiveFailed, ConnectionLost, JournalError
from aioqueue.journal.memory import Faults, Loss
from aioqueue.model.ids import own_id
from aioqueue.model.records import FinishedJob
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.states import JobState
from aioqueue.protocol import messages as m
from tests.broker.conftest import RESULT, House, item, running


async def test_no_acknowledgement_leaves_before_its_batch_is_durable(house: House) -> None:
    gate = asyncio.Event()
    faults = Faults()
    async with running(house, faults) as at:
        client = await at.peer()
        faults.delay = gate.wait
        client.say(m.Submit(client.ask(), [item()]))
        assert await client.heard_nothing()
        gate.set()
        assert (await client.hear(m.Submitted)).outcomes == []


async def test_a_refusal_waits_for_the_batches_decided_before_it(house: House) -> None:
    gate = asyncio.Event()
    faults = Faults()
    async with running(house, faults) as at:
        client = await at.peer()
        faults.delay = gate.wait
        client.say(m.Submit(client.ask(), [item()]))
        client.say(m.Submit(client.ask(), [item(namespace="elsewhere")]))
        assert await client.heard_nothing()
        gate.set()
        await client.hear(m.Submitted)
        assert (await client.hear(m.Submitted)).refused[0].code == "wrong_namespace"


async def test_a_pong_passes_by_a_journal_that_is_slow(house: House) -> None:
    gate = asyncio.Event()
    faults = Faults()
    async with running(house, faults) as at:
        client = await at.peer()
        faults.delay = gate.wait
        client.say(m.Submit(client.ask(), [item()]), m.Ping(7))
        assert (await client.hear(m.Pong)).number == 7
        gate.set()


async def test_a_run_is_delivered_only_when_its_lease_is_durable(house: House) -> None:
    gate = asyncio.Event()
    faults = Faults()
    async with running(house, faults) as at:
        worker, client = await at.worker(1), await at.peer()
        faults.delay = gate.wait
        client.say(m.Submit(client.ask(), [item()]))
        assert await worker.heard_nothing()
        gate.set()
        assert len(await worker.runs()) == 1


async def test_submit_and_lease_share_one_batch(house: House) -> None:
    async with running(house) as at:
        worker, client = await at.worker(1), await at.peer()
        before = at.broker.engine.position
        await client.submit(item())
        await worker.runs()
        assert at.broker.engine.position == before + 1


async def test_nothing_is_appended_for_questions(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        before = at.broker.engine.position
        client.say(m.GetJob(client.ask(), item().job))
        assert (await client.hear(m.Refusal)).code == "job_not_found"
        assert at.broker.engine.position == before


@pytest.mark.parametrize("loss", list(Loss))
async def test_an_append_of_unknown_outcome_stops_the_broker_without_an_answer(house: House, loss: Loss) -> None:
    faults = Faults()

    async def lose_an_append() -> None:
        async with running(house, faults) as at:
            client = await at.peer()
            faults.lose = loss
            client.say(m.Submit(client.ask(), [item()]))
            told = await client.hear(m.Refusal)
            assert (told.request, told.code) == (0, "append_unknown")
            with pytest.raises((EndOfStream, ConnectionLost)):
                await client.hear(m.Submitted)

    with pytest.raises(JournalError):
        await lose_an_append()


async def test_a_journal_that_says_it_wrote_nothing_is_asked_again_with_the_same_batch(house: House) -> None:
    faults = Faults()
    async with running(house, faults) as at:
        client = await at.peer()
        faults.refuse = 2
        assert (await client.submit(item())).outcomes == []
        assert faults.refuse == 0


async def test_a_job_sent_again_is_one_job_whether_it_lives_ended_or_is_archived(house: House) -> None:
    first = item()
    again = m.SubmitItem(first.job, first.spec, first.args, int(m.SubmitFlag.RESEND))
    async with running(house) as at:
        client = await at.peer()
        await client.submit(first)
        assert (await client.submit(again)).outcomes == [m.Outcome.EXISTS]
        worker = await at.worker(1)
        (run,) = await worker.runs()
        await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT))
        assert (await client.submit(again)).outcomes == [m.Outcome.EXISTS]
        await at.broker.overlay.write()
        assert at.broker.overlay.find(first.job) is None
        assert (await client.submit(again)).outcomes == [m.Outcome.EXISTS]
    async with running(house) as at:
        client = await at.peer()
        assert (await client.submit(again)).outcomes == [m.Outcome.EXISTS]
        assert not at.broker.engine.partition.state.jobs


async def test_a_job_sent_again_that_never_arrived_is_accepted(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        assert (await client.submit(item(flags=int(m.SubmitFlag.RESEND)))).outcomes == []


async def test_two_callers_of_one_own_id_make_one_job(house: House) -> None:
    mine = item(job=own_id("default", "default", "invoice-42"), flags=int(m.SubmitFlag.OWN_ID), own_id="invoice-42")
    async with running(house) as at:
        one, other = await at.peer(), await at.peer()
        one.say(m.Submit(one.ask(), [mine]))
        other.say(m.Submit(other.ask(), [mine]))
        outcomes = [(await one.hear(m.Submitted)).outcomes, (await other.hear(m.Submitted)).outcomes]
        assert sorted(outcomes) == [[], [m.Outcome.EXISTS]]
        assert len(at.broker.engine.partition.state.jobs) == 1


async def test_submit_cancel_and_submit_again_of_one_own_id_in_one_breath_is_one_job(house: House) -> None:
    mine = item(job=own_id("default", "default", "x"), flags=int(m.SubmitFlag.OWN_ID))
    async with running(house) as at:
        client = await at.peer()
        client.say(m.Submit(client.ask(), [mine]))
        client.say(m.CancelJob(client.ask(), mine.job))
        client.say(m.Submit(client.ask(), [mine]))
        assert (await client.hear(m.Submitted)).outcomes == []
        assert (await client.hear(m.Cancelled)).outcome == "cancelled"
        assert (await client.hear(m.Submitted)).outcomes == [m.Outcome.EXISTS]
        assert not at.broker.engine.partition.state.jobs


async def test_a_settle_repeated_after_archiving_is_answered_already(house: House) -> None:
    async with running(house) as at:
        worker, client = await at.worker(1), await at.peer()
        await client.submit(item())
        (run,) = await worker.runs()
        end = m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT)
        assert (await worker.settle(end)).answers == []
        await at.broker.overlay.write()
        assert (await worker.settle(end)).answers == [m.SettleAnswer.ALREADY]
        stale = m.SettleItem(run.job, run.fence + 1, m.RunEnd.SUCCEEDED, RESULT)
        assert (await worker.settle(stale)).answers == [m.SettleAnswer.STALE]


async def test_a_dead_job_is_requeued_with_its_arguments_and_dies_or_lives_anew(house: House) -> None:
    async with running(house) as at:
        worker, client = await at.worker(1), await at.peer()
        job = item(retry=RetryPolicy(attempts=1))
        await client.submit(job)
        (run,) = await worker.runs()
        await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.FAILED, RESULT))
        await at.broker.overlay.write()
        client.say(m.RetryJob(client.ask(), job.job))
        assert (await client.hear(m.Requeued)).generation == 1
        client.say(m.RetryJob(client.ask(), job.job, 1))
        assert (await client.hear(m.Requeued)).generation == 1
        (again,) = await worker.runs()
        assert (again.job, again.args, again.attempt, again.run) == (job.job, job.args, 1, 1)
        assert again.fence > run.fence
        await worker.settle(m.SettleItem(again.job, again.fence, m.RunEnd.SUCCEEDED, RESULT))
        client.say(m.RetryJob(client.ask(), job.job))
        assert (await client.hear(m.Refusal)).code == "not_retryable"


async def test_what_was_acknowledged_is_there_after_a_restart_in_its_order(house: House) -> None:
    jobs = [item() for _ in range(5)]
    async with running(house) as at:
        client = await at.peer()
        await client.submit(*jobs)
    async with running(house) as at:
        worker = await at.worker(5)
        assert [run.job for run in await worker.runs()] == [job.job for job in jobs]


async def test_an_end_that_was_not_archived_before_a_crash_is_archived_after_it(house: House) -> None:
    job = item()
    async with running(house) as at:
        worker, client = await at.worker(1), await at.peer()
        await client.submit(job)
        (run,) = await worker.runs()
        await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT))
    # As if the archive's last commit had not come: an archive that is empty is filled again from the journal.
    fresh = House()
    fresh.store = house.store
    async with running(fresh) as at:
        client = await at.peer()
        client.say(m.Wait([job.job]))
        ended = (await client.hear(m.Ended)).items[0]
        assert (ended.state, ended.body) == (JobState.SUCCEEDED, RESULT)


async def test_what_waits_for_a_journal_that_fails_is_told_nothing_but_the_end(house: House) -> None:
    """An end of a run that is refused is an end that its worker takes back."""
    gate = asyncio.Event()
    faults = Faults()

    async def fail_with_a_line() -> None:
        async with running(house, faults) as at:
            worker, client = await at.worker(1), await at.peer()
            await client.submit(item())
            (run,) = await worker.runs()
            faults.delay, faults.lose = gate.wait, Loss.NOT_WRITTEN
            client.say(m.Submit(client.ask(), [item()]))
            assert await client.heard_nothing()
            worker.say(m.Settle(worker.ask(), [m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT)]))
            client.say(m.Submit(client.ask(), [item()]))
            assert await client.heard_nothing()
            gate.set()
            for peer in (worker, client):
                assert (await peer.hear(m.Refusal)).request == 0

    with pytest.raises(JournalError):
        await fail_with_a_line()


async def test_a_settle_is_stale_where_the_archive_cannot_be_read_and_harms_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def damaged(ids: Sequence[bytes]) -> NoReturn:
        raise ArchiveFailed(path="memory:", reason="a row is damaged")

    async with running(house) as at:
        worker, client = await at.worker(2), await at.peer()
        await client.submit(item(), item())
        one, other = await worker.runs()
        ends = [m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT) for run in (one, other)]
        await worker.settle(ends[0])
        await at.broker.overlay.write()
        monkeypatch.setattr(house.archive, "get", damaged)
        told = await worker.settle(*ends)
        assert told.answers == [m.SettleAnswer.STALE, m.SettleAnswer.OK]


async def test_requests_about_one_job_are_done_in_their_order_though_one_is_looked_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, appending = asyncio.Event(), asyncio.Event()
    faults = Faults()
    get = house.archive.get

    async def slow(ids: Sequence[bytes]) -> Any:
        await looking.wait()
        return await get(ids)

    monkeypatch.setattr(house.archive, "get", slow)
    key = own_id("default", "default", "invoice-42")
    async with running(house, faults) as at:
        client, another = await at.peer(), await at.peer()
        client.say(m.Submit(client.ask(), [item(job=key, own_id="invoice-42", flags=int(m.SubmitFlag.OWN_ID))]))
        client.say(m.CancelJob(client.ask(), key))
        assert await client.heard_nothing()
        faults.delay = appending.wait
        another.say(m.Submit(another.ask(), [item()]))
        assert await another.heard_nothing()
        client.say(m.RetryJob(client.ask(), key))
        assert await client.heard_nothing()
        looking.set()
        assert await client.heard_nothing()
        appending.set()
        assert (await client.hear(m.Cancelled)).outcome == "cancelled"
        assert (await client.hear(m.Requeued)).generation == 1


async def test_a_question_about_a_job_waits_for_a_submit_of_it_that_is_looked_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, read_on = asyncio.Event(), asyncio.Event()
    get = house.archive.get

    async def slow(ids: Sequence[bytes]) -> Any:
        looking.set()
        await read_on.wait()
        return await get(ids)

    monkeypatch.setattr(house.archive, "get", slow)
    jobs = [item(flags=int(m.SubmitFlag.RESEND)) for _ in range(3)]
    async with running(house) as at:
        client = await at.peer()
        # All in one breath, and then once more while the archive is asked.
        client.say(m.Submit(client.ask(), jobs), m.GetJob(client.ask(), jobs[0].job), m.Wait([jobs[1].job]))
        await looking.wait()
        client.say(m.GetJob(client.ask(), jobs[2].job))
        assert await client.heard_nothing()
        read_on.set()
        assert (await client.hear(m.Submitted)).refused == []
        assert [(await client.hear(m.JobRecord)).info.id for _ in range(2)] == [jobs[0].job, jobs[2].job]
        client.say(m.CancelJob(client.ask(), jobs[1].job))
        assert (await client.hear(m.Ended)).items[0].state == JobState.CANCELLED


async def test_an_end_found_beside_the_engine_is_not_told_before_it_is_durable(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, read_on, durable = asyncio.Event(), asyncio.Event(), asyncio.Event()
    get = house.archive.get

    async def slow_get(ids: Sequence[bytes]) -> dict[bytes, FinishedJob | Tombstone]:
        reading.set()
        await read_on.wait()
        return await get(ids)

    monkeypatch.setattr(house.archive, "get", slow_get)
    faults = Faults()
    mine = item()
    async with running(house, faults) as at:
        client, other = await at.peer(), await at.peer()
        client.say(m.Wait([mine.job]), m.GetJob(client.ask(), mine.job))
        await reading.wait()
        faults.delay = durable.wait
        other.say(m.Submit(other.ask(), [mine]), m.CancelJob(other.ask(), mine.job))
        async with asyncio.timeout(60):
            while at.broker.overlay.find(mine.job) is None:  # noqa: ASYNC110 - nothing says so, that is the point
                await asyncio.sleep(0)
        read_on.set()
        assert await client.heard_nothing()
        durable.set()
        assert (await client.hear(m.Ended)).items[0].state == JobState.CANCELLED
        assert (await client.hear(m.JobRecord)).info.state == "cancelled"


async def test_a_stop_of_the_process_in_the_middle_of_an_append_ends_no_session(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, faults = ManualClock(), Faults()
    async with running(house, faults, session_ttl_ms=1_000, clock=clock) as system:
        await system.worker(1)
        client = await system.peer()

        asked = asyncio.Event()
        post = system.broker.engine.post

        def posted(*entry: Any, **options: Any) -> None:
            post(*entry, **options)
            asked.set()

        async def stand_still() -> None:
            faults.delay = None
            monkeypatch.setattr(system.broker.engine, "post", posted)
            clock.advance(60_000)
            # Asked before anybody could rest: the next batch follows this one at once.
            client.say(m.Submit(client.ask(), [item()]))
            await asked.wait()

        faults.delay = stand_still
        sessions = set(system.broker.engine.partition.state.sessions)
        await client.submit(item())
        await client.hear(m.Submitted)
        assert set(system.broker.engine.partition.state.sessions) == sessions
