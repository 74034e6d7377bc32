"""Format 1 as it was when it was made: bytes written then are read, and written again, the same for ever.

`python tests/journal/test_golden.py DIRECTORY` writes the files of the present format into a new directory.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from aioqueue.clock import ManualClock
from aioqueue.journal import files
from aioqueue.journal.batch import NO_BATCH, BatchKind, Chain, ChainReader, bodies_at
from aioqueue.journal.check import check_journal
from aioqueue.journal.sqlite import SqliteJournal

GOLDEN = Path(__file__).parents[1] / "golden" / "journal-v1"
ID = bytes.fromhex("00112233445566778899aabbccddeeff")
WALL_MS = 1_700_000_000_000

# epoch, kind, wall ms, events, bodies
BATCHES = [
    (1, BatchKind.EPOCH, WALL_MS, b"first owner", []),
    (1, BatchKind.EVENTS, WALL_MS + 1, b"\x91\x01", []),
    (1, BatchKind.EVENTS, WALL_MS + 2, b"\x91\x02", [b"\x01body", b"", b"\x01" + bytes(range(256))]),
    (2, BatchKind.EPOCH, WALL_MS - 5, "zweite Besitzerin \u00e4".encode(), []),
    (2, BatchKind.EVENTS, 0, b"", [b"\x01only a body"]),
    (2, BatchKind.EVENTS, WALL_MS + 3, b"\x91" * 5_000, [b"\xff" * 5_000]),
]


def encode_all() -> list[bytes]:
    encoded: list[bytes] = []
    chain = Chain(ID, 1, 0, NO_BATCH)
    for epoch, kind, wall_ms, events, bodies in BATCHES:
        chain = Chain(ID, epoch, chain.position, chain.previous)
        encoded.append(chain.encode(wall_ms, events, bodies, kind=kind))
    return encoded


def stored() -> list[bytes]:
    return [bytes.fromhex(line) for line in json.loads((GOLDEN / "batches.json").read_text())]


def told(batch):
    return batch.epoch, batch.kind, batch.wall_ms, batch.events, batch.bodies


EXPECTED = [(epoch, kind, wall_ms, events, b"".join(bodies)) for epoch, kind, wall_ms, events, bodies in BATCHES]


def test_golden_batches_are_written_again_byte_for_byte():
    assert encode_all() == stored()


def test_golden_batches_are_read_as_they_were_meant():
    reader = ChainReader("golden", ID, 1, NO_BATCH)
    assert [told(reader.take(1 + number, data)) for number, data in enumerate(stored())] == EXPECTED


async def test_a_golden_file_is_read_and_led_on(tmp_path):
    path = tmp_path / "journal"
    shutil.copy(GOLDEN / "journal.sqlite", path)
    journal = await SqliteJournal.open(path, ManualClock())
    assert [told(batch) async for batch in journal.read(0)] == EXPECTED
    assert await journal.get(3, 5, 3) == b"\x01\x00\x01"
    leadership = await journal.lead("third", WALL_MS)
    assert (leadership.journal_id, leadership.epoch, leadership.position) == (ID, 3, 7)
    assert await journal.append(leadership.chain.encode(WALL_MS, b"more"), 7) == 8
    await journal.aclose()
    assert (await check_journal(path)).problems == []


async def test_a_golden_file_is_sound(tmp_path):
    path = tmp_path / "journal"
    shutil.copy(GOLDEN / "journal.sqlite", path)
    report = await check_journal(path)
    assert (report.ok, report.journal_id, report.epoch, report.batches) == (True, ID.hex(), 2, 6)


def write(directory: Path) -> None:
    directory.mkdir()
    batches = encode_all()
    (directory / "batches.json").write_text(json.dumps([data.hex() for data in batches], indent=1) + "\n")
    path = directory / "journal.sqlite"
    files.create(str(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE journal SET id = ?", (ID,))
        for number, data in enumerate(batches):
            database.execute("INSERT INTO batches VALUES (?, ?, ?)", (1 + number, bodies_at(data), data))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
