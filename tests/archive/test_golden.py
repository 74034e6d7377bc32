"""Each version as it was when it was made: a file written then is read, and written on, the same for ever.

`python tests/archive/test_golden.py FILE` writes an archive of the latest version into a new file.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import msgpack
import pytest
from msgspec.structs import replace

from aioqueue.archive.base import JobFilter, Tombstone
from aioqueue.archive.rows import act_columns, job_columns, log_columns, run_columns, tombstone_columns
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.model.ids import own_id
from aioqueue.model.records import Act, EndedRun, FinishedJob, LogPart, Terms
from aioqueue.model.states import JobState

ALL = Path(__file__).parents[1] / "golden"
GOLDENS = ALL / "archive-v1"
GOLDEN = GOLDENS / "archive-terms.sqlite"
SECOND = ALL / "archive-v2" / "archive.sqlite"
THIRD = ALL / "archive-v3" / "archive.sqlite"
# From before a row had terms and a note.
FIRST = GOLDENS / "archive.sqlite"
JOURNAL = bytes.fromhex("00112233445566778899aabbccddeeff")
START_MS = 1_700_000_000_000
DAY_MS = 86_400_000
TERMS = Terms(START_MS + 40, START_MS + 50, bytes([3]) * 16, True)
SPEC = msgpack.packb(["shop", "mail", "shop.mail.send", 8, 0, -1, [5, "exponential", 1_000, 2.0, 300_000, True]])


def job(number: int, state: JobState, keep_ms: int, *rest: Any) -> FinishedJob:
    times = (START_MS, START_MS + number, START_MS + 10 * number)
    job_id = bytes([number]) * 16
    return FinishedJob(
        job_id, "shop", "mail", "shop.mail.send", state, number % 2, 3, 1, 4, 99, 8, *times, keep_ms,
        "arbeiter-ö", 40 + number, SPEC, *rest,
    )  # fmt: skip


JOBS = [
    job(1, JobState.SUCCEEDED, -1, b"\x01\xa4done", b"", b""),
    job(2, JobState.SUCCEEDED, 7 * DAY_MS, b"\x01\xc0", b"", b"\x93\xc4\x00\xaainvoice-42\x80"),
    job(3, JobState.DEAD, -1, b"\x01\x94\xa8KeyError\xa1x\xa0\xc3", b"\x01\x92\x90\x80", b""),
    job(4, JobState.CANCELLED, -1, b"", b"\x01\x92\x90\x80", b"", None, "nicht nötig"),
    job(5, JobState.EXPIRED, 0, b"", b"\x01\x92\x90\x80", b"", TERMS, "its deadline passed"),
]
FIRST_JOBS = [replace(job, terms=None, note="") for job in JOBS]
RUNS = [
    EndedRun(
        bytes([3]) * 16, 1, run, outcome, START_MS, START_MS + run, "arbeiter-ö", b"\x01\x94\xa8KeyError\xa1x\xa0\xc3"
    )
    for run, outcome in enumerate(("failed", "crashed", "released"), start=1)
]
ACTS = [
    Act(
        46, 0, START_MS + 46, "pause", "shop", "mail", 3, "cli:åsa@host", "10.0.0.7", "provider down", "open", "paused"
    ),
    Act(46, 1, START_MS + 46, "purge", "shop", "mail"),
]
LOGS = [LogPart(bytes([3]) * 16, generation, 0, START_MS, ["begun", "größe 7"], 2) for generation in (0, 1)]
GONE = job(6, JobState.SUCCEEDED, 0, b"\x01\xc0", b"", b"")
# A caller's own id, in its third use.
AGAIN = replace(GONE, id=own_id("shop", "mail", "invoice-42"), generation=2, terms=Terms(first_generation=2))


async def write_golden(path: Path) -> None:
    async with aclosing(await SqliteArchive.open(path, journal_id=JOURNAL)) as archive:
        await archive.write([GONE, AGAIN], [], [], 41)
        await archive.retain(START_MS + DAY_MS, 100, 1 << 40)
        await archive.write(JOBS, RUNS, [], 47, ACTS, LOGS)


@pytest.mark.parametrize(
    ("golden", "jobs"),
    [(THIRD, JOBS), (SECOND, JOBS), (GOLDEN, JOBS), (FIRST, FIRST_JOBS)],
    ids=["v3", "v2", "v1", "first"],
)
async def test_a_golden_file_is_read_as_it_was_meant(tmp_path: Path, golden: Path, jobs: list[FinishedJob]) -> None:
    path = Path(shutil.copy(golden, tmp_path / "archive"))
    async with aclosing(await SqliteArchive.open(path, journal_id=JOURNAL)) as archive:
        assert archive.synced == 47
        assert await archive.page(JobFilter("shop"), 10, b"") == (jobs[::-1], b"")
        assert await archive.get([GONE.id, JOBS[0].id]) == {
            GONE.id: Tombstone(GONE.id, JobState.SUCCEEDED, 0, START_MS + DAY_MS),
            JOBS[0].id: jobs[0],
        }
        assert await archive.runs(JOBS[2].id) == RUNS


async def test_a_golden_file_of_the_third_version_tells_the_generation_of_an_id_that_was_used_again(
    tmp_path: Path,
) -> None:
    path = Path(shutil.copy(THIRD, tmp_path / "archive"))
    async with aclosing(await SqliteArchive.open(path, journal_id=JOURNAL)) as archive:
        gone = await archive.get([GONE.id, AGAIN.id])
        assert gone == {
            GONE.id: Tombstone(GONE.id, JobState.SUCCEEDED, 0, START_MS + DAY_MS),
            AGAIN.id: Tombstone(AGAIN.id, JobState.SUCCEEDED, 2, START_MS + DAY_MS),
        }
    assert tables(THIRD)[0] == 3
    assert tables(THIRD)[1] == tables(SECOND)[1]


async def test_a_golden_file_is_written_on(tmp_path: Path) -> None:
    path = Path(shutil.copy(GOLDEN, tmp_path / "archive"))
    async with aclosing(await SqliteArchive.open(path, journal_id=JOURNAL)) as archive:
        await archive.write([GONE], [], [JOBS[2].id], 48)
        assert await archive.retain(START_MS + 3 * DAY_MS, 100, 1 << 40) == 4
        assert await archive.page(JobFilter("shop"), 10, b"") == ([JOBS[3], JOBS[1]], b"")


async def test_a_golden_file_of_the_second_version_has_its_acts_and_logs(tmp_path: Path) -> None:
    path = Path(shutil.copy(SECOND, tmp_path / "archive"))
    async with aclosing(await SqliteArchive.open(path, journal_id=JOURNAL)) as archive:
        assert await archive.acts(10, b"") == (ACTS[::-1], b"")
        assert await archive.logs(LOGS[0].id) == LOGS
        await archive.write([], [], [], 48, ACTS, LOGS)
        assert await archive.acts(10, b"") == (ACTS[::-1], b"")


def tables(path: Path) -> tuple[int, dict[str, str]]:
    """The file's version, and how it says that its tables and indices were made."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return version, dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


