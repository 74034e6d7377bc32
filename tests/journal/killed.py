"""A journal whose owner was killed in the midst, as files: what was acknowledged, and what a start makes of damage."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

import aioqueue
from aioqueue.clock import ManualClock
from aioqueue.errors import JournalError
from aioqueue.journal.sqlite import SqliteJournal

EVERYTHING = os.environ.get("AIOQUEUE_FAULTS") == "all"


def sample(of: Sequence[int], count: int, seed: int = 7) -> list[int]:
    """Some of many places, always the same ones; all of them in the session `faults`."""
    return list(of) if EVERYTHING or len(of) <= count else sorted(random.Random(seed).sample(of, count))


class Killed(msgspec.Struct):
    """The files of a killed journal, and the batch ids that its owner was told of as durable, by position."""

    folder: Path
    file: bytes
    log: bytes
    mark: bytes
    acknowledged: dict[int, str]

    @property
    def path(self) -> Path:
        return self.folder / "journal"

    def lay_out(self, *, file: bytes | None = None, log: bytes | None = None, mark: bytes | None = None) -> Path:
        """The files, or damaged ones in their place, where a start finds them; an empty mark is none."""
        self.folder.mkdir(exist_ok=True)
        for suffix, changed, whole in (("", file, self.file), ("-wal", log, self.log), (".mark", mark, self.mark)):
            self.path.with_name("journal" + suffix).write_bytes(whole if changed is None else changed)
        if mark == b"":
            self.path.with_name("journal.mark").unlink()
        return self.path

    def files(self) -> dict[str, bytes]:
        """All but the lock, and a log without a byte, which SQLite clears away."""
        found = {name: (self.folder / name).read_bytes() for name in os.listdir(self.folder) if name != "journal.lock"}
        return {name: data for name, data in found.items() if data or name != "journal-wal"}

    async def start(self) -> dict[int, str] | JournalError:
        """What a start finds, by position, or how it refuses. Either way it changes nothing."""
        before = self.files()
        found = await _read(self.path)
        assert self.files() == before
        return found

    async def loss(
        self, *, file: bytes | None = None, log: bytes | None = None, mark: bytes | None = None
    ) -> int | None:
        """How many acknowledged batches a start from these files went on without; None if it refused."""
        self.lay_out(file=file, log=log, mark=mark)
        found = await self.start()
        if isinstance(found, JournalError):
            return None
        assert found.items() <= self.acknowledged.items()
        return len(self.acknowledged) - len(found)


def live_and_die(folder: Path, *lives: Sequence[int]) -> Killed:
    """A journal of some processes, one after the other: each appended batches of these sizes, and was killed."""
    path = folder / "journal"
    acknowledged = {}
    environment = {**os.environ, "PYTHONPATH": str(Path(aioqueue.__file__).parents[1])}
    for sizes in lives:
        program = [sys.executable, str(Path(__file__).with_name("child.py")), "batches", str(path), *map(str, sizes)]
        pipe = subprocess.PIPE
        with subprocess.Popen(program, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
            assert process.stdout is not None
            for _ in range(len(sizes) + 1):
                position, batch_id = process.stdout.readline().split()
                acknowledged[int(position)] = batch_id
            process.kill()
    file, log, mark = (path.with_name(f"journal{suffix}").read_bytes() for suffix in ("", "-wal", ".mark"))
    return Killed(folder, file, log, mark, acknowledged)


async def _read(path: Path) -> dict[int, str] | JournalError:
    try:
        journal = await SqliteJournal.open(path, ManualClock())
    except JournalError as error:
        return error
    try:
        return {batch.position: batch.batch_id.hex() async for batch in journal.read(0)}
    except JournalError as error:
        return error
    finally:
        await journal.aclose()
