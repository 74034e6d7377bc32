"""The archive's file as a whole: what survives closing, crashes and damage, and which files are refused."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from aioqueue.archive.base import JobFilter, KeepRule, Tombstone
from aioqueue.archive.migrations import VERSION_FIRST
from aioqueue.archive.schema import APPLICATION_ID, USER_VERSION
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.errors import AioqueueError, ArchiveFailed, JournalNewer, NotAJournal
from aioqueue.model.states import JobState
from tests.support.finished import DAY_MS, START_MS, ended, finished, job_id

JOURNAL = b"j" * 16
ANY = JobFilter("default")
PLENTY = 10 << 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db-archive"


_OPENED: list[SqliteArchive] = []


async def opened(path: Path, journal_id: bytes = JOURNAL, **options: Any) -> SqliteArchive:
    """The archive at `path`, which is closed after the test, however that ends: its threads would outlive it."""
    archive = await SqliteArchive.open(path, journal_id=journal_id, **options)
    _OPENED.append(archive)
    return archive


@pytest.fixture(autouse=True)
async def _closed_after_the_test() -> AsyncIterator[None]:
    yield
    while _OPENED:
        with suppress(ArchiveFailed):
            await _OPENED.pop().aclose()


async def fill(path: Path, jobs: int = 20) -> None:
    archive = await opened(path)
    await archive.write(
        [finished(number, (JobState.SUCCEEDED, JobState.DEAD)[number % 2]) for number in range(jobs)],
        [ended(number) for number in range(1, jobs, 2)],
        [],
        jobs,
    )
    await archive.aclose()


# --- what survives ------------------------------------------------------------------------------------------------


async def test_everything_is_there_after_closing_and_opening(path: Path) -> None:
    await fill(path)
    archive = await opened(path)
    assert archive.synced == 20
    assert await archive.get([job_id(3)]) == {job_id(3): finished(3, JobState.DEAD)}
    assert await archive.runs(job_id(3)) == [ended(3)]
    assert len((await archive.page(ANY, 100, b""))[0]) == 20
    await archive.aclose()


async def test_a_tombstone_survives_too(path: Path) -> None:
    await fill(path)
    archive = await opened(path)
    await archive.retain(START_MS + 2 * DAY_MS, 100, PLENTY)
    await archive.aclose()
    archive = await opened(path)
    assert await archive.get([job_id(2)]) == {
        job_id(2): Tombstone(job_id(2), JobState.SUCCEEDED, 0, START_MS + 2 * DAY_MS)
    }
    await archive.aclose()


async def test_a_closed_archive_leaves_one_file(path: Path) -> None:
    await fill(path)
    assert os.listdir(path.parent) == [path.name]


async def test_the_cursor_of_a_page_outlives_a_restart(path: Path) -> None:
    await fill(path)
    archive = await opened(path)
    first, after = await archive.page(ANY, 12, b"")
    await archive.aclose()
    archive = await opened(path)
    second, after = await archive.page(ANY, 12, after)
    await archive.aclose()
    assert ([job.finished_ms - START_MS for job in first + second], after) == (list(range(19, -1, -1)), b"")


async def test_the_archives_own_rule_decides_how_long(path: Path) -> None:
    await fill(path)
    archive = await opened(path, keep=KeepRule(succeeded_ms=10, dead_ms=5))
    assert await archive.retain(START_MS + 10, 100, PLENTY) == 3 * 2 + 1
    left = {job.finished_ms - START_MS for job in (await archive.page(ANY, 100, b""))[0]}
    assert left == set(range(20)) - {0, 1, 3, 5}
    await archive.aclose()


CHILD = """
import asyncio, sys
from aioqueue.archive.sqlite import SqliteArchive
from tests.support.finished import DAY_MS, START_MS, ended, finished, job_id
from aioqueue.model.states import JobState

async def main(path):
    archive = await SqliteArchive.open(path, journal_id=b"j" * 16)
    bulk = archive.synced
    while True:
        numbers = range(bulk * 20, bulk * 20 + 20)
        jobs = [finished(number, JobState.DEAD, body=b"x" * 3_000) for number in numbers]
        await archive.write(jobs, [ended(number) for number in numbers], [], bulk + 1)
        bulk += 1
        print(bulk, flush=True)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.faults
