"""Rows and statements of the archive's file: a job as bytes that notice damage, and SQL in few shapes.

A row's `row` is the CRC-32 of the packed record (4 bytes, big-endian) and the record. The other columns repeat what
the record says, for finding it; a row whose columns tell another story than its record is damaged too.

Many rows are stored by one statement of many `VALUES`, never by `executemany`. That halves the CPU a row (8.8 to 4.5
us), and there is a worse reason: `sqlite3` lets go of the interpreter's lock for each row, and beside a busy event
loop every one of those waits for a whole switch interval to get it back: 500 rows took 0.6 s, against 10 ms. For the
same reason rows are read as one text that SQLite puts together (`gather`), and taken apart here.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from aioqueue.archive.base import Tombstone
from aioqueue.archive.shelves import expires_ms, print_of, shelf_of
from aioqueue.core import levels
from aioqueue.errors import ArchiveFailed
from aioqueue.model.ids import is_own_id
from aioqueue.model.records import Act, EndedRun, FinishedJob, LogPart
from aioqueue.model.states import TERMINAL, JobState

_CRC_BYTES: Final = 4
_CHECKSUM_BITS: Final = 8 * _CRC_BYTES
# SQLite's numbers have 63 bits beside their sign, and nobody comes so far.
_GENERATION_MAX: Final = 2**31 - 1
# Every number of rows is a sum of few of these, so a handful of prepared statements serve all.
_SHAPES: Final = (256, 64, 16, 4, 1)

_T = TypeVar("_T")

_encoder = msgspec.msgpack.Encoder()
_job_decoder = msgspec.msgpack.Decoder(FinishedJob)
_run_decoder = msgspec.msgpack.Decoder(EndedRun)
_act_decoder = msgspec.msgpack.Decoder(Act)
_log_decoder = msgspec.msgpack.Decoder(LogPart)

# What the readers below are given of a row.
JOB_CELLS: Final = ("hex(id)", "generation", "shelf", "ended_ms", "names", "hex(row)")
RUN_CELLS: Final = ("hex(id)", "generation", "run", "hex(row)")
TOMBSTONE_CELLS: Final = ("hex(id)", "seal", "since_ms")
ACT_CELLS: Final = ("position", "place", "at_ms", "hex(row)")
LOG_CELLS: Final = ("hex(id)", "generation", "number", "hex(row)")

_JOB_COLUMNS: Final = 7
_STORE_JOBS: Final = (
    "INSERT INTO jobs (id, generation, shelf, ended_ms, names, expires_ms, row) VALUES {values}"
    " ON CONFLICT (id) DO UPDATE SET generation = excluded.generation, shelf = excluded.shelf,"
    " ended_ms = excluded.ended_ms, names = excluded.names, expires_ms = excluded.expires_ms, row = excluded.row"
    " WHERE excluded.generation > jobs.generation"
)
_RUN_COLUMNS: Final = 4
# A run ends once, so a known one is the same one.
_STORE_RUNS: Final = "INSERT OR IGNORE INTO runs (id, generation, run, row) VALUES {values}"
_TOMBSTONE_COLUMNS: Final = 3
_STORE_TOMBSTONES: Final = "INSERT OR REPLACE INTO tombstones (id, seal, since_ms) VALUES {values}"
_ACT_COLUMNS: Final = 4
_STORE_ACTS: Final = "INSERT OR IGNORE INTO acts (position, place, at_ms, row) VALUES {values}"
_LOG_COLUMNS: Final = 4
_STORE_LOGS: Final = "INSERT OR IGNORE INTO logs (id, generation, number, row) VALUES {values}"


def job_columns(job: FinishedJob) -> tuple[Any, ...]:
    """What is stored of a job, in the order of `store_jobs`."""
    record = _pack_job(job)
    return (
        job.id,
        job.generation,
        job.state * 2 + (job.keep_ms >= 0),  # shelf_of, written out: this line runs for every job there is
        job.finished_ms,
        print_of(job.namespace, job.queue, job.task),
        expires_ms(job),
        zlib.crc32(record).to_bytes(_CRC_BYTES, "big") + record,
    )


def run_columns(run: EndedRun) -> tuple[Any, ...]:
    """What is stored of a run, in the order of `store_runs`."""
    record = _encoder.encode(run)
    return run.id, run.generation, run.run, zlib.crc32(record).to_bytes(_CRC_BYTES, "big") + record


def act_columns(act: Act) -> tuple[Any, ...]:
    """What is stored of an act, in the order of `store_acts`."""
    return act.position, act.place, act.at_ms, _sealed(act)


def log_columns(part: LogPart) -> tuple[Any, ...]:
    """What is stored of a part of a log, in the order of `store_logs`."""
    return part.id, part.generation, part.number, _sealed(part)


def job_of(path: str, row: bytes) -> FinishedJob:
    """The job of a row's bytes alone; `ArchiveFailed` where they were changed."""
    return _decoded(path, row, _job_decoder)


