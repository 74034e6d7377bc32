"""Arguments that do not fit into memory: they leave it, come back before their job is leased, and nobody overtakes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from zlib import crc32

import pytest

from aioqueue.broker.bodies import Bodies
from aioqueue.core.effects import ArchiveJob, DeliverJob, ReviveJob
from aioqueue.core.nouns import Job
from aioqueue.core.places import pack_place
from aioqueue.core.state import State
from aioqueue.errors import JournalDamaged
from aioqueue.journal.base import Extent
from aioqueue.limits import AHEAD_JOBS, BODY_OVERHEAD_BYTES, GET_BYTES_MAX, GET_EXTENTS_MAX
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.states import JobState
from aioqueue.protocol import messages as m
from tests.broker.conftest import House, Running, Script, item, running
from tests.support.finished import finished
from tests.support.scene import new_job

NO_MEMORY = 0


class Shelf:
    """A journal that only `get_many` is asked of, and what it was asked."""

    def __init__(self) -> None:
        self.batches: dict[int, bytes] = {}
        self.goes: list[Sequence[Extent]] = []

    async def get_many(self, extents: Sequence[Extent]) -> list[bytes]:
        self.goes.append(extents)
        await asyncio.sleep(0)
        return [self.batches[at][offset : offset + length] for at, offset, length in extents]

    def job(self, number: int, home: int, body: bytes) -> Job:
        """Job `number`, whose arguments are laid down behind what the batch holds."""
        batch = self.batches.get(home, b"")
        self.batches[home] = batch + body
        new = new_job(number)
        spec = State().intern(new.packed_spec)
        place = pack_place(len(batch), len(body), crc32(body))
        return Job(new.id, spec, number, JobState.READY, 0, 1, place, home=home)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def bodies_of(shelf: Shelf, bytes_max: int = NO_MEMORY) -> Bodies:
    return Bodies(shelf, bytes_max, "jobs.db")  # type: ignore[arg-type]


def none() -> Iterator[Job]:
    return iter(())


async def test_an_end_that_was_requeued_before_a_restart_keeps_nothing_from_a_trim(shelf: Shelf) -> None:
    bodies = bodies_of(shelf)
    job = shelf.job(1, 1, b"arguments")
    end = ArchiveJob(finished(1, JobState.DEAD, id=job.id), job.home, job.place)
    bodies.take_replayed({}, [end], owed=True)
    assert bodies.oldest_needed() == 1
    bodies.take_replayed({}, [ReviveJob(job.id, 1)], owed=True)
    assert bodies.oldest_needed() is None


async def test_beyond_the_bound_the_oldest_go_and_are_read_back(shelf: Shelf) -> None:
    jobs = [shelf.job(number, 1 + number // 10, b"%05d" % number * 200) for number in range(100)]
    size = 1_000 + BODY_OVERHEAD_BYTES
    bodies = bodies_of(shelf, GET_BYTES_MAX + 50 * size)
    for job in jobs:
        bodies.take({job.id: b"%05d" % job.seq * 200}, [])
    here = [job.seq for job in jobs if job.id in bodies]
    assert here == list(range(100 - len(here), 100))
    assert 45 <= len(here) <= 50
    assert not bodies.are_complete(100)
    await bodies.fetch(bodies.plan([], iter(jobs)))
    assert bodies.are_complete(100)
    assert [bodies.find(job.id) for job in jobs] == [b"%05d" % number * 200 for number in range(100)]


async def test_neighbours_are_read_in_one_stretch_and_a_go_at_the_journal_is_small(shelf: Shelf) -> None:
    jobs = [shelf.job(number, number // 50, b"x" * 100) for number in range(1_000)]
    large = [shelf.job(1_000 + number, 100, b"y" * (GET_BYTES_MAX // 2)) for number in range(5)]
    alone = [shelf.job(2_000 + number, 200 + number, b"z") for number in range(3 * GET_EXTENTS_MAX)]
    bodies = bodies_of(shelf)
    asked = [(job.home, job.place) for job in (*alone, *large, *jobs)]
    assert await bodies.read(asked) == [shelf.batches[job.home][:1] * job.body_bytes for job in (*alone, *large, *jobs)]
    for go in shelf.goes:
        assert len(go) <= GET_EXTENTS_MAX
        assert sum(extent.length for extent in go) <= GET_BYTES_MAX
    assert len(shelf.goes) <= 8
    assert sum(len(go) for go in shelf.goes) == 20 + 3 + len(alone)


async def test_a_body_that_is_not_the_one_that_was_written_is_damage(shelf: Shelf) -> None:
    job = shelf.job(1, 7, b"arguments")
    shelf.batches[7] = b"argumentz"
    bodies = bodies_of(shelf)
    with pytest.raises(JournalDamaged, match="batch 7"):
        await bodies.fetch(bodies.plan([job], none()))
    assert job.id not in bodies


async def test_a_plan_is_bounded_by_jobs_and_bytes_and_has_room_for_one_at_least(shelf: Shelf) -> None:
    small = [shelf.job(number, 1, b"x") for number in range(AHEAD_JOBS + 100)]
    bodies = bodies_of(shelf)
    assert len(bodies.plan([], iter(small)).jobs) == AHEAD_JOBS
    large = [shelf.job(10_000 + number, 2, b"y" * (GET_BYTES_MAX // 3)) for number in range(9)]
    assert bodies.plan([], iter(large)).jobs == large[:2]
    huge = shelf.job(20_000, 3, b"z" * GET_BYTES_MAX)
    assert bodies.plan([huge], iter(large)).jobs == [huge]


async def test_whoever_is_missed_gets_a_turn_however_little_room_there_is(shelf: Shelf) -> None:
    """Two lines wait, and only one body fits at a time: neither waits for ever."""
    one, other = (shelf.job(number, number, b"z" * GET_BYTES_MAX) for number in (1, 2))
    bodies = bodies_of(shelf)
    seen: set[bytes] = set()
    for _ in range(2):
        plan = bodies.plan([one, other], none())
        await bodies.fetch(plan)
        seen |= {job.id for job in (one, other) if job.id in bodies}
        bodies.take({}, [])
    assert seen == {one.id, other.id}


async def test_what_was_read_ahead_is_spent_by_its_lease_and_then_it_is_time_to_plan_again(shelf: Shelf) -> None:
    jobs = [shelf.job(number, 1, b"%d" % number) for number in range(10)]
    bodies = bodies_of(shelf)
    await bodies.fetch(bodies.plan(jobs[:1], iter(jobs)))
    for job in jobs[:5]:
        assert not bodies.runs_low
        run = DeliverJob(1, job.id, job.spec, 1, 1, 1, 0, None)
        bodies.take({}, [run])
        assert run.body == b"%d" % job.seq
    bodies.take({}, [DeliverJob(1, jobs[5].id, jobs[5].spec, 1, 1, 1, 0, None)])
    assert bodies.runs_low
    assert jobs[0].id not in bodies
    assert bodies.plan([], iter(jobs[6:])).jobs == []


async def test_what_ended_while_it_was_read_is_not_kept(shelf: Shelf) -> None:
    job = shelf.job(1, 1, b"arguments")
    bodies = bodies_of(shelf)
    plan = bodies.plan([job], none())
    job.state = JobState.CANCELLED
    await bodies.fetch(plan)
    assert job.id not in bodies
    assert bodies.are_complete(0)


async def test_the_journal_may_not_be_trimmed_where_something_is_still_to_be_read(shelf: Shelf) -> None:
    early, late = shelf.job(1, 3, b"early"), shelf.job(2, 9, b"late")
    bodies = bodies_of(shelf)
    assert bodies.oldest_needed() is None
    plan = bodies.plan([late], none())
    # The job is carried on before it is read: what was planned is still read where it lay.
    late.home = 20
    assert bodies.oldest_needed() == 9
    end = finished(1, JobState.DEAD, position=12)
    bodies.take({}, [ArchiveJob(end, early.home, early.place)])
    assert bodies.oldest_needed() == 3
    assert (bodies.is_read(end), bodies.unread_bytes(end)) == (False, len(b"early"))
    await bodies.fill([end])
    assert end.args == b"early"
    assert bodies.oldest_needed() == 9
    await bodies.fetch(plan)
    assert bodies.find(late.id) == b"late"
    assert bodies.oldest_needed() is None


async def test_a_plan_to_read_nothing_leaves_nothing_behind(shelf: Shelf) -> None:
    bodies = bodies_of(shelf)
    job = shelf.job(1, 3, b"here")
    bodies.take({job.id: b"here"}, [])
    await bodies.fetch(bodies.plan([job], none()))
    assert not bodies.plan([job], none()).jobs
    assert not bodies._reading


# --- in a running broker ------------------------------------------------------------------------------------------


def told(number: int) -> m.SubmitItem:
    """A job whose arguments say which one it is."""
    job = item(retry=RetryPolicy(attempts=1))
    job.args = b"\x01 job %d" % number
    return job


async def runs_of(worker: Script, count: int) -> list[m.DeliverItem]:
    """So many runs, however they are delivered."""
    runs: list[m.DeliverItem] = []
    while len(runs) < count:
        runs += await worker.runs()
    return runs


async def backlog(at: Running, count: int) -> list[m.SubmitItem]:
    """Jobs that wait, and that the broker holds no arguments of."""
    jobs = [told(number) for number in range(count)]
    client = await at.peer()
    for start in range(0, count, 50):
        await client.submit(*jobs[start : start + 50])
    held = [job for job in jobs if job.job in at.broker.bodies]
    assert held == []
    return jobs


async def test_a_backlog_that_is_not_in_memory_is_delivered_in_its_order_with_its_arguments(house: House) -> None:
    async with running(house, body_cache_bytes=NO_MEMORY) as at:
        jobs = await backlog(at, 300)
        worker = await at.worker(7)
        runs: list[m.DeliverItem] = []
        while len(runs) < len(jobs):
            got = await worker.runs()
            runs += got
            await worker.settle(*(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, b"\x01\xc0") for run in got))
        assert [(run.job, run.args) for run in runs] == [(job.job, job.args) for job in jobs]


async def test_a_worker_that_names_no_queue_is_passed_by_when_arguments_are_read_ahead(house: House) -> None:
    async with running(house, body_cache_bytes=NO_MEMORY) as at:
        client = await at.peer()
        (await at.peer(m.Role.WORKER)).say(m.Capacity(1, []))
        await client.submit(item(), item())
        assert await (await at.worker(1)).runs()


async def test_a_job_that_is_given_back_is_delivered_again_with_its_arguments(house: House) -> None:
    async with running(house, body_cache_bytes=NO_MEMORY) as at:
        [job] = await backlog(at, 1)
        worker = await at.worker(1)
        [run] = await worker.runs()
        await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.RELEASED))
        [again] = await worker.runs()
        assert (again.job, again.args) == (job.job, job.args)


async def test_what_did_not_succeed_is_archived_with_arguments_that_were_read_for_that(house: House) -> None:
    async with running(house, body_cache_bytes=NO_MEMORY) as at:
        jobs = await backlog(at, 3)
        client = await at.peer()
        for job in jobs[1:]:
            client.say(m.CancelJob(client.ask(), job.job))
            await client.hear(m.Cancelled)
        worker = await at.worker(1)
        [run] = await worker.runs()
        await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.FAILED, b"\x01\xc0"))
        # A requeue needs them before they are archived, or after.
        client.say(m.RetryJob(client.ask(), jobs[0].job))
        await client.hear(m.Requeued)
        assert [run.args for run in await worker.runs()] == [jobs[0].args]
        await at.broker.overlay.write()
        archived = await house.archive.get([job.job for job in jobs])
        assert [archived[job.job].args for job in jobs[1:]] == [job.args for job in jobs[1:]]


async def test_after_a_restart_what_has_room_is_in_memory_and_the_rest_is_read(house: House) -> None:
    async with running(house, body_cache_bytes=NO_MEMORY) as at:
        jobs = await backlog(at, 100)
    async with running(house) as at:
        assert [job for job in jobs if job.job not in at.broker.bodies] == []
    async with running(house, body_cache_bytes=NO_MEMORY) as at:
        assert [job for job in jobs if job.job in at.broker.bodies] == []
        worker = await at.worker(len(jobs))
        runs = await runs_of(worker, len(jobs))
        assert [(run.job, run.args) for run in runs] == [(job.job, job.args) for job in jobs]


async def test_arguments_that_cannot_be_read_back_end_the_broker(house: House) -> None:
    async def deliver_what_was_damaged() -> None:
        async with running(house, body_cache_bytes=NO_MEMORY) as at:
            [job] = await backlog(at, 1)
            home = at.broker.engine.partition.state.jobs[job.job].home
            house.store.flip(home, len(house.store.batches[home]) - 1)
            await at.worker(1)
            await asyncio.Event().wait()

    with pytest.raises(JournalDamaged, match="another one"):
        await deliver_what_was_damaged()


async def test_a_start_tells_how_far_it_is_and_what_it_found(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(house) as at:
        await (await at.peer()).submit(*(told(number) for number in range(3)))
    monkeypatch.setattr("aioqueue.broker.recovery.TELL_MS", 0)
    with caplog.at_level("INFO"):
        async with running(house) as at:
            recovered = at.broker.recovered
    lines = [record.getMessage() for record in caplog.records if "recover" in record.name]
    assert "recovering" in lines[0]
    assert "3 jobs alive so far" in lines[0]
    assert "3 jobs, sessions with leases: 0; positions 1 to 3, with 3 events" in lines[-1]
    assert (recovered.batches, recovered.events, recovered.position) == (1, 3, 3)
