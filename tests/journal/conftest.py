"""The two journals behind one set of switches, so that one suite runs against both."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest

import aioqueue
from aioqueue.clock import ManualClock
from aioqueue.journal.base import Journal
from aioqueue.journal.batch import Batch
from aioqueue.journal.memory import MemoryJournal, MemoryStore
from aioqueue.journal.sqlite import SqliteJournal

WALL_MS = 1_700_000_000_000


class Site(Protocol):
    """A place that holds one journal's bytes. Damage is done while no journal is open."""

    async def open(self) -> Journal: ...
    async def close(self) -> None: ...
    async def start_append(self, journal: Journal, data: bytes, expected: int) -> asyncio.Task[int]:
        """An append that has begun and cannot have ended."""
        ...

    def finish_append(self) -> None: ...
    def damage(self, position: int, change: Callable[[bytes], bytes]) -> None: ...
    def drop(self, position: int) -> None: ...
    def swap(self, one: int, other: int) -> None: ...


class MemorySite:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.journals: list[MemoryJournal] = []
        self.gate = asyncio.Event()

    async def open(self) -> MemoryJournal:
        self.journals.append(MemoryJournal(self.store))
        return self.journals[-1]

    async def close(self) -> None:
        for journal in self.journals:
            await journal.aclose()

    async def start_append(self, journal: Journal, data: bytes, expected: int) -> asyncio.Task[int]:
        assert isinstance(journal, MemoryJournal)
        begun = asyncio.Event()

        async def delay() -> None:
            begun.set()
            await self.gate.wait()

        journal.faults.delay = delay
        task = asyncio.create_task(journal.append(data, expected))
        await begun.wait()
        journal.faults.delay = None
        return task

    def finish_append(self) -> None:
        self.gate.set()

    def damage(self, position: int, change: Callable[[bytes], bytes]) -> None:
        self.store.batches[position] = change(self.store.batches[position])

    def drop(self, position: int) -> None:
        self.store.drop(position)

    def swap(self, one: int, other: int) -> None:
        self.store.swap(one, other)


class SqliteSite:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.journals: list[SqliteJournal] = []

    async def open(self) -> SqliteJournal:
        self.journals.append(await SqliteJournal.open(self.path, ManualClock()))
        return self.journals[-1]

    async def close(self) -> None:
        for journal in self.journals:
            await journal.aclose()

    async def start_append(self, journal: Journal, data: bytes, expected: int) -> asyncio.Task[int]:
        task = asyncio.create_task(journal.append(data, expected))
        # Once for the caller's task, once for the journal's own: the statement is on its way to the thread then, and
        # its answer can only come in by a later turn of this loop.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task

    def finish_append(self) -> None:
        """The disk needs no permission."""

    def damage(self, position: int, change: Callable[[bytes], bytes]) -> None:
        with self.raw() as database:
            (data,) = database.execute("SELECT data FROM batches WHERE position = ?", (position,)).fetchone()
            database.execute("UPDATE batches SET data = ? WHERE position = ?", (change(data), position))

    def drop(self, position: int) -> None:
        with self.raw() as database:
            database.execute("DELETE FROM batches WHERE position = ?", (position,))

    def swap(self, one: int, other: int) -> None:
        with self.raw() as database:
            for old, new in ((one, -1), (other, one), (-1, other)):
                database.execute("UPDATE batches SET position = ? WHERE position = ?", (new, old))

    def raw(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self.path, isolation_level=None))


@pytest.fixture(params=["memory", "sqlite"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    place: Site = MemorySite() if request.param == "memory" else SqliteSite(tmp_path / "journal")
    yield place
    await place.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[SqliteSite]:
    """A journal on disk alone."""
    made = SqliteSite(tmp_path / "journal")
    yield made
    await made.close()


async def collect(journal: Journal, after: int = 0) -> list[Batch]:
    """All batches behind a position."""
    return [batch async for batch in journal.read(after)]


async def fill(journal: Journal, count: int, bodies: int = 2) -> list[bytes]:
    """Lead, and append `count` batches behind the epoch record; gives their bytes."""
    leadership = await journal.lead("filler", WALL_MS)
    position = leadership.position
    batches = []
    for number in range(count):
        batches.append(
            leadership.chain.encode(WALL_MS + number, b"events %d" % number, [b"body %d;" % number] * bodies)
        )
        position = await journal.append(batches[-1], position)
    return batches


Fill = Callable[..., Awaitable[list[bytes]]]
Collect = Callable[..., Awaitable[list[Batch]]]


@pytest.fixture(name="fill")
def fill_fixture() -> Fill:
    return fill


@pytest.fixture(name="collect")
def collect_fixture() -> Collect:
    return collect


@pytest.fixture
async def child() -> AsyncIterator[Callable[..., Awaitable[asyncio.subprocess.Process]]]:
    """Start `child.py` with arguments; what still runs at the end is killed."""
    started: list[asyncio.subprocess.Process] = []

    async def start(*arguments: object) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        program = (sys.executable, str(Path(__file__).with_name("child.py")), *map(str, arguments))
        environment = {**os.environ, "PYTHONPATH": str(Path(aioqueue.__file__).parents[1])}
        started.append(await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe, env=environment))
        return started[-1]

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()
