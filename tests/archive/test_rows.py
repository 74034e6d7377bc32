"""Rows as bytes, and statements in few shapes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from aioqueue.archive import rows
from aioqueue.archive.rows import JOB_CELLS, among, gather, job_columns, read_job, store_jobs
from aioqueue.archive.schema import _TABLES
from aioqueue.core import levels
from aioqueue.errors import ArchiveFailed
from aioqueue.model.records import Terms
from tests.support.finished import START_MS, finished, job_id


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.executescript(_TABLES)
        yield opened


def cells_of(connection: sqlite3.Connection) -> list[str]:
    (cells,) = gather(connection, JOB_CELLS, "SELECT * FROM jobs", ())
    return cells


def test_few_statements_serve_every_number_of_rows() -> None:
    rows = [job_columns(finished(number)) for number in range(1_000)]
    shapes = {sql for count in range(0, 1_000, 7) for sql, _ in store_jobs(rows[:count])}
    assert len(shapes) == 5


@pytest.mark.parametrize("count", range(0, 600, 37))
def test_the_pieces_of_a_list_are_the_list(count: int) -> None:
    values = list(range(count))
    pieces = list(among("IN ({marks})", values, 64))
    assert [value for _, piece in pieces for value in piece] == values
    assert all(sql.count("?") == len(piece) <= 64 for sql, piece in pieces)


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_of_a_row_is_noticed(connection: sqlite3.Connection, bit: int) -> None:
    for statement in store_jobs([job_columns(finished(1))]):
        connection.execute(*statement)
    *columns, row = cells_of(connection)
    assert read_job("p", [*columns, row]) == finished(1)
    whole = bytes.fromhex(row)
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        with pytest.raises(ArchiveFailed):
            read_job("p", [*columns, damaged.hex()])


@pytest.mark.parametrize("length", range(20))
def test_a_row_cut_short_is_noticed(connection: sqlite3.Connection, length: int) -> None:
    for statement in store_jobs([job_columns(finished(1))]):
        connection.execute(*statement)
    *columns, row = cells_of(connection)
    with pytest.raises(ArchiveFailed):
        read_job("p", [*columns, row[: 2 * length]])


def test_a_row_with_a_hole_is_an_error_and_not_left_out(connection: sqlite3.Connection) -> None:
    source = "SELECT 1 AS number, 2 AS since_ms UNION ALL SELECT NULL, 3"
    with pytest.raises(sqlite3.DatabaseError, match="1 of 2 rows"):
        gather(connection, ("number", "since_ms"), source, ())


def test_rows_are_gathered_in_the_order_of_their_source(connection: sqlite3.Connection) -> None:
    jobs = [finished(number * 7 % 100) for number in range(100)]
    for statement in store_jobs([job_columns(job) for job in jobs]):
        connection.execute(*statement)
    source = "SELECT * FROM jobs ORDER BY ended_ms DESC LIMIT 50"
    assert [read_job("p", cells) for cells in gather(connection, JOB_CELLS, source, ())] == [
        finished(number) for number in range(99, 49, -1)
    ]


def test_no_rows_gather_to_nothing(connection: sqlite3.Connection) -> None:
    assert gather(connection, JOB_CELLS, "SELECT * FROM jobs", ()) == []


class WideTerms(Terms, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The terms of a later release."""

    group: str = ""


def test_a_job_that_uses_no_later_terms_has_the_bytes_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    times = (START_MS, START_MS + 1, job_id(2), True)
    expected = rows.job_columns(finished(1, terms=Terms(*times), note="late"))
    monkeypatch.setattr(levels, "KNOWN", levels.Levels({1: {**levels.LEVELS[1], WideTerms: 4}, 2: {WideTerms: 5}}))
    monkeypatch.setattr(rows, "_pack_job", rows._pack_cut)
    assert rows.job_columns(finished(1, terms=WideTerms(*times), note="late")) == expected
    assert rows.job_columns(finished(1, terms=WideTerms(*times, "a"), note="late")) != expected
