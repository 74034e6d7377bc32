"""All rows of an archive in pieces, for a copy that is made while it is written: see `Archive.copy`.

Jobs, then their runs, then tombstones, acts and logs: so a job that is forgotten meanwhile was passed before it went,
or stands among the tombstones by then. Everything here runs on the reader's thread, a short look at a time.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from aioqueue.archive.base import Row, Table
from aioqueue.archive.migrations import has
from aioqueue.archive.rows import gather, needs_generations
from aioqueue.errors import BadOption
from aioqueue.limits import COPY_BYTES, JOB_ID_BYTES

# Rows that one look passes over at most; how many of them it takes depends on their bytes.
_ROWS_MAX: Final = 512
_NUMBER: Final = struct.Struct(">q")
_RUN_KEY: Final = struct.Struct(f">{JOB_ID_BYTES}sqq")
# A tombstone as it is copied: the job, the seal of its state, and since when it stands; and one that tells of a
# generation, which an older release leaves out.
_TOMBSTONE: Final = struct.Struct(f">{JOB_ID_BYTES}sIq")
_WITH_GENERATION: Final = struct.Struct(f">{JOB_ID_BYTES}sqq")


class _Look(NamedTuple):
    """How a table is read on: its cells, the bytes of a row, and the rows behind a key in order."""

    keys: tuple[str, ...]
    cells: tuple[str, ...]
    size: str
    source: str
    first: tuple[Any, ...]


_LOOKS: Final = {
    Table.JOB: _Look(
        ("number",), ("hex(row)",), "length(row)", "SELECT * FROM jobs WHERE number > ? ORDER BY number LIMIT ?", (-1,)
    ),
    Table.RUN: _Look(
        ("hex(id)", "generation", "run"), ("hex(row)",), "length(row)",
        "SELECT * FROM runs WHERE (id, generation, run) > (?, ?, ?) ORDER BY id, generation, run LIMIT ?",
        (b"", 0, 0),
    ),
    Table.TOMBSTONE: _Look(
        ("number",), ("hex(id)", "seal", "since_ms"), "36",
        "SELECT * FROM tombstones WHERE number > ? ORDER BY number LIMIT ?", (-1,),
    ),
    Table.ACT: _Look(
        ("number",), ("hex(row)",), "length(row)", "SELECT * FROM acts WHERE number > ? ORDER BY number LIMIT ?", (-1,)
    ),
    Table.LOG: _Look(
        ("hex(id)", "generation", "number"), ("hex(row)",), "length(row)",
        "SELECT * FROM logs WHERE (id, generation, number) > (?, ?, ?) ORDER BY id, generation, number LIMIT ?",
        (b"", 0, 0),
    ),
}  # fmt: skip


def copy_rows(connection: sqlite3.Connection, after: bytes) -> tuple[list[Row], bytes]:
    """The next rows and the cursor behind them, as `Archive.copy` promises."""
    table, key = _unpack(after)
    if not has(connection, table):
        # What is written meanwhile may be missing, and so may its table.
        return [], b""
    look = _LOOKS[table]
    sizes = gather(connection, (*look.keys, look.size), look.source, (*key, _ROWS_MAX))
    wanted = total = 0
    for cells in sizes:
        total += int(cells[-1])
        wanted += 1
        if total >= COPY_BYTES:
            break
    if not wanted:
        return [], bytes([table + 1]) if table + 1 in _LOOKS else b""
    found = gather(connection, (*look.keys, *look.cells), look.source, (*key, wanted))
    if not found:
        # What was seen a moment ago was removed; what lies behind it is seen next.
        return [], _pack(table, sizes[wanted - 1])
    keys = len(look.keys)
    return [Row(table, _data(table, cells[keys:])) for cells in found], _pack(table, found[-1])


def pack_tombstone(columns: Sequence[Any]) -> bytes:
    """The bytes of a tombstone in a copy, from the columns that are stored of it."""
    return (_WITH_GENERATION if needs_generations(columns) else _TOMBSTONE).pack(*columns)


def unpack_tombstone(data: bytes) -> tuple[Any, ...]:
    """The columns of a tombstone of a copy. Raises `struct.error`."""
    return (_WITH_GENERATION if len(data) == _WITH_GENERATION.size else _TOMBSTONE).unpack(data)


def _data(table: Table, cells: Sequence[str]) -> bytes:
    if table is Table.TOMBSTONE:
        return pack_tombstone((bytes.fromhex(cells[0]), int(cells[1]), int(cells[2])))
    return bytes.fromhex(cells[0])


def _pack(table: Table, cells: Sequence[str]) -> bytes:
    if len(_LOOKS[table].keys) > 1:
        return bytes([table]) + _RUN_KEY.pack(bytes.fromhex(cells[0]), int(cells[1]), int(cells[2]))
    return bytes([table]) + _NUMBER.pack(int(cells[0]))


def _unpack(after: bytes) -> tuple[Table, tuple[Any, ...]]:
    try:
        table = Table(after[0]) if after else Table.JOB
        if len(after) <= 1:
            return table, _LOOKS[table].first
        return table, (_RUN_KEY if len(_LOOKS[table].keys) > 1 else _NUMBER).unpack(after[1:])
    except (ValueError, struct.error):
        raise BadOption(option="after", value=after, reason="it is not the cursor of a copy") from None
