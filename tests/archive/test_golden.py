"""Format 1 as it was when it was made: a file written then is read, and written on, the same for ever.

`python tests/archive/test_golden.py FILE` writes an archive of the present format into a new file.
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
from aioqueue.archive.rows import job_columns, run_columns, tombstone_columns
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.model.records import EndedRun, FinishedJob, Terms
from aioqueue.model.states import JobState

GOLDENS = Path(__file__).parents[1] / "golden" / "archive-v1"
GOLDEN = GOLDENS / "archive-terms.sqlite"
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
GONE = job(6, JobState.SUCCEEDED, 0, b"\x01\xc0", b"", b"")


async def write_golden(path: Path) -> None:
    async with aclosing(await SqliteArchive.open(path, journal_id=JOURNAL)) as archive:
        await archive.write([GONE], [], [], 41)
        await archive.retain(START_MS + DAY_MS, 100, 1 << 40)
        await archive.write(JOBS, RUNS, [], 47)


@pytest.mark.parametrize(("golden", "jobs"), [(GOLDEN, JOBS), (FIRST, FIRST_JOBS)], ids=["now", "first"])
async def test_a_golden_file_is_read_as_it_was_meant(tmp_path: Path, golden: Path, jobs: list[FinishedJob]) -> None:
    path = Path(shutil.copy(golden, tmp_path / "archive"))
    async with aclosing(await SqliteArchive.open(path, journal_id=JOURNAL)) as archive:
        assert archive.synced == 47
        assert await archive.page(JobFilter("shop"), 10, b"") == (jobs[::-1], b"")
        assert await archive.get([GONE.id, JOBS[0].id]) == {
            GONE.id: Tombstone(GONE.id, JobState.SUCCEEDED),
            JOBS[0].id: jobs[0],
        }
        assert await archive.runs(JOBS[2].id) == RUNS


async def test_a_golden_file_is_written_on(tmp_path: Path) -> None:
    path = Path(shutil.copy(GOLDEN, tmp_path / "archive"))
    async with aclosing(await SqliteArchive.open(path, journal_id=JOURNAL)) as archive:
        await archive.write([GONE], [], [JOBS[2].id], 48)
        assert await archive.retain(START_MS + 3 * DAY_MS, 100, 1 << 40) == 4
        assert await archive.page(JobFilter("shop"), 10, b"") == ([JOBS[3], JOBS[1]], b"")


def test_golden_rows_are_written_again_byte_for_byte() -> None:
    with closing(sqlite3.connect(f"file:{GOLDEN}?mode=ro&immutable=1", uri=True)) as connection:
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


if __name__ == "__main__":
    asyncio.run(write_golden(Path(sys.argv[1])))