def run_of(path: str, row: bytes) -> EndedRun:
    """The run of a row's bytes alone; `ArchiveFailed` where they were changed."""
    return _decoded(path, row, _run_decoder)


def act_of(path: str, row: bytes) -> Act:
    """The act of a row's bytes alone; `ArchiveFailed` where they were changed."""
    return _decoded(path, row, _act_decoder)


def log_of(path: str, row: bytes) -> LogPart:
    """The part of a log of a row's bytes alone; `ArchiveFailed` where they were changed."""
    return _decoded(path, row, _log_decoder)


def read_job(path: str, cells: Sequence[str]) -> FinishedJob:
    """The job of the cells `JOB_CELLS`; `ArchiveFailed` where anything was changed."""
    job_id, *numbers, row = cells
    job = _record(path, job_id, row, _job_decoder)
    told = (job.generation, shelf_of(job), job.finished_ms, print_of(job.namespace, job.queue, job.task))
    if job.id.hex().upper() != job_id or list(map(str, told)) != numbers:
        raise _damaged(path, job_id, "its columns and its record disagree")
    return job


def read_run(path: str, cells: Sequence[str]) -> EndedRun:
    """The run of the cells `RUN_CELLS`; `ArchiveFailed` where anything was changed."""
    job_id, *numbers, row = cells
    run = _record(path, job_id, row, _run_decoder)
    if run.id.hex().upper() != job_id or [str(run.generation), str(run.run)] != numbers:
        raise _damaged(path, job_id, "the columns and the record of a run disagree")
    return run


def read_act(path: str, cells: Sequence[str]) -> Act:
    """The act of the cells `ACT_CELLS`; `ArchiveFailed` where anything was changed."""
    *numbers, row = cells
    act = act_of(path, bytes.fromhex(row))
    if [str(act.position), str(act.place), str(act.at_ms)] != numbers:
        raise ArchiveFailed(path=path, reason="the columns and the record of an act disagree")
    return act


def read_log(path: str, cells: Sequence[str]) -> LogPart:
    """The part of a log of the cells `LOG_CELLS`; `ArchiveFailed` where anything was changed."""
    job_id, *numbers, row = cells
    part = _record(path, job_id, row, _log_decoder)
    if part.id.hex().upper() != job_id or [str(part.generation), str(part.number)] != numbers:
        raise _damaged(path, job_id, "the columns and the record of its log disagree")
    return part


def kept_generation(job_id: bytes, generation: int) -> int:
    """What a tombstone tells of a job's generation: nothing where nobody says the id a second time by intent."""
    return min(generation, _GENERATION_MAX) if is_own_id(job_id) else 0


def tombstone_columns(job_id: bytes, state: JobState, since_ms: int, generation: int = 0) -> tuple[Any, ...]:
    """What is stored of a tombstone, in the order of `store_tombstones`; state and generation are sealed by a checksum.

    The generation stands above the checksum's 32 bits, and where it is 0 the seal is that of the first version.
    """
    return job_id, _seal(job_id, state, generation), since_ms


def needs_generations(columns: Sequence[Any]) -> bool:
    """Whether a tombstone's columns tell of a generation, which an archive's first versions cannot."""
    return bool(columns[1] >> _CHECKSUM_BITS)


def read_tombstone(path: str, cells: Sequence[str]) -> Tombstone:
    """The tombstone of the cells `TOMBSTONE_CELLS`; `ArchiveFailed` where its id, state or generation was changed."""
    job_id, seal, since_ms = bytes.fromhex(cells[0]), int(cells[1]), int(cells[2])
    generation = seal >> _CHECKSUM_BITS
    for state in TERMINAL if 0 <= generation <= _GENERATION_MAX else ():
        if seal == _seal(job_id, state, generation):
            return Tombstone(job_id, state, generation, since_ms)
    raise _damaged(path, cells[0], "the seal of its tombstone does not fit")


