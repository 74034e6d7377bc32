"""What a connection may ask, and what it is told."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from collections.abc import Sequence
from typing import Any

import msgpack
import pytest
from anyio import EndOfStream
from msgspec import structs

from aioqueue.broker import seats
from aioqueue.errors import ArchiveFailed, ConnectionLost
from aioqueue.journal.memory import Faults
from aioqueue.limits import BODY_BYTES_MAX
from aioqueue.model.bodies import pack_failure
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.states import Cause, JobState
from aioqueue.model.views import Failure
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.extras import Key, number_in, packed
from aioqueue.transport.memory import memory_pair
from aioqueue.transport.stream import Stream
from tests.broker.conftest import RESULT, House, Script, item, running
from tests.support.patience import eventually


async def end_of(script: Script) -> str:
    """The code of the refusal that closes the connection."""
    refusal = await script.hear(m.Refusal)
    assert refusal.request == 0
    with pytest.raises((EndOfStream, ConnectionLost)):
        await script.hear(m.Welcome)
    return refusal.code


async def test_a_client_of_another_protocol_version_is_told_both_ranges(house: House) -> None:
    async with running(house) as at:
        script = await at.connect()
        script.say(m.Hello(7, 9, m.Role.CLIENT, os.urandom(16)))
        assert await end_of(script) == "protocol_version"


async def test_a_required_capability_that_is_not_there_is_refused(house: House) -> None:
    async with running(house) as at:
        script = await at.connect()
        script.say(m.Hello(1, 1, m.Role.CLIENT, os.urandom(16), required=1 << 40))
        assert await end_of(script) == "capability_missing"


async def test_a_client_that_saw_a_later_position_is_a_witness_of_lost_history(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        journal_id = client.welcome.journal_id  # type: ignore[attr-defined]
        script = await at.connect()
        script.say(m.Hello(1, 1, m.Role.CLIENT, os.urandom(16), journal_id=journal_id, position_seen=10_000))
        assert await end_of(script) == "history_lost"
        assert (await client.submit(item())).outcomes == []


async def test_a_bad_namespace_is_refused_by_its_name(house: House) -> None:
    async with running(house) as at:
        script = await at.connect()
        script.say(m.Hello(1, 1, m.Role.CLIENT, os.urandom(16), "no spaces please"))
        assert await end_of(script) == "bad_name"


async def test_a_job_of_another_namespace_is_not_found(house: House) -> None:
    async with running(house) as at:
        mine, theirs = await at.peer(), await at.peer(namespace="theirs")
        job = item()
        await mine.submit(job)
        for ask in (m.GetJob, m.CancelJob, m.RetryJob):
            theirs.say(ask(theirs.ask(), job.job))
            assert (await theirs.hear(m.Refusal)).code == "job_not_found"
        theirs.say(m.Wait([job.job]))
        assert (await theirs.hear(m.Ended)).items[0].code == "job_not_found"
        theirs.say(m.FindJobs(theirs.ask()))
        assert (await theirs.hear(m.JobPage)).jobs == []


async def test_each_item_of_a_submit_has_an_outcome_of_its_own(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        good, bad, unknown = item(), item(), item(extra={1: b"\xc0"})
        bad = m.SubmitItem(bad.job, b"\xc1", b"")
        misrouted = m.SubmitItem(item("other").job, good.spec, good.args)
        large = m.SubmitItem(item().job, good.spec, b"\x01" + b"x" * BODY_BYTES_MAX)
        answer = await client.submit(bad, good, unknown, misrouted, large)
        assert answer.outcomes == [m.Outcome.REFUSED, m.Outcome.ACCEPTED, *[m.Outcome.REFUSED] * 3]
        assert [(r.index, r.code) for r in answer.refused] == [
            (0, "malformed_frame"), (2, "unsupported"), (3, "bad_option"), (4, "payload_too_large"),
        ]  # fmt: skip
        assert list(at.broker.engine.partition.state.jobs) == [good.job]


async def test_a_spec_of_a_newer_version_refuses_its_item_alone(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        good, newer = item(), item()
        newer.spec = msgpack.packb([*msgpack.unpackb(newer.spec), ["gpu"], "newer"])
        answer = await client.submit(newer, good)
        assert answer.outcomes == [m.Outcome.REFUSED, m.Outcome.ACCEPTED]
        assert [(refusal.index, refusal.code) for refusal in answer.refused] == [(0, "unsupported")]
        assert list(at.broker.engine.partition.state.jobs) == [good.job]


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({4: b"\xc0"}, "unsupported"),
        ({Key.DEADLINE: b"\x00"}, "bad_option"),
        ({Key.DEADLINE: b"\xff"}, "bad_option"),
        ({Key.EXPIRES: b"\xcf" + b"\xff" * 8}, "bad_option"),
        ({Key.EXPIRES_AT: b"\xa3now"}, "bad_option"),
        ({Key.DEADLINE_AT: b""}, "bad_option"),
        ({Key.PARENT: b"\xc4\x03abc"}, "bad_option"),
        ({Key.INHERIT: b"\x01"}, "bad_option"),
        ({Key.INHERIT: b"\xc3"}, "bad_option"),
    ],
    ids=repr,
)
async def test_an_option_that_cannot_be_used_is_refused_by_its_name(
    house: House, extra: dict[int, bytes], code: str
) -> None:
    async with running(house) as at:
        client = await at.peer()
        answer = await client.submit(item(extra=extra))
        assert [refusal.code for refusal in answer.refused] == [code]
        assert not at.broker.engine.partition.state.jobs


async def test_a_delivery_tells_what_is_left_until_the_deadline_and_the_end_tells_why(house: House) -> None:
    async with running(house) as at:
        client, worker = await at.peer(), await at.peer(m.Role.WORKER)
        job = item(extra=packed({Key.DEADLINE: 60_000}), flags=m.SubmitFlag.WANT_RESULT)
        await client.submit(job)
        worker.say(m.Capacity(1, ["default"]))
        (run,) = (await worker.hear(m.Deliver)).items
        left_ms = number_in(run.extra, Key.DEADLINE, 60_000)
        assert 0 < left_ms <= 60_000
        assert number_in(run.extra, Key.DEADLINE_AT, 2**60) >= left_ms
        client.say(m.CancelJob(client.ask(), job.job, "enough"))
        assert (await worker.hear(m.CancelRun)).cause is Cause.CANCEL
        worker.say(m.Settle(worker.ask(), [m.SettleItem(run.job, run.fence, m.RunEnd.RELEASED)]))
        (end,) = (await client.hear(m.Ended)).items
        assert (end.state, end.note) == (JobState.CANCELLED, "enough")


async def test_an_atomic_submit_with_one_bad_item_does_nothing(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        client.say(m.SubmitAtomic(client.ask(), [item(), item(namespace="elsewhere"), item()]))
        refusal = await client.hear(m.Refusal)
        assert (refusal.code, refusal.message.startswith("item 1:")) == ("wrong_namespace", True)
        assert not at.broker.engine.partition.state.jobs


async def test_an_atomic_submit_over_its_bytes_is_refused_whole(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        spec = item().spec
        large = [m.SubmitItem(item().job, spec, b"\x01" + b"x" * (BODY_BYTES_MAX - 1)) for _ in range(4)]
        client.say(m.SubmitAtomic(client.ask(), large[:3]))
        assert (await client.hear(m.Submitted)).outcomes == []
    async with running(House()) as at:
        client = await at.peer()
        smaller = [m.SubmitItem(item().job, spec, b"\x01" + b"x" * 900_000) for _ in range(4)]
        client.say(m.SubmitAtomic(client.ask(), smaller))
        assert (await client.hear(m.Refusal)).code == "bulk_too_large"
        assert not at.broker.engine.partition.state.jobs


async def test_who_wants_the_result_is_told_it_once(house: House) -> None:
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(2)
        job = item(flags=int(m.SubmitFlag.WANT_RESULT))
        await client.submit(job)
        client.say(m.Wait([job.job]), m.Wait([job.job]), m.GetJob(client.ask(), job.job))
        await client.hear(m.JobRecord)
        (run,) = await worker.runs()
        await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, b"\x01\x07"))
        ended = await client.hear(m.Ended)
        assert [(e.job, e.state, e.body) for e in ended.items] == [(job.job, JobState.SUCCEEDED, b"\x01\x07")]
        assert await client.heard_nothing()


async def test_a_wait_for_an_archived_job_and_for_no_job_are_both_answered(house: House) -> None:
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(1)
        job, nobody = item(), item()
        await client.submit(job)
        (run,) = await worker.runs()
        await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT))
        await at.broker.overlay.write()
        client.say(m.Wait([job.job, nobody.job]))
        ended = await client.hear(m.Ended)
        assert [(e.state, e.code) for e in ended.items] == [(JobState.SUCCEEDED, ""), (0, "job_not_found")]


async def test_a_waiter_that_left_is_forgotten(house: House) -> None:
    async with running(house) as at:
        client, worker = await at.peer(), await at.peer(m.Role.WORKER)
        await client.submit(item(flags=int(m.SubmitFlag.WANT_RESULT)))
        assert len(at.broker.services.waiters) == 1
        await client.connection.aclose()
        worker.say(m.Capacity(1, ["default"]))
        (run,) = await worker.runs()
        assert (await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT))).answers == []
        assert len(at.broker.services.waiters) == 0


async def test_a_waiter_that_left_before_its_answer_is_forgotten(house: House) -> None:
    faults = Faults()
    gate, begun = asyncio.Event(), asyncio.Event()

    async def delay() -> None:
        begun.set()
        await gate.wait()

    async with running(house, faults) as at:
        client, other = await at.peer(), await at.peer()
        job = item()
        await client.submit(job)
        faults.delay = delay
        client.say(m.Submit(client.ask(), [item(flags=int(m.SubmitFlag.WANT_RESULT))]), m.Wait([job.job]))
        await begun.wait()
        await client.connection.aclose()
        await eventually(lambda: len(at.broker.services.crowd) == 1)
        faults.delay = None
        gate.set()
        await other.submit(item())
        assert len(at.broker.services.waiters) == 0


async def test_a_connection_that_left_before_its_welcome_is_forgotten(house: House) -> None:
    faults = Faults()
    gate, begun = asyncio.Event(), asyncio.Event()

    async def delay() -> None:
        begun.set()
        await gate.wait()

    gone: list[weakref.ref[Stream]] = []
    async with running(house, faults) as at:
        client = await at.peer()
        faults.delay = delay
        client.say(m.Submit(client.ask(), [item()]))
        await begun.wait()
        # No Welcome leaves while an append is under way.
        for _ in range(3):
            near, far = memory_pair()
            gone.append(weakref.ref(far))
            await near.send(Codec().encode(m.Hello(1, 1, m.Role.CLIENT, os.urandom(16))))
            await near.aclose()
            await at.broker.attend(far)
        del near, far
        faults.delay = None
        gate.set()
        # Whoever is welcomed now stood behind them in the engine's line.
        await at.peer()
        gc.collect()
        assert [each() for each in gone] == [None, None, None]


async def test_leases_that_a_returning_worker_does_not_name_are_given_back_in_place(house: House) -> None:
    secret = os.urandom(16)
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(2, secret=secret)
        jobs = [item() for _ in range(3)]
        await client.submit(*jobs)
        held = await worker.runs()
        again = await at.peer(m.Role.WORKER, secret)
        assert again.welcome.fresh is False  # type: ignore[attr-defined]
        again.say(m.Resume(again.ask(), [m.HeldRun(held[1].job, held[1].fence)]))
        assert (await again.hear(m.Resumed)).verdicts == [m.Verdict.KEEP]
        again.say(m.Capacity(2, ["default"]))
        (run,) = await again.runs()
        # The first job kept its place before the third, spent no attempt, and has a new lease.
        assert (run.job, run.attempt, run.run) == (jobs[0].job, 1, 2)
        with pytest.raises((EndOfStream, ConnectionLost)):
            await worker.hear(m.Deliver)


async def test_a_run_is_not_lost_between_an_older_connections_offer_and_a_newer_ones_resume(house: House) -> None:
    gate, faults, secret = asyncio.Event(), Faults(), os.urandom(16)
    async with running(house, faults) as at:
        older, newer, client = await at.peer(m.Role.WORKER, secret), await at.connect(), await at.peer()
        job = item()
        faults.delay = gate.wait
        client.say(m.Submit(client.ask(), [job]))
        assert await client.heard_nothing()
        # The broker reads what came last over the old connection after the first word of the new one.
        newer.say(m.Hello(1, 1, m.Role.WORKER, secret))
        assert await newer.heard_nothing()
        older.say(m.Capacity(1, ["default"]))
        assert await older.heard_nothing()
        gate.set()
        assert not (await newer.hear(m.Welcome)).fresh
        newer.say(m.Resume(newer.ask()), m.Capacity(1, ["default"]))
        assert [run.job for run in await newer.runs()] == [job.job]


async def test_what_comes_over_an_older_connection_after_the_newer_welcome_is_not_heard(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, real = asyncio.Event(), seats.flush_and_close

    async def slowly(connection: Any) -> None:
        # Its last words are on their way for as long as it does not take them.
        await taken.wait()
        await real(connection)

    monkeypatch.setattr(seats, "flush_and_close", slowly)
    secret, late = os.urandom(16), item()
    async with running(house) as at:
        older = await at.peer(secret=secret)
        older.say(m.Submit(older.ask(), [first := item()]))
        newer = await at.peer(secret=secret)
        older.say(m.Submit(older.ask(), [late]))
        newer.say(m.GetJob(newer.ask(), first.job), m.GetJob(newer.ask(), late.job))
        assert (await newer.hear(m.JobRecord)).info.id == first.job
        assert (await newer.hear(m.Refusal)).code == "job_not_found"
        await older.hear(m.Submitted)
        assert await older.heard_nothing()
        newer.say(m.GetJob(newer.ask(), late.job))
        assert (await newer.hear(m.Refusal)).code == "job_not_found"
        taken.set()
        with pytest.raises((EndOfStream, ConnectionLost)):
            await older.hear(m.Submitted)


async def test_a_settle_that_got_no_answer_is_answered_in_the_resume(house: House) -> None:
    secret = os.urandom(16)
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(2, secret=secret)
        await client.submit(item(), item())
        one, two = await worker.runs()
        done = m.SettleItem(one.job, one.fence, m.RunEnd.SUCCEEDED, RESULT)
        await worker.settle(done)
        again = await at.peer(m.Role.WORKER, secret)
        late = m.SettleItem(two.job, two.fence, m.RunEnd.SUCCEEDED, RESULT)
        again.say(m.Resume(again.ask(), [], [done, late]))
        answer = await again.hear(m.Resumed)
        assert answer.answers == [m.SettleAnswer.ALREADY, m.SettleAnswer.OK]


async def test_leases_survive_a_restart_of_the_broker_and_the_worker_keeps_them(house: House) -> None:
    secret = os.urandom(16)
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(1, secret=secret)
        await client.submit(item())
        (run,) = await worker.runs()
    async with running(house) as at:
        other = await at.worker(1)
        worker = await at.peer(m.Role.WORKER, secret)
        worker.say(m.Resume(worker.ask(), [m.HeldRun(run.job, run.fence)]))
        assert (await worker.hear(m.Resumed)).verdicts == [m.Verdict.KEEP]
        worker.say(m.Capacity(1, ["default"]))
        assert (await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT))).answers == []
        assert await other.heard_nothing()


async def test_a_silent_workers_job_goes_to_another_and_its_late_success_is_refused(house: House) -> None:
    async with running(house, session_ttl_ms=300) as at:
        client, silent = await at.peer(), await at.worker(1)
        await client.submit(item())
        (run,) = await silent.runs()
        await silent.connection.aclose()
        heart = asyncio.Event()
        other = await at.worker(1)

        async def beat() -> None:
            while not heart.is_set():
                other.say(m.Ping())
                await asyncio.sleep(0.05)

        beating = asyncio.create_task(beat())
        (again,) = await other.runs()
        assert (again.job, again.crashes, again.attempt) == (run.job, 1, 1)
        late = m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT)
        assert (await other.settle(late)).answers == [m.SettleAnswer.STALE]
        heart.set()
        await beating


async def test_a_heartbeat_connection_keeps_a_blocked_workers_lease(house: House) -> None:
    secret = os.urandom(16)
    async with running(house, session_ttl_ms=300) as at:
        client, worker = await at.peer(), await at.worker(1, secret=secret)
        heart = await at.peer(m.Role.HEARTBEAT, secret)
        await client.submit(item())
        (run,) = await worker.runs()
        for _ in range(12):
            heart.say(m.Beat())
            client.say(m.Ping())
            await asyncio.sleep(0.1)
        # Its own connection said nothing for so long that it was closed; the lease was not.
        again = await at.peer(m.Role.WORKER, secret)
        again.say(m.Resume(again.ask(), [], [m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT)]))
        assert (await again.hear(m.Resumed)).answers == [m.SettleAnswer.OK]


async def test_a_heartbeat_that_comes_before_its_worker_speaks_for_it_from_its_next_beat_on(house: House) -> None:
    secret = os.urandom(16)
    async with running(house, session_ttl_ms=300) as at:
        heart = await at.peer(m.Role.HEARTBEAT, secret)
        assert heart.welcome.session == 0  # type: ignore[attr-defined]
        client, worker = await at.peer(), await at.worker(1, secret=secret)
        assert worker.welcome.fresh  # type: ignore[attr-defined]
        await client.submit(item())
        (run,) = await worker.runs()
        for _ in range(12):
            heart.say(m.Beat())
            client.say(m.Ping())
            await asyncio.sleep(0.1)
        again = await at.peer(m.Role.WORKER, secret)
        assert again.welcome.session == worker.welcome.session  # type: ignore[attr-defined]
        again.say(m.Resume(again.ask(), [], [m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT)]))
        assert (await again.hear(m.Resumed)).answers == [m.SettleAnswer.OK]


async def test_a_death_in_a_session_that_is_unknown_is_answered_and_leaves_nothing(house: House) -> None:
    async with running(house) as at:
        heart = await at.peer(m.Role.HEARTBEAT, os.urandom(16))
        heart.say(m.WorkerDied("killed by signal 9", 7))
        assert (await heart.hear(m.Pong)).number == 7
        # Nor does it beat for anybody.
        heart.say(m.Beat(), m.Ping(8))
        assert (await heart.hear(m.Pong)).number == 8


async def test_a_death_that_is_told_by_a_heartbeat_that_came_first_ends_the_session(house: House) -> None:
    secret = os.urandom(16)
    async with running(house) as at:
        heart = await at.peer(m.Role.HEARTBEAT, secret)
        client, worker = await at.peer(), await at.worker(1, secret=secret)
        await client.submit(item())
        await worker.runs()
        heart.say(m.WorkerDied("killed by signal 9", 7))
        assert (await heart.hear(m.Pong)).number == 7
        (run,) = await (await at.worker(1)).runs()
        assert run.crashes == 1


async def test_a_death_that_the_supervisor_saw_frees_the_jobs_at_once_and_kills_at_the_third(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        job = item(flags=int(m.SubmitFlag.WANT_RESULT))
        await client.submit(job)
        for crash in range(3):
            secret = os.urandom(16)
            worker = await at.worker(1, secret=secret)
            heart = await at.peer(m.Role.HEARTBEAT, secret)
            (run,) = await worker.runs()
            assert run.crashes == crash
            heart.say(m.WorkerDied("killed by signal 9"))
        ended = (await client.hear(m.Ended)).items[0]
        assert ended.state == JobState.DEAD
        assert b"WorkerCrashed" in ended.body


async def test_a_death_is_answered_when_it_is_durable_and_as_often_as_it_is_told(house: House) -> None:
    gate, faults, secret = asyncio.Event(), Faults(), os.urandom(16)
    async with running(house, faults) as at:
        client, worker = await at.peer(), await at.worker(1, secret=secret)
        heart = await at.peer(m.Role.HEARTBEAT, secret)
        await client.submit(item())
        await worker.runs()
        faults.delay = gate.wait
        heart.say(m.WorkerDied("killed by signal 9", 5), m.Ping(6))
        assert (await heart.hear(m.Pong)).number == 6
        assert await heart.heard_nothing()
        gate.set()
        assert (await heart.hear(m.Pong)).number == 5
        again = await at.peer(m.Role.HEARTBEAT, secret)
        again.say(m.WorkerDied("killed by signal 9", 5))
        assert (await again.hear(m.Pong)).number == 5
        (run,) = await (await at.worker(1)).runs()
        assert run.crashes == 1


async def test_what_a_leaving_worker_held_is_given_back_when_its_process_is_gone(house: House) -> None:
    secret = os.urandom(16)
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(1, secret=secret)
        heart = await at.peer(m.Role.HEARTBEAT, secret)
        await client.submit(item())
        await worker.runs()
        heart.say(m.WorkerDied("", 1, leaving=True))
        (run,) = await (await at.worker(1)).runs()
        assert (run.attempt, run.crashes, run.run) == (1, 0, 2)


async def test_a_goodbye_gives_runs_back_without_an_attempt(house: House) -> None:
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(1)
        await client.submit(item())
        await worker.runs()
        worker.say(m.Goodbye())
        (run,) = await (await at.worker(1)).runs()
        assert (run.attempt, run.crashes, run.run) == (1, 0, 2)


async def test_a_failure_is_tried_again_and_told_with_its_history(house: House) -> None:
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(1)
        job = item(retry=RetryPolicy(attempts=2, base_ms=1, jitter=False))
        await client.submit(job)
        (run,) = await worker.runs()
        failure = pack_failure(Failure("ValueError", "no"))
        await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.FAILED, failure))
        (again,) = await worker.runs()
        assert again.attempt == 2
        await worker.settle(m.SettleItem(again.job, again.fence, m.RunEnd.FAILED, failure))
        client.say(m.GetJob(client.ask(), job.job))
        info = (await client.hear(m.JobRecord)).info
        assert (info.state, info.failures, info.runs) == ("dead", 2, 2)
        assert [(a.outcome, a.failure.type if a.failure else "") for a in info.attempts] == [
            ("failed", "ValueError"), ("failed", "ValueError"),
        ]  # fmt: skip


async def test_a_cancel_tells_a_running_job_to_stop_and_a_waiting_one_never_runs(house: House) -> None:
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(1)
        first, second, third = item(), item(), item()
        await client.submit(first, second, third)
        (run,) = await worker.runs()
        client.say(m.CancelJob(client.ask(), first.job))
        assert (await client.hear(m.Cancelled)).outcome == "stopping"
        assert await worker.hear(m.CancelRun) == m.CancelRun(first.job, run.fence)
        client.say(m.CancelJob(client.ask(), second.job))
        assert (await client.hear(m.Cancelled)).outcome == "cancelled"
        await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT))
        (following,) = await worker.runs()
        assert following.job == third.job
        client.say(m.CancelJob(client.ask(), first.job))
        assert (await client.hear(m.Cancelled)).outcome == "finished"


async def test_pages_give_every_job_once_the_living_before_the_finished(house: House) -> None:
    async with running(house) as at:
        client, worker = await at.peer(), await at.peer(m.Role.WORKER)
        jobs = [item() for _ in range(7)]
        await client.submit(*jobs)
        worker.say(m.Capacity(3, ["default"]))
        for run in await worker.runs():
            worker.say(m.Settle(worker.ask(), [m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT)]))
        worker.say(m.Capacity(0, ["default"]))
        for _ in range(3):
            await worker.hear(m.Settled)
        seen: list[bytes] = []
        states: list[str] = []
        after = b""
        while True:
            client.say(m.FindJobs(client.ask(), limit=2, after=after))
            page = await client.hear(m.JobPage)
            seen += [info.id for info in page.jobs]
            states += [info.state for info in page.jobs]
            if not (after := page.next):
                break
        assert sorted(seen) == sorted(job.job for job in jobs)
        assert states.index("succeeded") == len(states) - states.count("succeeded")
        client.say(m.FindJobs(client.ask(), states=[JobState.DEAD]))
        assert (await client.hear(m.JobPage)).jobs == []
        client.say(m.FindJobs(client.ask(), states=[99]))
        assert (await client.hear(m.JobPage)).jobs == []
        client.say(m.FindJobs(client.ask(), after=b"?"))
        assert (await client.hear(m.Refusal)).code == "bad_option"


async def test_statistics_come_at_once_and_count_what_is_so(house: House) -> None:
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(1)
        await client.submit(item(), item(), item(delay_ms=60_000))
        await worker.runs()
        client.say(m.Watch())
        view = (await client.hear(m.StatisticsUpdate)).statistics
        (queue,) = view.queues
        assert (queue.ready, queue.scheduled, queue.running, queue.submitted) == (1, 1, 1, 3)
        (at_work,) = view.workers
        assert (at_work.slots, at_work.running, at_work.connected) == (1, 1, True)
        assert len(view.running) == 1


async def test_statistics_do_not_tell_what_is_not_durable(house: House) -> None:
    gate, faults = asyncio.Event(), Faults()
    async with running(house, faults) as at:
        client, watcher = await at.peer(), await at.peer()
        faults.delay = gate.wait
        client.say(m.Submit(client.ask(), [item()]))
        assert await client.heard_nothing()
        watcher.say(m.Watch())
        assert await watcher.heard_nothing()
        gate.set()
        assert (await watcher.hear(m.StatisticsUpdate)).statistics.queues[0].ready == 1


async def test_a_client_that_waits_for_no_answer_is_read_no_further_than_its_bound(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioqueue.broker.backlog.UNDECIDED_BYTES_MAX", 500_000)
    gate, faults = asyncio.Event(), Faults()
    async with running(house, faults) as at:
        client, other = await at.peer(), await at.peer()
        faults.delay = gate.wait
        jobs = [item() for _ in range(40)]
        for job in jobs:
            client.say(m.Submit(client.ask(), [structs.replace(job, args=bytes(100_000))]))
        assert await client.heard_nothing()
        assert at.broker.engine.clients.posted < 20
        # A quiet one is not held up by it.
        other.say(m.Ping(7))
        assert (await other.hear(m.Pong)).number == 7
        gate.set()
        for _ in jobs:
            assert (await client.hear(m.Submitted)).outcomes == []


async def test_bytes_that_are_no_frame_end_only_their_own_connection(house: House) -> None:
    async with running(house) as at:
        client, script = await at.peer(), await at.connect()
        await script.connection._stream.send(b"\xff\xff\xff\xffGET / HTTP/1.1")
        assert await end_of(script) == "frame_too_long"
        assert (await client.submit(item())).outcomes == []


async def test_who_speaks_another_protocol_is_named_in_the_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    async with running(house) as at:
        browser = await at.connect()
        await browser.connection._stream.send(b"GET / HTTP/1.1\r\n\r\n")
        assert await end_of(browser) == "foreign_protocol"
    assert "it speaks HTTP, not the protocol of aioqueue" in caplog.text


async def test_a_page_of_jobs_with_the_longest_errors_fits_into_its_frame(house: House) -> None:
    failure = pack_failure(Failure("ValueError", "x" * 8_000, "y" * 40_000, False))
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(200)
        await client.submit(*(item(retry=RetryPolicy(attempts=1)) for _ in range(200)))
        for run in await worker.runs():
            worker.say(m.Settle(worker.ask(), [m.SettleItem(run.job, run.fence, m.RunEnd.FAILED, failure, False)]))
        for _ in range(200):
            await worker.hear(m.Settled)
        client.say(m.FindJobs(client.ask(), states=[JobState.DEAD], limit=1_000))
        page = await client.hear(m.JobPage)
        told = page.jobs[0].failure
        assert (len(page.jobs), told is not None and len(told.text), told and told.traceback) == (200, 500, "")
        client.say(m.GetJob(client.ask(), page.jobs[0].id))
        whole = (await client.hear(m.JobRecord)).info.failure
        assert whole is not None
        assert len(whole.traceback) == 40_000


async def test_a_row_that_cannot_be_read_is_told_to_who_asks_for_it_and_in_the_log_and_to_nobody_else(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = item(), item()
    get = house.archive.get

    async def damaged(ids: Sequence[bytes]) -> Any:
        if bad.job in ids:
            raise ArchiveFailed(path="memory:", reason="a row is damaged")
        return await get(ids)

    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(2)
        await client.submit(good, bad)
        for run in await worker.runs():
            await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT))
        await at.broker.overlay.write()
        monkeypatch.setattr(house.archive, "get", damaged)
        client.say(m.GetJob(client.ask(), bad.job))
        assert (await client.hear(m.Refusal)).code == "archive_failed"
        assert [record.levelname for record in caplog.records if "a row is damaged" in record.message] == ["ERROR"]
        client.say(m.Wait([bad.job, good.job]))
        told = [*(await client.hear(m.Ended)).items, *(await client.hear(m.Ended)).items]
        assert {(ended.job, ended.state, ended.code) for ended in told} == {
            (bad.job, 0, "archive_failed"),
            (good.job, JobState.SUCCEEDED, ""),
        }
