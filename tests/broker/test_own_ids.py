"""Ids that callers give, at a real broker: who is told what, and when an id is free again."""

from __future__ import annotations

import pytest

from aioqueue.clock import ManualClock
from aioqueue.limits import OWN_ID_FREED_MS, TOMBSTONE_MS
from aioqueue.model.ids import child_id, id_text, own_id
from aioqueue.model.spec import RetryPolicy, Spec, pack_spec
from aioqueue.protocol import messages as m
from aioqueue.protocol.extras import Key, packed
from tests.broker.conftest import RESULT, House, Running, Script, item, running

ID = own_id("default", "default", "invoice-42")
OWN = int(m.SubmitFlag.OWN_ID)
RESEND = int(m.SubmitFlag.RESEND)
ONCE = RetryPolicy(attempts=1)


def mine(flags: int = OWN, *, keep_ms: int = 0, **fields: object) -> m.SubmitItem:
    given = {"job": ID, "own_id": "invoice-42", "retry": ONCE, **fields}
    return item(flags=flags, keep_ms=keep_ms, **given)  # type: ignore[arg-type]


def of_task(task: str, each: m.SubmitItem) -> m.SubmitItem:
    each.spec = pack_spec(Spec("default", "default", task, keep_ms=0, retry=ONCE))
    return each


async def work(at: Running, end: m.RunEnd = m.RunEnd.SUCCEEDED) -> None:
    """A worker runs the job to its end."""
    worker = await at.worker(1)
    (run,) = await worker.runs()
    body = RESULT if end is m.RunEnd.SUCCEEDED else b"\x01\x94\xa1E\xa1t\xa0\xc3"
    await worker.settle(m.SettleItem(run.job, run.fence, end, body))
    worker.say(m.Capacity(0, []), m.Ping(1))
    await worker.hear(m.Pong)


async def forget(at: Running, clock: ManualClock) -> None:
    """The job is past its retention."""
    await at.broker.overlay.write()
    while await at.broker.overlay._archive.retain(clock.now().wall_ms, 100, 1 << 40):
        pass


async def info(client: Script) -> m.JobRecord:
    client.say(m.GetJob(client.ask(), ID, True))
    return await client.hear(m.JobRecord)


