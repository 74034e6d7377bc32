"""Known good bytes for each target, to begin from: the golden files, which have every field of every record."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from aioqueue.archive import rows
from aioqueue.core import commands as c
from aioqueue.core.records import decode_events, encode_events
from aioqueue.model.bodies import CRASHED, pack_headers
from aioqueue.model.spec import Spec, pack_spec
from aioqueue.protocol.frames import frame
from tests.support.examples import BROKER_TYPES, CLIENT_TYPES, EXAMPLES, file_of
from tests.support.scene import NAMESPACE, Scene, job_id, new_job

GOLDEN: Final = Path(__file__).parents[1] / "golden"


def _records() -> list[bytes]:
    return [bytes.fromhex(path.read_text("ascii")) for path in sorted((GOLDEN / "records-v1").iterdir())]


def _life() -> bytes:
    """The events of a few jobs from their submit to their end, in one batch and without bodies."""
    scene = Scene()
    worker = scene.worker(slots=2)
    scene.submit(*(new_job(number, body=b"") for number in range(5)), new_job(5, body=b"", delay_ms=10))
    scene.settle(worker, 0, body=b"")
    scene.settle(worker, 1, c.RunEnd.FAILED, body=b"")
    scene.settle(worker, 2, c.RunEnd.RELEASED)
    scene.ask(c.CancelJob(job_id(3), NAMESPACE, reason="not now"))
    scene.ask(c.EndSession(worker, c.SessionEnd.DIED))
    scene.pass_ms(60_000)
    return encode_events([event for batch in scene.batches for event in decode_events(batch.events, "life")])


def _frames(types: tuple[type, ...]) -> list[bytes]:
    return [
        bytes.fromhex(file_of(message).read_text("ascii"))[4:] for message in EXAMPLES if isinstance(message, types)
    ]


def _batches() -> list[bytes]:
    return [bytes.fromhex(line) for line in json.loads((GOLDEN / "journal-v1" / "batches.json").read_text())]


def _archived() -> list[bytes]:
    with closing(sqlite3.connect(f"file:{GOLDEN / 'archive-v1' / 'archive.sqlite'}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT row FROM jobs UNION ALL SELECT row FROM runs").fetchall()
    return [bytes(row)[rows._CRC_BYTES :] for (row,) in found]


def _log_and_pages() -> Iterator[bytes]:
    """A write-ahead log of three commits, and the pages in it."""
    with TemporaryDirectory() as folder, closing(sqlite3.connect(f"{folder}/j.db")) as database:
        database.executescript("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
        database.execute("CREATE TABLE batches (position INTEGER PRIMARY KEY, data BLOB NOT NULL)")
        for position, data in enumerate(_batches()[:3], 1):
            database.execute("INSERT INTO batches VALUES (?, ?)", [position, data])
            database.commit()
        log = Path(f"{folder}/j.db-wal").read_bytes()
    yield log
    yield from (log[at + 24 : at + 24 + 4_096] for at in range(32, len(log), 4_096 + 24))


# Towers of arrays and maps, and lengths that lie.
_BOMBS: Final = [b"\x91" * 20_000, b"\x81\x01" * 20_000, b"\xdd\x00\x7f\xff\xff" * 300, b"\x92\x01\xdf\xff\xff\xff\xff"]
_LOG, *_PAGES = _log_and_pages()
SEEDS: Final[dict[str, list[bytes]]] = {
    "frames": [b"\x02" + b"".join(map(frame, _frames(CLIENT_TYPES)[:5]))],
    "client_messages": [*_frames(CLIENT_TYPES), *_BOMBS],
    "broker_messages": [*_frames(BROKER_TYPES), *_BOMBS],
    "records": [*_records(), *_BOMBS],
    "replay": [_life(), *_records(), *_BOMBS],
    "batch": _batches(),
    "archive_rows": [*_archived(), *_BOMBS],
    "log": [_LOG],
    "pages": _PAGES,
    "nouns": [pack_spec(Spec("default", "mail", "app.send")), CRASHED, pack_headers({"trace": "x"}), *_BOMBS],
}  # fmt: skip
