"""More than the broker should hold: who is refused, who is slowed, and who never notices."""

from __future__ import annotations

import asyncio

import pytest
from anyio import EndOfStream
from msgspec import structs

from aioqueue.broker import connections
from aioqueue.broker import crowd as crowd_module
from aioqueue.broker.complaints import PERIOD_MS, TOLD_IN_FULL
from aioqueue.broker.crowd import Crowd
from aioqueue.broker.lookups import Lookups
from aioqueue.clock import ManualClock
from aioqueue.core.admission import BacklogLimits
from aioqueue.errors import ConnectionLost
from aioqueue.journal.memory import Faults
from aioqueue.limits import LOOKUPS_A_CONNECTION_MAX
from aioqueue.protocol import messages as m
from tests.broker.conftest import RESULT, House, item, running

ACCEPTED, EXISTS, REFUSED = m.Outcome.ACCEPTED, m.Outcome.EXISTS, m.Outcome.REFUSED


async def test_a_full_broker_refuses_item_by_item_and_says_how_full_it_is(house: House) -> None:
    async with running(house, limits=BacklogLimits(2, 1_000_000)) as at:
        client = await at.peer()
        jobs = [item() for _ in range(3)]
        foreign = item(namespace="theirs")
        answer = await client.submit(foreign, *jobs)

        assert answer.outcomes == [REFUSED, ACCEPTED, ACCEPTED, REFUSED]
        assert [(refusal.index, refusal.code) for refusal in answer.refused] == [
            (0, "wrong_namespace"), (3, "queue_full"),
        ]  # fmt: skip
        assert answer.refused[1].fields["jobs_max"] == 2
        again = m.SubmitItem(jobs[0].job, jobs[0].spec, jobs[0].args, m.SubmitFlag.RESEND)
        assert (await client.submit(again, item())).outcomes == [EXISTS, REFUSED]


async def test_an_atomic_submit_is_refused_as_a_whole_and_there_is_room_when_a_job_has_ended(house: House) -> None:
    async with running(house, limits=BacklogLimits(1, 1_000_000)) as at:
        client, worker = await at.peer(), await at.worker(1)
        await client.submit(item())
        client.say(m.SubmitAtomic(client.ask(), [item()]))
        assert (await client.hear(m.Refusal)).code == "queue_full"

        [run] = await worker.runs()
        await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT))
        client.say(m.SubmitAtomic(client.ask(), [item()]))
        await client.hear(m.Submitted)


async def left(crowd: Crowd) -> None:
    """Until one is gone."""
    before = len(crowd)
    while len(crowd) == before:  # noqa: ASYNC110 - nobody is told of it
        await asyncio.sleep(0)


async def test_what_workers_say_never_waits_behind_those_who_submit(house: House) -> None:
    gate, faults = asyncio.Event(), Faults()
    async with running(house, faults) as at:
        client, worker = await at.peer(), await at.worker(1)
        await client.submit(item())
        [run] = await worker.runs()
        faults.delay = gate.wait
        asked = [client.ask() for _ in range(4)]
        for request in asked:
            client.say(m.Submit(request, [item("elsewhere") for _ in range(600)]))
        assert await client.heard_nothing()
        worker.say(m.Settle(worker.ask(), [m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT)]))
        assert await worker.heard_nothing()
        gate.set()
        settled = await worker.hear(m.Settled)
        submitted = [await client.hear(m.Submitted) for _ in asked]

        # The first two, which fill a batch, were on their way already when the worker spoke.
        assert [answer.position >= settled.position for answer in submitted] == [False, False, True, True]


async def test_a_client_that_fills_a_nearly_full_backlog_is_slowed_and_a_worker_is_not(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SLOW_SECONDS_MAX", 3_600.0)
    async with running(house, limits=BacklogLimits(10, 1_000_000)) as at:
        client, other, worker = await at.peer(), await at.peer(), await at.worker(1)
        await client.submit(*(item() for _ in range(10)))
        assert (await client.submit(item())).outcomes == [REFUSED]
        client.say(m.Ping(1))
        assert await client.heard_nothing()
        other.say(m.Ping(2))
        assert (await other.hear(m.Pong)).number == 2
        for _ in range(10):
            [run] = await worker.runs()
            await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT))