async def test_an_archive_that_uses_nothing_new_is_made_and_written_as_the_first_version(tmp_path: Path) -> None:
    new, old = tmp_path / "new", Path(shutil.copy(GOLDEN, tmp_path / "old"))
    async with aclosing(await SqliteArchive.open(new, journal_id=JOURNAL)) as archive:
        await archive.write(JOBS, RUNS, [], 47)
    async with aclosing(await SqliteArchive.open(old, journal_id=JOURNAL)) as archive:
        await archive.write([GONE], [], [], 48)
    assert tables(new) == tables(old) == tables(GOLDEN)


async def test_the_first_act_makes_a_golden_file_one_of_the_second_version(tmp_path: Path) -> None:
    path = Path(shutil.copy(GOLDEN, tmp_path / "archive"))
    async with aclosing(await SqliteArchive.open(path, journal_id=JOURNAL)) as archive:
        await archive.write([], [], [], 48, ACTS)
        assert await archive.page(JobFilter("shop"), 10, b"") == (JOBS[::-1], b"")
    assert tables(path) == tables(SECOND)


@pytest.mark.parametrize("golden", [GOLDEN, SECOND], ids=["v1", "v2"])
def test_golden_rows_are_written_again_byte_for_byte(golden: Path) -> None:
    with closing(sqlite3.connect(f"file:{golden}?mode=ro&immutable=1", uri=True)) as connection:
        columns = "id, generation, shelf, ended_ms, names, expires_ms, row"
        assert connection.execute(f"SELECT {columns} FROM jobs ORDER BY ended_ms").fetchall() == [
            job_columns(job) for job in JOBS
        ]
        assert connection.execute("SELECT id, generation, run, row FROM runs ORDER BY run").fetchall() == [
            run_columns(run) for run in RUNS
        ]
        assert connection.execute("SELECT id, seal, since_ms FROM tombstones").fetchall() == [
            tombstone_columns(GONE.id, JobState.SUCCEEDED, START_MS + DAY_MS)
        ]
        if golden is SECOND:
            assert connection.execute("SELECT position, place, at_ms, row FROM acts ORDER BY number").fetchall() == [
                act_columns(act) for act in ACTS
            ]
            assert connection.execute("SELECT id, generation, number, row FROM logs").fetchall() == [
                log_columns(part) for part in LOGS
            ]


if __name__ == "__main__":
    asyncio.run(write_golden(Path(sys.argv[1])))