async def test_a_writer_killed_at_any_moment_leaves_whole_bulks_and_all_it_confirmed(path: Path) -> None:
    chance = random.Random(20)
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(chance.randrange(1, 60))]
        child.kill()
        confirmed = int((lines + child.stdout.read().split())[-1])
        child.wait()
        child.stdout.close()

        archive = await opened(path)
        # The last bulk may have been made durable without its confirmation being heard.
        assert confirmed <= archive.synced <= confirmed + 1
        numbers = range(archive.synced * 20)
        found = await archive.get([job_id(number) for number in range(numbers.stop + 40)])
        assert numbers
        assert set(found) == {job_id(number) for number in numbers}
        assert await archive.runs(job_id(numbers[-1])) == [ended(numbers[-1])]
        assert await archive.runs(job_id(numbers.stop)) == []
        await archive.aclose()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_a_file_whose_making_was_cut_short_is_made_whole(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert path.stat().st_size > 0
    await fill(path)
    archive = await opened(path)
    assert archive.synced == 20
    await archive.aclose()


async def test_an_empty_file_becomes_an_archive(path: Path) -> None:
    path.touch()
    await fill(path)
    archive = await opened(path)
    assert archive.synced == 20
    await archive.aclose()


# --- reading beside writing ---------------------------------------------------------------------------------------


async def test_a_question_is_answered_while_a_bulk_is_being_written(path: Path) -> None:
    await fill(path)
    archive = await opened(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")  # the writer waits for this lock, as it would in the middle of a commit
    writing = asyncio.ensure_future(archive.write([finished(50)], [], [], 50))
    assert await archive.get([job_id(3), job_id(50)]) == {job_id(3): finished(3, JobState.DEAD)}
    assert not writing.done()
    blocker.execute("ROLLBACK")
    blocker.close()
    await writing
    assert job_id(50) in await archive.get([job_id(50)])
    await archive.aclose()


async def test_a_write_that_nobody_waits_for_any_more_is_done_and_counted(path: Path) -> None:
    archive = await opened(path)
    writing = asyncio.ensure_future(archive.write([finished(1)], [], [], 5))
    await asyncio.sleep(0)  # it is on its way to the thread now
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await archive.write([], [], [], 0)
    assert archive.synced == 5
    assert await archive.get([job_id(1)]) == {job_id(1): finished(1)}
    await archive.aclose()


async def test_writes_asked_for_at_once_are_all_done(path: Path) -> None:
    archive = await opened(path)
    await asyncio.gather(*(archive.write([finished(number)], [], [], number) for number in range(1, 30)))
    assert archive.synced == 29
    assert len((await archive.page(ANY, 100, b""))[0]) == 29
    await archive.aclose()


async def test_the_reader_cannot_write(path: Path) -> None:
    archive = await opened(path)
    with pytest.raises(ArchiveFailed, match="readonly"):
        await archive._read_hop.run(lambda connection: connection.execute("DELETE FROM jobs"))
    await archive.aclose()


async def test_a_page_of_large_jobs_ends_early_and_the_next_goes_on(path: Path) -> None:
    archive = await opened(path)
    for number in range(40):
        await archive.write([finished(number, body=b"x" * 1_000_000)], [], [], number)
    listed: list[int] = []
    after, pages = b"", 0
    while pages == 0 or after:
        page, after = await archive.page(ANY, 1_000, after)
        assert len(page) <= 32
        listed += [job.finished_ms - START_MS for job in page]
        pages += 1
    assert listed == list(range(39, -1, -1))
    assert pages > 1
    await archive.aclose()


# --- refused files ------------------------------------------------------------------------------------------------


async def refused(path: Path, kind: type[AioqueueError]) -> AioqueueError:
    """Open a file that must be refused and must not be changed by that, nor get company."""
    before = path.read_bytes()
    with pytest.raises(kind) as refusal:
        await opened(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    return refusal.value


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\x00", b"\x00" * 4_096, b"x" * 100_000])
async def test_a_file_that_is_no_database_is_refused_untouched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert str(path) in str(await refused(path, NotAJournal))


@pytest.mark.parametrize("application_id", [0, 1, 0x61716171])
async def test_another_programs_database_is_refused_untouched(path: Path, application_id: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE jobs (id)")
    connection.execute(f"PRAGMA application_id = {application_id}")
    connection.close()
    assert str(path) in str(await refused(path, NotAJournal))


async def test_a_newer_archive_is_refused_untouched(path: Path) -> None:
    await fill(path)
    with path.open("r+b") as file:
        file.seek(60)
        file.write((USER_VERSION + 1).to_bytes(4, "big"))
    error = await refused(path, JournalNewer)
    assert (error.found, error.known) == (USER_VERSION + 1, USER_VERSION)


async def test_the_archive_of_another_journal_is_refused(path: Path) -> None:
    await fill(path)
    with pytest.raises(NotAJournal) as refusal:
        await opened(path, b"k" * 16)
    assert JOURNAL.hex() in str(refusal.value)
    assert (b"k" * 16).hex() in str(refusal.value)
    archive = await opened(path)
    assert archive.synced == 20
    await archive.aclose()


async def test_a_path_that_cannot_be_a_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ArchiveFailed, match="directory"):
        await opened(tmp_path)
    with pytest.raises(ArchiveFailed, match="No such file"):
        await opened(tmp_path / "missing" / "archive")


async def test_the_file_says_what_it_is(path: Path) -> None:
    await fill(path)
    header = path.read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID
    assert int.from_bytes(header[60:64], "big") == VERSION_FIRST
    assert int.from_bytes(header[52:56], "big") != 0  # the largest root page: auto-vacuum is on
    assert int.from_bytes(header[64:68], "big") == 1  # and incremental
    assert header[18:20] == b"\x02\x02"  # WAL, for writing and for reading


# --- damage -------------------------------------------------------------------------------------------------------


def rewrite(path: Path, statement: str) -> None:
    """Change the file of a closed archive behind its back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(statement)


def flip(path: Path, needle: bytes, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(needle)
    data[at] ^= bit
    path.write_bytes(data)


async def test_a_flipped_bit_in_a_job_is_noticed_and_its_neighbours_are_told(path: Path) -> None:
    archive = await opened(path)
    await archive.write([finished(1), finished(2, body=b"\x01needle"), finished(3)], [], [], 1)
    await archive.aclose()
    flip(path, b"needle")
    archive = await opened(path)
    with pytest.raises(ArchiveFailed, match=job_id(2).hex().upper()):
        await archive.get([job_id(2)])
    with pytest.raises(ArchiveFailed):
        await archive.page(ANY, 10, b"")
    assert set(await archive.get([job_id(1), job_id(3)])) == {job_id(1), job_id(3)}
    await archive.aclose()


async def test_a_flipped_bit_in_a_run_is_noticed(path: Path) -> None:
    archive = await opened(path)
    await archive.write([], [ended(1, body=b"\x01needle"), ended(2)], [], 1)
    await archive.aclose()
    flip(path, b"needle")
    archive = await opened(path)
    with pytest.raises(ArchiveFailed):
        await archive.runs(job_id(1))
    assert await archive.runs(job_id(2)) == [ended(2)]
    await archive.aclose()


async def test_a_changed_journal_id_is_damage_and_no_other_journal(path: Path) -> None:
    await fill(path)
    flip(path, JOURNAL)
    with pytest.raises(ArchiveFailed, match="damaged"):
        await opened(path)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET generation = 4 WHERE number = 3",
        "UPDATE jobs SET shelf = 18 WHERE number = 3",
        "UPDATE jobs SET ended_ms = ended_ms + 1 WHERE number = 3",
        "UPDATE jobs SET names = names - 1 WHERE number = 3",
        "UPDATE jobs SET row = (SELECT row FROM jobs WHERE number = 4) WHERE number = 3",
        "UPDATE jobs SET row = x'' WHERE number = 3",
        "UPDATE jobs SET row = 'text' WHERE number = 3",
        "UPDATE jobs SET ended_ms = 1.5 WHERE number = 3",
    ],
)
async def test_columns_that_tell_another_story_than_the_record_are_damage(path: Path, change: str) -> None:
    await fill(path)
    rewrite(path, change)
    archive = await opened(path)
    with pytest.raises(ArchiveFailed, match="damaged"):
        await archive.get([job_id(2)])
    await archive.aclose()


async def test_a_changed_tombstone_is_damage(path: Path) -> None:
    await fill(path)
    archive = await opened(path)
    await archive.retain(START_MS + 2 * DAY_MS, 100, PLENTY)
    await archive.aclose()
    rewrite(path, "UPDATE tombstones SET seal = seal + 1 WHERE number = 1")
    archive = await opened(path)
    with pytest.raises(ArchiveFailed, match="tombstone"):
        await archive.get([job_id(0)])
    await archive.aclose()


async def test_a_changed_position_is_damage(path: Path) -> None:
    await fill(path)
    rewrite(path, "UPDATE meta SET synced = synced + 1")
    with pytest.raises(ArchiveFailed, match="position"):
        await opened(path)


async def test_an_archive_without_its_position_is_damaged(path: Path) -> None:
    await fill(path)
    rewrite(path, "DELETE FROM meta")
    with pytest.raises(ArchiveFailed, match="which journal"):
        await opened(path)


async def test_any_flipped_bit_gives_an_error_of_ours_or_true_records_only(path: Path) -> None:
    await fill(path, jobs=60)
    archive = await opened(path)
    await archive.retain(START_MS + DAY_MS + 20, 100, PLENTY)
    jobs = await archive.get([job_id(number) for number in range(60)])
    runs = {number: await archive.runs(job_id(number)) for number in range(1, 60, 10)}
    await archive.aclose()
    whole = path.read_bytes()
    chance = random.Random(7)
    noticed = 0
    for _ in range(250):
        damaged = bytearray(whole)
        damaged[chance.choice([at for at in [chance.randrange(len(whole)) for _ in range(50)] if whole[at]])] ^= (
            1 << chance.randrange(8)
        )
        path.write_bytes(damaged)
        try:
            archive = await opened(path)
        except AioqueueError:
            noticed += 1
            continue
        try:
            found = await archive.get(list(jobs))
            assert found.items() <= jobs.items()
            assert all(jobs[job.id] == job for job in (await archive.page(ANY, 100, b""))[0])
            for number, known in runs.items():
                assert await archive.runs(job_id(number)) in (known, [])
        except ArchiveFailed:
            noticed += 1
        finally:
            try:
                await archive.aclose()
            except ArchiveFailed:
                noticed += 1
    assert noticed > 100