def _sealed(record: msgspec.Struct) -> bytes:
    packed = _encoder.encode(record)
    return zlib.crc32(packed).to_bytes(_CRC_BYTES, "big") + packed


def _pack_cut(job: FinishedJob) -> bytes:
    # By hand for nearly all: without terms nothing of a job has grown.
    return _encoder.encode(job if job.terms is None else levels.KNOWN.cut_one(job))


# Nothing is cut where nothing has grown, and this line runs for every job there is.
_pack_job = _pack_cut if FinishedJob in levels.KNOWN.grown else _encoder.encode


def _seal(job_id: bytes, state: JobState, generation: int) -> int:
    told = generation.to_bytes(_CRC_BYTES, "big") if generation else b""
    return generation << _CHECKSUM_BITS | zlib.crc32(job_id + bytes([state]) + told)


def _record(path: str, job_id: str, row: str, decoder: msgspec.msgpack.Decoder[_T]) -> _T:
    return _decoded(path, bytes.fromhex(row), decoder, job_id)


def _decoded(path: str, stored: bytes, decoder: msgspec.msgpack.Decoder[_T], job_id: str = "") -> _T:
    if zlib.crc32(stored[_CRC_BYTES:]) != int.from_bytes(stored[:_CRC_BYTES], "big"):
        raise _damaged(path, job_id, "its checksum does not fit")
    try:
        return decoder.decode(memoryview(stored)[_CRC_BYTES:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(path, job_id, str(error)) from None


def _damaged(path: str, job_id: str, reason: str) -> ArchiveFailed:
    return ArchiveFailed(path=path, reason=f"the row of job {job_id} is damaged: {reason}")


def gather(
    connection: sqlite3.Connection, cells: tuple[str, ...], source: str, parameters: Sequence[Any]
) -> list[list[str]]:
    """The rows of `source` in its order, each as its cells in text; one step of SQLite, however many rows.

    `cells` are SQL expressions that give numbers or `hex(…)`. A damaged row can hold a NULL where none may be, and
    would be left out by SQLite; that is `sqlite3.DatabaseError`.
    """
    count, text = connection.execute(_gathered(cells, source), parameters).fetchone()
    rows = [line.split(" ") for line in text.split(",")] if text else []
    if len(rows) != count:
        raise sqlite3.DatabaseError(f"{count - len(rows)} of {count} rows are damaged")
    return rows


def store_jobs(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    """The statements, with their parameters, that store jobs; an older generation never replaces a newer one."""
    return _statements(_STORE_JOBS, _JOB_COLUMNS, rows)


def store_runs(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    return _statements(_STORE_RUNS, _RUN_COLUMNS, rows)


def store_tombstones(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    return _statements(_STORE_TOMBSTONES, _TOMBSTONE_COLUMNS, rows)


def store_acts(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    return _statements(_STORE_ACTS, _ACT_COLUMNS, rows)


def store_logs(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    return _statements(_STORE_LOGS, _LOG_COLUMNS, rows)


def among(sql: str, values: Sequence[Any], at_once: int = _SHAPES[0]) -> Iterator[tuple[str, list[Any]]]:
    """`sql` with `{marks}` in place of the values of an `IN (…)`, for a shape of `at_once` or fewer at a time."""
    for at, size in _pieces(len(values), at_once):
        yield _marked(sql, size), list(values[at : at + size])


def _statements(sql: str, columns: int, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    for at, size in _pieces(len(rows)):
        yield _valued(sql, columns, size), [value for row in rows[at : at + size] for value in row]


def _pieces(count: int, at_once: int = _SHAPES[0]) -> Iterator[tuple[int, int]]:
    """`(start, size)` of consecutive pieces that have the shapes of `_SHAPES`, the largest first."""
    at = 0
    for size in _SHAPES:
        while size <= at_once and count - at >= size:
            yield at, size
            at += size


@lru_cache(maxsize=64)
def _valued(sql: str, columns: int, rows: int) -> str:
    marks = f"({', '.join('?' * columns)})"
    return sql.format(values=", ".join([marks] * rows))


@lru_cache(maxsize=64)
def _marked(sql: str, size: int) -> str:
    return sql.format(marks=", ".join("?" * size))


@lru_cache(maxsize=64)
def _gathered(cells: tuple[str, ...], source: str) -> str:
    line = " || ' ' || ".join(cells)
    return f"SELECT count(*), group_concat({line}, ',') FROM ({source})"