async def test_another_task_under_an_id_that_is_there_is_refused_and_both_are_named(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        assert (await client.submit(mine())).outcomes == []
        answer = await client.submit(of_task("mail.drop", mine()), item())
        assert answer.outcomes == [m.Outcome.REFUSED, m.Outcome.ACCEPTED]
        assert [refused.code for refused in answer.refused] == ["duplicate"]
        assert answer.refused[0].fields == {"job": id_text(ID), "task": "test.task", "asked": "mail.drop"}
        await work(at)
        assert (await client.submit(of_task("mail.drop", mine()))).refused[0].code == "duplicate"
        assert (await client.submit(mine())).outcomes == [m.Outcome.EXISTS]


async def test_an_atomic_submit_with_the_id_of_another_task_is_refused_whole(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        await client.submit(mine())
        other = item()
        client.say(m.SubmitAtomic(client.ask(), [other, of_task("mail.drop", mine())]))
        assert (await client.hear(m.Refusal)).code == "duplicate"
        assert other.job not in at.broker.engine.partition.state.jobs
        client.say(m.SubmitAtomic(client.ask(), [other, mine()]))
        assert (await client.hear(m.Submitted)).outcomes == [m.Outcome.ACCEPTED, m.Outcome.EXISTS]


async def test_an_id_is_there_until_an_hour_after_its_job_was_forgotten_and_then_a_new_job(house: House) -> None:
    clock = ManualClock()
    async with running(house, clock=clock) as at:
        client = await at.peer()
        await client.submit(mine())
        await work(at)
        await forget(at, clock)
        clock.advance(OWN_ID_FREED_MS)
        client = await at.peer()
        assert (await client.submit(mine())).outcomes == [m.Outcome.EXISTS]
        clock.advance(1)
        # Another task may have it now.
        assert (await client.submit(of_task("mail.drop", mine()))).outcomes == []
        assert (await client.submit(of_task("mail.drop", mine(OWN | RESEND)))).outcomes == [m.Outcome.EXISTS]
        told = (await info(client)).info
        assert (told.generation, told.first_generation, told.own_id, told.task) == (1, 1, "invoice-42", "mail.drop")
        await work(at)
        assert (await client.submit(of_task("mail.drop", mine(OWN | RESEND)))).outcomes == [m.Outcome.EXISTS]


async def test_the_end_of_a_new_use_is_told_and_not_that_of_the_one_before(house: House) -> None:
    clock = ManualClock()
    async with running(house, clock=clock) as at:
        client = await at.peer()
        await client.submit(mine())
        await work(at)
        await forget(at, clock)
        clock.advance(OWN_ID_FREED_MS + 1)
        client = await at.peer()
        client.say(m.Submit(client.ask(), [mine(OWN | int(m.SubmitFlag.WANT_RESULT), keep_ms=-1)]))
        await client.hear(m.Submitted)
        await work(at, m.RunEnd.FAILED)
        assert (await client.hear(m.Ended)).items[0].state == 8
        await at.broker.overlay.write()
        record = await info(client)
        assert (record.info.state, [(run.generation, run.outcome) for run in record.runs]) == ("dead", [(1, "failed")])
        # A retry of the job before, which comes late, does nothing to this one.
        client.say(m.RetryJob(client.ask(), ID, 1))
        assert (await client.hear(m.Requeued)).generation == 1
        assert (await info(client)).info.state == "dead"


async def test_a_new_use_survives_a_restart_before_the_archive_has_heard_of_it(house: House) -> None:
    clock = ManualClock()
    async with running(house, clock=clock) as at:
        await (await at.peer()).submit(mine())
        await work(at)
        await forget(at, clock)
    clock.advance(OWN_ID_FREED_MS + 1)
    async with running(house, clock=clock) as at:
        assert (await (await at.peer()).submit(mine())).outcomes == []
        # Its journal states the level that a release without new uses does not read.
        assert at.broker.engine.partition.level == 2
    async with running(house, clock=clock) as at:
        client = await at.peer()
        assert (await client.submit(mine())).outcomes == [m.Outcome.EXISTS]
        assert (await info(client)).info.first_generation == 1
        await work(at)
        await forget(at, clock)
        clock.advance(OWN_ID_FREED_MS + 1)
        client = await at.peer()
        assert (await client.submit(mine())).outcomes == []
        assert (await info(client)).info.generation == 2


CHILD = child_id("default", "default", bytes(16), ("test.task", b"", 1))


@pytest.mark.parametrize(
    "said",
    [
        mine(RESEND, job=CHILD, own_id=""),
        mine(RESEND | OWN, job=CHILD),
        mine(RESEND | OWN, extra=packed({Key.PARENT: bytes(16)})),
    ],
    ids=["derived", "derived and said to be its own", "its own, of a child"],
)
async def test_a_child_is_never_there_twice(house: House, said: m.SubmitItem) -> None:
    clock = ManualClock()
    async with running(house, clock=clock) as at:
        client = await at.peer()
        await client.submit(said)
        await work(at)
        await forget(at, clock)
        clock.advance(TOMBSTONE_MS - 1_000)
        client = await at.peer()
        assert (await client.submit(said)).outcomes == [m.Outcome.EXISTS]


async def test_a_bulk_in_parts_has_no_ids_of_its_own(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        client.say(m.BulkStage(client.ask(), bytes(16), 0, [mine()]))
        assert (await client.hear(m.Refusal)).code == "bad_option"


async def test_what_runs_and_what_failed_is_watched_with_its_own_id(house: House) -> None:
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(2)
        await client.submit(mine(), item())
        runs = {run.job: run for run in [*await worker.runs()]}
        client.say(m.Watch())
        view = (await client.hear(m.StatisticsUpdate)).statistics
        assert sorted(job.own_id for job in view.running) == ["", "invoice-42"]
        run = runs[ID]
        await worker.settle(m.SettleItem(ID, run.fence, m.RunEnd.FAILED, b"\x01\x94\xa1E\xa1t\xa0\xc3"))
        view = (await client.hear(m.StatisticsUpdate)).statistics
        assert [failure.own_id for failure in view.failures] == ["invoice-42"]


# --- parts of ids -------------------------------------------------------------------------------------------------


async def test_jobs_are_found_by_the_last_twelve_digits_of_their_ids(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        done, waits = item(keep_ms=-1), item(queue="other")
        await client.submit(done, waits)
        await work(at)
        for wanted in (done, waits):
            client.say(m.FindJobs(client.ask(), id_suffix=wanted.job.hex()[-12:]))
            assert [job.id for job in (await client.hear(m.JobPage)).jobs] == [wanted.job]
            client.say(m.FindJobs(client.ask(), id_suffix=wanted.job.hex()[-12:], id_prefix="ff"))
            assert (await client.hear(m.JobPage)).jobs == []


@pytest.mark.parametrize("suffix", ["12", "0123456789abcdef", "0123456789ag"])
async def test_what_no_id_ends_with_is_refused(house: House, suffix: str) -> None:
    async with running(house) as at:
        client = await at.peer()
        client.say(m.FindJobs(client.ask(), id_suffix=suffix))
        assert (await client.hear(m.Refusal)).code == "bad_option"
