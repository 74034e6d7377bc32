"""Which rows of the archive go next: found by index, never more than a step may remove.

Nothing here writes. A job that keeps its own time is found in the index of expiries; every other shelf is in the order
of its ends, so the first rows of each are the next to go.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from aioqueue.archive.base import KeepRule, Table
from aioqueue.archive.migrations import has
from aioqueue.archive.rows import among, gather, kept_generation
from aioqueue.archive.shelves import OTHER_SHELVES, SUCCEEDED_SHELVES, ruled_shelves, state_on
from aioqueue.limits import ACTS_MAX, KEEP_ACTS_MS, TOMBSTONE_MS
from aioqueue.model.states import JobState

_CELLS: Final = ("number", "hex(id)", "shelf", "length(row)", "ended_ms", "generation")
_OWN_TIME: Final = "SELECT * FROM jobs WHERE expires_ms IS NOT NULL AND expires_ms <= ? ORDER BY expires_ms LIMIT ?"
_RULED: Final = "SELECT * FROM jobs WHERE shelf = ? AND ended_ms <= ? ORDER BY ended_ms LIMIT ?"
_OLDEST: Final = "SELECT * FROM jobs WHERE shelf = ? ORDER BY ended_ms LIMIT ?"
_TOMBSTONES: Final = "SELECT * FROM tombstones ORDER BY number LIMIT ?"
_ACTS: Final = "SELECT * FROM acts ORDER BY number LIMIT ?"
_RUNS: Final = "SELECT id, count(*) AS runs, sum(length(row)) AS size FROM runs WHERE id IN ({marks}) GROUP BY id"
# Tombstones are numbered as they are made and go in that order, so their first and last number tell how many there are;
# `max` and `min` in one statement would read them all.
_USED: Final = (
    "SELECT (page_count - freelist_count) * page_size,"
    " (SELECT max(number) FROM tombstones) - (SELECT min(number) FROM tombstones) + 1"
    " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
# A row and its entry in the index, as measured for 200,000 of them.
_TOMBSTONE_BYTES: Final = 67


class Victims(msgspec.Struct):
    """Jobs that leave in this step: `rows` and `bytes` include their runs, `states` and `generations` are what their
    tombstones say."""

    numbers: list[int] = []
    ids: list[bytes] = []
    states: list[JobState] = []
    generations: list[int] = []
    rows: int = 0
    bytes: int = 0


def due_victims(connection: sqlite3.Connection, rule: KeepRule, now_ms: int, rows_max: int) -> Victims:
    """Jobs past their own time, then those past the rule's."""
    found = gather(connection, _CELLS, _OWN_TIME, (now_ms, rows_max))
    for shelf, keep_ms in ruled_shelves(rule):
        if len(found) < rows_max:
            found += gather(connection, _CELLS, _RULED, (shelf, now_ms - keep_ms, rows_max - len(found)))
    return _with_runs(connection, found, rows_max, bytes_wanted=None)


def outgrown_victims(connection: sqlite3.Connection, rows_max: int, bytes_max: int) -> Victims:
    """The oldest succeeded jobs, or else the oldest others, that stand for what the file holds above `bytes_max`."""
    ((used, tombstones),) = connection.execute(_USED).fetchall()
    used -= _TOMBSTONE_BYTES * (tombstones or 0)
    if used <= bytes_max:
        return Victims()
    for shelves in (SUCCEEDED_SHELVES, OTHER_SHELVES):
        found = [cells for shelf in shelves for cells in gather(connection, _CELLS, _OLDEST, (shelf, rows_max))]
        if found:
            found.sort(key=lambda cells: (int(cells[4]), int(cells[0])))
            return _with_runs(connection, found[:rows_max], rows_max, bytes_wanted=used - bytes_max)
    return Victims()


def stale_tombstones(connection: sqlite3.Connection, now_ms: int, rows_max: int) -> list[int]:
    """The numbers of tombstones that have stood long enough, the oldest first."""
    numbers = []
    for number, since_ms in gather(connection, ("number", "since_ms"), _TOMBSTONES, (max(0, rows_max),)):
        # One that was set by a clock ahead of this one waits, and those behind it with it: longer, never shorter.
        if int(since_ms) + TOMBSTONE_MS > now_ms:
            break
        numbers.append(int(number))
    return numbers


def stale_acts(connection: sqlite3.Connection, now_ms: int, rows_max: int) -> list[int]:
    """The numbers of acts that are too old, or too many, the oldest first."""
    if rows_max <= 0 or not has(connection, Table.ACT):
        return []
    ((newest,),) = connection.execute("SELECT max(number) FROM acts").fetchall()
    numbers = []
    for number, at_ms in gather(connection, ("number", "at_ms"), _ACTS, (rows_max,)):
        if int(at_ms) + KEEP_ACTS_MS > now_ms and int(number) > newest - ACTS_MAX:
            break
        numbers.append(int(number))
    return numbers


def _with_runs(
    connection: sqlite3.Connection, found: Sequence[Sequence[str]], rows_max: int, bytes_wanted: int | None
) -> Victims:
    """As many of `found` as fit into a step with their runs (the first always does), and as few as are wanted."""
    victims = Victims()
    ids = [bytes.fromhex(cells[1]) for cells in found]
    runs = _runs_of(connection, ids)
    for job_id, (number, _, shelf, row_bytes, _, generation) in zip(ids, found, strict=True):
        count, run_bytes = runs.get(job_id, (0, 0))
        full = victims.rows and victims.rows + 1 + count > rows_max
        if full or (bytes_wanted is not None and victims.bytes >= bytes_wanted):
            break
        victims.numbers.append(int(number))
        victims.ids.append(job_id)
        victims.states.append(state_on(int(shelf)))
        victims.generations.append(kept_generation(job_id, int(generation)))
        victims.rows += 1 + count
        victims.bytes += int(row_bytes) + run_bytes
    return victims


def _runs_of(connection: sqlite3.Connection, ids: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
    found: dict[bytes, tuple[int, int]] = {}
    for statement in among(_RUNS, ids):
        for job_id, count, size in gather(connection, ("hex(id)", "runs", "size"), *statement):
            found[bytes.fromhex(job_id)] = int(count), int(size)
    return found
