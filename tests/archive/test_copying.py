"""A copy of an archive that is written meanwhile, and the new archive made of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aioqueue.archive.base import Archive, JobFilter, Row, Table, Tombstone
from aioqueue.archive.fresh import fresh_archive, verify_archive
from aioqueue.archive.migrations import version_of
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.errors import ArchiveFailed, BadOption
from aioqueue.model.ids import own_id
from aioqueue.model.states import JobState
from tests.support.finished import DAY_MS, START_MS, act, ended, finished, job_id, logged

NEW = b"n" * 16
GONE = Tombstone(job_id(90), JobState.SUCCEEDED, 0, START_MS + 100)
EVERYTHING = JobFilter("default")
PLENTY = 1 << 40


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks of few bytes, so that a few rows take many."""
    monkeypatch.setattr("aioqueue.archive.copying.COPY_BYTES", 1_000)


async def rows_of(archive: Archive) -> list[Row]:
    rows, after = await archive.copy(b"")
    while after:
        more, after = await archive.copy(after)
        rows += more
    return rows


def made(path: Path, rows: list[Row], synced: int) -> int:
    """A new archive of these rows; how many were left out."""
    with fresh_archive(str(path), NEW) as fresh:
        for row in rows:
            fresh.add(row)
        fresh.finish(synced)
        return fresh.left_out


async def filled(archive: Archive) -> None:
    """Twenty jobs of which every third is dead with two runs, and three that are only remembered."""
    await archive.write([finished(number, keep_ms=0) for number in (90, 91, 92)], [], [], 1)
    while await archive.retain(START_MS + 100, 10, PLENTY):
        pass
    jobs = [finished(number, JobState.DEAD if number % 3 == 0 else JobState.SUCCEEDED) for number in range(20)]
    runs = [ended(number, run) for number in range(0, 20, 3) for run in (1, 2)]
    await archive.write(jobs, runs, [], 7)


@pytest.mark.usefixtures("little")
async def test_a_copy_holds_every_job_run_and_tombstone(archive: Archive, tmp_path: Path) -> None:
    await filled(archive)
    assert made(tmp_path / "new", await rows_of(archive), 7) == 0
    assert verify_archive(str(tmp_path / "new")) == 20
    copy = await SqliteArchive.open(tmp_path / "new", journal_id=NEW)
    assert copy.synced == 7
    assert await copy.page(EVERYTHING, 100, b"") == await archive.page(EVERYTHING, 100, b"")
    for number in range(20):
        assert await copy.runs(job_id(number)) == await archive.runs(job_id(number))
    assert await copy.get([job_id(90), job_id(99)]) == {job_id(90): GONE}
    await copy.aclose()


async def test_a_tombstone_is_copied_with_its_generation(archive: Archive, tmp_path: Path) -> None:
    own = own_id("default", "default", "invoice-42")
    await archive.write([finished(1, id=own, generation=3, keep_ms=0)], [], [], 7)
    await archive.retain(START_MS + 100, 10, PLENTY)
    assert made(tmp_path / "new", await rows_of(archive), 7) == 0
    with closing(sqlite3.connect(tmp_path / "new")) as connection:
        assert version_of(connection) == 3
    copy = await SqliteArchive.open(tmp_path / "new", journal_id=NEW)
    assert await copy.get([own]) == {own: Tombstone(own, JobState.SUCCEEDED, 3, START_MS + 100)}
    await copy.aclose()


@pytest.mark.usefixtures("little")
async def test_a_copy_holds_every_act_and_every_log(archive: Archive, tmp_path: Path) -> None:
    await filled(archive)
    acts = [act(number) for number in range(20)]
    logs = [logged(number, part, lines=["x" * 50]) for number in range(20) for part in range(3)]
    await archive.write([], [], [], 8, acts, logs)
    rows = await rows_of(archive)
    assert [sum(row.table is table for row in rows) for table in (Table.ACT, Table.LOG)] == [20, 60]
    torn = [Row(row.table, row.data[:-1] + bytes([row.data[-1] ^ 1])) for row in rows[-1:]]
    assert made(tmp_path / "new", [*rows, *rows, *torn], 8) == 1
    copy = await SqliteArchive.open(tmp_path / "new", journal_id=NEW)
    assert await copy.acts(100, b"") == (acts[::-1], b"")
    for number in range(20):
        assert await copy.logs(job_id(number)) == logs[3 * number : 3 * number + 3]
    await copy.aclose()


@pytest.mark.usefixtures("little")
async def test_a_copy_of_an_archive_that_has_nothing_new_has_the_first_version(tmp_path: Path) -> None:
    archive = await SqliteArchive.open(tmp_path / "archive", journal_id=b"j" * 16)
    await filled(archive)
    made(tmp_path / "new", await rows_of(archive), 7)
    await archive.aclose()
    with closing(sqlite3.connect(tmp_path / "new")) as connection:
        assert version_of(connection) == 1


@pytest.mark.usefixtures("little")
async def test_a_job_that_is_forgotten_while_it_is_copied_is_a_job_or_a_tombstone(archive: Archive) -> None:
    await filled(archive)
    rows, after = await archive.copy(b"")
    while await archive.retain(START_MS + 2 * DAY_MS, 10, PLENTY):
        pass
    while after:
        more, after = await archive.copy(after)
        rows += more
    known = sum(row.table is Table.JOB for row in rows) + sum(row.table is Table.TOMBSTONE for row in rows)
    assert known >= 20


async def test_a_large_result_is_copied_like_any_other(archive: Archive, tmp_path: Path) -> None:
    large = finished(1, body=b"\x01" + b"x" * 900_000)
    await archive.write([large, finished(2)], [], [], 1)
    assert made(tmp_path / "new", await rows_of(archive), 1) == 0
    copy = await SqliteArchive.open(tmp_path / "new", journal_id=NEW)
    assert await copy.get([large.id]) == {large.id: large}
    await copy.aclose()


async def test_rows_that_do_not_verify_are_left_out_and_counted(archive: Archive, tmp_path: Path) -> None:
    await filled(archive)
    rows = await rows_of(archive)
    broken = [Row(row.table, row.data[:-1] + bytes([row.data[-1] ^ 1])) for row in rows[:2]]
    stone = next(row for row in rows if row.table is Table.TOMBSTONE)
    torn = [Row(stone.table, bytes([stone.data[0] ^ 1]) + stone.data[1:]), Row(Table.TOMBSTONE, b"short")]
    assert made(tmp_path / "new", [*broken, *rows[2:], *torn], 7) == 4


async def test_the_same_rows_again_change_nothing(archive: Archive, tmp_path: Path) -> None:
    await filled(archive)
    rows = await rows_of(archive)
    assert made(tmp_path / "new", [*rows, *rows], 7) == 0
    assert verify_archive(str(tmp_path / "new")) == 20


@pytest.mark.parametrize("after", [b"\x09", b"\x01abc", b"\x02" + bytes(8)])
async def test_a_cursor_that_no_copy_gave_is_refused(tmp_path: Path, after: bytes) -> None:
    archive = await SqliteArchive.open(tmp_path / "archive", journal_id=b"j" * 16)
    with pytest.raises(BadOption):
        await archive.copy(after)
    await archive.aclose()


def test_an_archive_where_none_can_be_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ArchiveFailed, match="No such file"), fresh_archive(str(tmp_path / "missing" / "new"), NEW):
        pass
