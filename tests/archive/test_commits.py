"""The writer by itself, on a real file: checkpoints that keep the WAL bounded, holes that are given back, failures."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from aioqueue.archive.base import KeepRule
from aioqueue.archive.commits import Writer
from aioqueue.archive.schema import prepare_writer
from aioqueue.errors import ArchiveFailed
from aioqueue.limits import CHECKPOINT_PAGES
from tests.support.finished import DAY_MS, START_MS, ended, finished, job_id

PAGE_BYTES = 4096
BOUND = CHECKPOINT_PAGES * PAGE_BYTES
PLENTY = 10 << 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    # No time-out: a checkpoint that must wait for a reader says at once that it could not.
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as opened:
        yield opened


@pytest.fixture
def writer(connection: sqlite3.Connection, path: Path) -> Writer:
    return Writer(str(path), b"j" * 16, prepare_writer(connection, str(path), b"j" * 16), KeepRule())


def write_some(writer: Writer, connection: sqlite3.Connection, first: int, count: int = 100, size: int = 4_000) -> None:
    jobs = [finished(number, body=b"x" * size) for number in range(first, first + count)]
    writer.commit(connection, jobs, [], [], first + count)


def wal_bytes(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


@pytest.mark.parametrize("size", [0, 4_000])
def test_the_wal_stays_bounded_however_much_is_written(
    writer: Writer, connection: sqlite3.Connection, path: Path, size: int
) -> None:
    for first in range(0, 10_000, 100):
        write_some(writer, connection, first, size=size)
    assert path.stat().st_size > 100 * PAGE_BYTES  # what was written has been moved
    assert wal_bytes(path) < 2 * BOUND


def test_the_wal_stays_bounded_with_ids_in_no_order(writer: Writer, connection: sqlite3.Connection, path: Path) -> None:
    for first in range(0, 10_000, 100):
        jobs = [
            finished(number, id=(number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big") * 2)
            for number in range(first, first + 100)
        ]
        writer.commit(connection, jobs, [], [], first)
    assert wal_bytes(path) < 4 * BOUND


def test_a_reader_in_the_way_stops_no_commit_and_the_wal_is_emptied_after_it(
    writer: Writer, connection: sqlite3.Connection, path: Path
) -> None:
    write_some(writer, connection, 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM jobs").fetchone() == (100,)
        for first in range(100, 10_000, 100):
            write_some(writer, connection, first)
        assert reader.execute("SELECT count(*) FROM jobs").fetchone() == (100,)
    held_back = wal_bytes(path)
    assert held_back > 8 * BOUND
    for first in range(10_000, 12_000, 100):
        write_some(writer, connection, first)
    assert wal_bytes(path) < 2 * BOUND
    assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (12_000,)


def test_what_a_reader_held_back_is_moved_by_the_next_commit_after_it(
    writer: Writer, connection: sqlite3.Connection, path: Path
) -> None:
    write_some(writer, connection, 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchone()
        for first in range(100, 1_500, 100):
            write_some(writer, connection, first)
        assert path.stat().st_size < BOUND // 2
    write_some(writer, connection, 1_500, count=1)
    assert path.stat().st_size > BOUND


def test_a_full_disk_stores_nothing_of_the_bulk_and_stops_the_archive(
    writer: Writer, connection: sqlite3.Connection, path: Path
) -> None:
    write_some(writer, connection, 0)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ArchiveFailed, match="full"):
        write_some(writer, connection, 100)
    assert writer.synced == 100
    assert not connection.in_transaction
    assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (100,)

    connection.execute("PRAGMA max_page_count = 1000000")
    with pytest.raises(ArchiveFailed, match="failed before"):
        write_some(writer, connection, 100)
    with pytest.raises(ArchiveFailed, match="failed before"):
        writer.retain(connection, START_MS, 10, PLENTY)
    assert prepare_writer(connection, str(path), b"j" * 16) == 100


def test_a_file_that_another_program_holds_fails_the_archive(
    writer: Writer, connection: sqlite3.Connection, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ArchiveFailed, match="locked"):
            write_some(writer, connection, 0)
    assert writer.synced == 0


def test_a_failed_step_of_retention_removes_nothing(writer: Writer, connection: sqlite3.Connection) -> None:
    write_some(writer, connection, 0)
    connection.execute("CREATE TRIGGER fail BEFORE INSERT ON tombstones BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(ArchiveFailed):
        writer.retain(connection, START_MS + 9 * DAY_MS, 10, PLENTY)
    assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (100,)


def test_a_bulk_that_cannot_be_packed_changes_nothing_and_does_not_stop_the_archive(
    writer: Writer, connection: sqlite3.Connection
) -> None:
    with pytest.raises(TypeError):
        writer.commit(connection, [finished(1), finished(2, body=object())], [], [], 1)
    assert writer.synced == 0
    writer.commit(connection, [finished(1)], [ended(1)], [], 1)
    assert connection.execute("SELECT id FROM jobs").fetchall() == [(job_id(1),)]


def test_the_room_of_removed_jobs_is_used_again(writer: Writer, connection: sqlite3.Connection, path: Path) -> None:
    def fill_and_clear() -> None:
        for first in range(0, 2_000, 100):
            write_some(writer, connection, first, size=1_000)
        while writer.retain(connection, START_MS + 9 * DAY_MS, 500, PLENTY):
            pass
        while writer.retain(connection, START_MS + 12 * DAY_MS, 500, PLENTY):
            pass
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    fill_and_clear()
    after_one = path.stat().st_size
    for _ in range(3):
        fill_and_clear()
    assert path.stat().st_size < 1.2 * after_one


def test_a_file_that_is_mostly_holes_shrinks_step_by_step(
    writer: Writer, connection: sqlite3.Connection, path: Path
) -> None:
    for first in range(0, 5_000, 100):
        write_some(writer, connection, first)
    while writer.retain(connection, START_MS + 9 * DAY_MS, 1_000, PLENTY):
        pass
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    sizes = [pages]
    while writer.shrink(connection):
        sizes.append(connection.execute("PRAGMA page_count").fetchone()[0])
    assert not writer.shrink(connection)
    assert sizes == sorted(sizes, reverse=True)
    assert max(before - after for before, after in pairwise(sizes)) <= 70
    assert sizes[-1] < 2_500
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_retention_with_nothing_to_do_writes_nothing(
    writer: Writer, connection: sqlite3.Connection, path: Path
) -> None:
    write_some(writer, connection, 0)
    before = path.with_name(path.name + "-wal").read_bytes()
    assert writer.retain(connection, START_MS, 100, PLENTY) == 0
    assert path.with_name(path.name + "-wal").read_bytes() == before
