"""The arguments of jobs for whoever looks: where they are in memory, in the journal, with an end, or nowhere."""

from __future__ import annotations

import pytest

from aioqueue.errors import JournalDamaged
from aioqueue.limits import ARGS_LISTED_BYTES_MAX, MIB, PAGE_RUNS_JOBS_MAX
from aioqueue.model.bodies import pack_failure
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.views import Failure
from aioqueue.protocol import messages as m
from tests.broker.conftest import ARGS, House, Running, Script, item, running


async def told_of(client: Script, job: bytes, args_bytes: int) -> tuple[bytes, int]:
    client.say(m.GetJob(client.ask(), job, False, args_bytes))
    info = (await client.hear(m.JobRecord)).info
    return info.args, info.args_bytes


async def listed(client: Script, args_bytes: int) -> dict[bytes, tuple[bytes, int]]:
    client.say(m.FindJobs(client.ask(), limit=1_000, args_bytes=args_bytes))
    page = await client.hear(m.JobPage)
    return {info.id: (info.args, info.args_bytes) for info in page.jobs}


async def finish(at: Running, client: Script, end: m.RunEnd, body: bytes) -> bytes:
    job = item(f"queue-{end.name}", retry=RetryPolicy(1))
    worker = await at.worker(1, f"queue-{end.name}")
    await client.submit(job)
    [run] = await worker.runs()
    await worker.settle(m.SettleItem(run.job, run.fence, end, body))
    return job.job


async def test_arguments_are_told_only_where_they_are_asked_for_and_no_longer_than_asked(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        job = item()
        await client.submit(job)

        assert await told_of(client, job.job, 0) == (b"", 0)
        assert await told_of(client, job.job, len(ARGS) - 1) == (b"", len(ARGS))
        assert await told_of(client, job.job, len(ARGS)) == (ARGS, len(ARGS))
        assert await listed(client, 0) == {job.job: (b"", 0)}
        assert await listed(client, 1_000_000) == {job.job: (ARGS, len(ARGS))}


async def test_those_of_what_did_not_succeed_are_kept_and_of_a_success_not(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        dead = await finish(at, client, m.RunEnd.FAILED, pack_failure(Failure("E", "t")))
        done = await finish(at, client, m.RunEnd.SUCCEEDED, b"\x01\xc0")
        # Once from memory, and once from the archive.
        for _ in range(2):
            assert await told_of(client, dead, 1_000) == (ARGS, len(ARGS))
            assert await told_of(client, dead, 1) == (b"", len(ARGS))
            assert await told_of(client, done, 1_000) == (b"", 0)
            assert await listed(client, 1_000) == {dead: (ARGS, len(ARGS)), done: (b"", 0)}
            await at.broker.overlay.write()


async def test_a_list_has_no_long_arguments_and_few_jobs_a_page(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        long = item()
        long.args = b"\x01" + b"x" * ARGS_LISTED_BYTES_MAX
        await client.submit(*(item() for _ in range(PAGE_RUNS_JOBS_MAX)), long)

        page = await listed(client, 1_000_000)
        assert len(page) == PAGE_RUNS_JOBS_MAX
        assert {size for size, _ in ((len(args), size) for args, size in page.values())} == {0, len(ARGS)}


async def test_arguments_that_are_in_the_journal_only_are_read_back(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(house, body_cache_bytes=MIB) as at:
        client = await at.peer()
        jobs = [item() for _ in range(3)]
        for number, job in enumerate(jobs):
            job.args = ARGS + bytes([number])
        await client.submit(*jobs)
        assert not any(job.job in at.broker.bodies for job in jobs)

        assert await told_of(client, jobs[1].job, 1_000) == (jobs[1].args, len(ARGS) + 1)
        assert await listed(client, 1_000) == {job.job: (job.args, len(ARGS) + 1) for job in jobs}
        assert await told_of(client, jobs[1].job, 1) == (b"", len(ARGS) + 1)

        async def damaged(*_: object) -> list[bytes]:
            raise JournalDamaged(path="jobs.db", where="batch 3", reason="of this test")

        monkeypatch.setattr(at.broker.bodies, "read", damaged)
        assert await told_of(client, jobs[1].job, 1_000) == (b"", len(ARGS) + 1)
    assert "the arguments of jobs cannot be read" in caplog.text