async def test_one_connection_too_many_is_told_so_and_takes_the_place_of_one_that_left(house: House) -> None:
    async with running(house) as at:
        at.broker.services.crowd.limit = 2
        first, _ = await at.peer(), await at.peer()
        for _ in range(2):
            third = await at.connect()
            refusal = await third.hear(m.Refusal)
            assert (refusal.code, refusal.fields) == ("too_many_connections", {"connections": 2, "limit": 2})
            with pytest.raises((EndOfStream, ConnectionLost)):
                await third.hear(m.Welcome)
        await first.connection.aclose()
        async with asyncio.timeout(60):
            await left(at.broker.services.crowd)
        await at.peer()


async def test_strangers_make_room_for_each_other_and_nobody_who_said_hello_goes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd_module, "STRANGERS_MAX", 2)
    async with running(house) as at:
        welcome = await at.peer()
        oldest, younger, _ = [await at.connect() for _ in range(3)]
        with pytest.raises((EndOfStream, ConnectionLost)):
            await oldest.hear(m.Refusal)
        # The others may still say who they are.
        younger.say(m.Hello(1, 1, m.Role.CLIENT, bytes(16)))
        await younger.hear(m.Welcome)
        late = await at.peer()
        for peer in (welcome, younger, late):
            assert (await peer.submit(item())).refused == []


async def test_a_flood_of_failed_handshakes_is_a_few_lines_and_a_count(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    async with running(house, clock=clock) as at:
        for _ in range(40):
            stranger = await at.connect()
            stranger.say(m.Hello(90, 91, m.Role.CLIENT, bytes(16)))
            assert (await stranger.hear(m.Refusal)).code == "protocol_version"
        lines = [record.getMessage() for record in caplog.records]
        assert len([line for line in lines if "protocol versions 90 to 91" in line]) == TOLD_IN_FULL
        clock.advance(PERIOD_MS)
        stranger = await at.connect()
        stranger.say(m.Ping(1))
        await stranger.hear(m.Refusal)
    [summary] = [record.getMessage() for record in caplog.records if "more connections failed" in record.getMessage()]
    assert "35 more connections failed within 60 s" in summary
    assert "protocol_version (35)" in summary


async def test_a_connection_without_a_hello_is_closed_at_its_deadline(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_MS", 20)
    async with running(house) as at:
        silent = await at.connect()
        refusal = await silent.hear(m.Refusal)
        assert (refusal.request, refusal.code) == (0, "peer_misbehaved")
        assert "no Hello came within 20 ms" in refusal.message
        assert len(at.broker.services.crowd) <= 1


async def test_what_came_in_is_counted_until_it_is_decided(house: House) -> None:
    gate, faults = asyncio.Event(), Faults()
    async with running(house, faults) as at:
        client, worker = await at.peer(), await at.worker(1)
        clients, workers = at.broker.services.crowd.clients, at.broker.services.crowd.workers
        faults.delay = gate.wait
        client.say(m.Submit(client.ask(), [item()]))
        assert await client.heard_nothing()
        client.say(m.Submit(client.ask(), [structs.replace(item(), args=bytes(100_000))]))
        assert await client.heard_nothing()
        assert clients.size > 100_000
        assert workers.size == 0
        gate.set()
        await client.hear(m.Submitted)
        await client.hear(m.Submitted)
        assert (clients.size, clients.undecided) == (0, 0)
        worker.say(m.Ping(1))
        await worker.hear(m.Pong)
        assert (workers.size, workers.undecided) == (0, 0)


async def test_questions_of_one_connection_are_looked_up_a_few_at_a_time_and_all_are_answered() -> None:
    started, gate = [], asyncio.Event()

    async def work(number: int) -> None:
        started.append(number)
        await gate.wait()

    async with asyncio.TaskGroup() as tasks:
        lookups = Lookups(lambda each: tasks.create_task(each()))
        for number in range(50):
            lookups.start(work, number)
        room = tasks.create_task(lookups.room())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert started == list(range(LOOKUPS_A_CONNECTION_MAX))
        assert not room.done()
        gate.set()
        await room
    assert started == list(range(50))
