"""The numbers by which a finished job is found."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from aioqueue.archive.base import JobFilter
from aioqueue.archive.pages import _highest, _newest
from aioqueue.archive.retention import _OLDEST, _OWN_TIME, _RULED
from aioqueue.archive.rows import job_columns
from aioqueue.archive.schema import _TABLES
from aioqueue.archive.shelves import (
    NEWEST,
    OTHER_SHELVES,
    SUCCEEDED_SHELVES,
    matches,
    pack_cursor,
    print_of,
    print_wanted,
    shelf_of,
    shelves_of,
    state_on,
    unpack_cursor,
)
from aioqueue.model.states import TERMINAL, JobState
from tests.support.finished import finished


@pytest.mark.parametrize("state", sorted(TERMINAL))
@pytest.mark.parametrize("keep_ms", [-1, 0, 5])
def test_a_shelf_tells_its_state_and_who_decides_how_long(state: JobState, keep_ms: int) -> None:
    job = finished(1, state, keep_ms=keep_ms)
    assert state_on(shelf_of(job)) is state
    assert shelf_of(job) % 2 == (keep_ms >= 0)
    assert shelf_of(job) in (SUCCEEDED_SHELVES if state is JobState.SUCCEEDED else OTHER_SHELVES)
    assert job_columns(job)[2] == shelf_of(job)


def test_a_filter_without_states_looks_at_every_shelf() -> None:
    assert set(shelves_of(JobFilter("default"))) == {*SUCCEEDED_SHELVES, *OTHER_SHELVES}


def test_a_filter_looks_only_at_the_shelves_of_its_states() -> None:
    assert {state_on(shelf) for shelf in shelves_of(JobFilter("default", (JobState.DEAD,)))} == {JobState.DEAD}
    assert shelves_of(JobFilter("default", (JobState.RUNNING,))) == ()


@pytest.mark.parametrize("queue", ["", "default", "other"])
@pytest.mark.parametrize("task", ["", "shop.mail.send", "other"])
@pytest.mark.parametrize("namespace", ["default", "other"])
def test_the_print_of_what_matches_is_always_wanted(namespace: str, queue: str, task: str) -> None:
    where = JobFilter(namespace, queue=queue, task=task)
    job = finished(1)
    mask, value = print_wanted(where)
    wanted = print_of(job.namespace, job.queue, job.task) & mask == value
    assert wanted == matches(where, job)


@pytest.mark.parametrize("place", [(0, 0, 0), (1_700_000_000_000, 2**48 - 1, 7), (-5, 3, 2**62), NEWEST])
def test_a_cursor_is_the_place_it_was_made_of(place: tuple[int, int, int]) -> None:
    assert unpack_cursor(JobFilter("default"), pack_cursor(place)) == place


def test_no_question_of_the_archive_reads_or_sorts_a_whole_table() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_TABLES)
        for sql, count in (
            (_newest(1, " LIMIT ?", " AND names & ? = ?"), 10),
            (_newest(8, " LIMIT 1 OFFSET ?"), 57),
            (_newest(8, " LIMIT ?", " AND names & ? = ? AND instr(row, ?) > 0"), 81),
            (_OWN_TIME, 2),
            (_RULED, 3),
            (_OLDEST, 2),
        ):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * count)]
            assert not [step for step in plan if "SCAN" in step or "TEMP B-TREE" in step]
            assert any("jobs_by_end" in step or "jobs_by_expiry" in step for step in plan)
        for sql, count in (
            (_highest("", " LIMIT 1 OFFSET ?"), 3),
            (_highest(" AND names & ? = ? AND +shelf IN (14, 15) AND +ended_ms >= ? AND +ended_ms < ?", " LIMIT ?"), 7),
        ):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * count)]
            assert len(plan) == 1
            assert "(id>? AND id<?)" in plan[0]
