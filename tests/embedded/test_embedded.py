"""A broker inside the program: how it begins, how it is left, and what the program meets when its storage fails."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from anyio import EndOfStream

from aioqueue import Queue
from aioqueue.archive.memory import MemoryArchive
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.broker.connections import Connections
from aioqueue.broker.opening import open_broker
from aioqueue.clock import ManualClock
from aioqueue.embedded import EmbeddedBroker
from aioqueue.errors import ArchiveFailed, JournalFailed, QueueClosed
from aioqueue.ground import Ground
from aioqueue.journal.connection import Connection
from aioqueue.transport.address import MemoryAddress, SqliteAddress

Patch = pytest.MonkeyPatch


class Gate:
    """Where a call waits until a test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def wait(self) -> None:
        self.reached.set()
        await self.opened.wait()


def others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def enter(queue: Queue) -> None:
    async with queue:
        pass


async def test_a_start_that_is_cancelled_leaves_no_broker_behind(tmp_path: Path, monkeypatch: Patch) -> None:
    gate = Gate()
    real = SqliteArchive.open

    async def slow(*args: Any, **kwargs: Any) -> SqliteArchive:
        await gate.wait()
        return await real(*args, **kwargs)

    monkeypatch.setattr(SqliteArchive, "open", slow)
    entering = asyncio.create_task(enter(Queue(f"sqlite:{tmp_path / 'jobs.db'}")))
    await gate.reached.wait()
    entering.cancel()
    await asyncio.wait({entering})
    assert entering.cancelled()
    assert others() == set()
    monkeypatch.undo()
    # Nobody holds the journal: the next one gets it.
    await enter(Queue(f"sqlite:{tmp_path / 'jobs.db'}"))


async def test_whatever_goes_wrong_in_the_start_is_raised_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    async def defect(*args: Any, **kwargs: Any) -> SqliteArchive:
        raise RuntimeError("a defect")

    monkeypatch.setattr(SqliteArchive, "open", defect)
    with pytest.raises(RuntimeError, match="a defect"):
        async with asyncio.timeout(60):
            await enter(Queue(f"sqlite:{tmp_path / 'jobs.db'}"))
    assert others() == set()


def break_appends(monkeypatch: Patch) -> None:
    """From now on the disk refuses every insert of a batch."""
    real = Connection.execute

    async def execute(self: Connection, sql: str, parameters: Any = ()) -> Any:
        if sql.startswith("INSERT"):
            raise sqlite3.OperationalError("disk I/O error")
        return await real(self, sql, parameters)

    monkeypatch.setattr(Connection, "execute", execute)


async def test_every_call_is_told_of_the_journal_that_failed(tmp_path: Path, monkeypatch: Patch) -> None:
    gate = Gate()
    real = SqliteArchive.aclose

    async def slow(self: SqliteArchive) -> None:
        await gate.wait()
        await real(self)

    queue = Queue(f"sqlite:{tmp_path / 'jobs.db'}", worker=False)

    @queue.task
    async def work() -> None: ...

    async with queue:
        # The broker takes its time to let go of the storage; the client is back before it has.
        monkeypatch.setattr(SqliteArchive, "aclose", slow)
        waiting = await queue.submit(work)
        break_appends(monkeypatch)
        submitting = asyncio.create_task(queue.submit(work))
        await gate.reached.wait()
        gate.opened.set()
        for call in (submitting, queue.submit(work), waiting.info(), waiting.result()):
            with pytest.raises(JournalFailed, match="disk I/O error"):
                async with asyncio.timeout(60):
                    await call
    monkeypatch.undo()
    async with queue:
        assert (await waiting.info()).state == "ready"


async def test_a_broker_that_is_ending_by_itself_tells_why_and_takes_no_connection(monkeypatch: Patch) -> None:
    gate = Gate()

    async def slow(self: MemoryArchive) -> None:
        await gate.wait()

    async def fail(self: MemoryArchive, *args: Any) -> None:
        raise ArchiveFailed(path="memory:", reason="no room")

    monkeypatch.setattr(MemoryArchive, "aclose", slow)
    monkeypatch.setattr(MemoryArchive, "retain", fail)
    monkeypatch.setattr("aioqueue.broker.overlay.RETAIN_SECONDS", 0.0)
    embedded = EmbeddedBroker(MemoryAddress(), Ground())
    await embedded.start()
    await gate.reached.wait()
    opening = asyncio.create_task(embedded.open_stream())
    gate.opened.set()
    with pytest.raises(JournalFailed, match="no room"):
        await opening
    await embedded.aclose()


async def test_a_broker_that_was_left_takes_no_connection_and_may_be_left_twice(tmp_path: Path) -> None:
    embedded = EmbeddedBroker(SqliteAddress(str(tmp_path / "jobs.db")), Ground())
    await embedded.start()
    await embedded.aclose()
    await embedded.aclose()
    with pytest.raises(QueueClosed):
        await embedded.open_stream()


async def test_a_defect_met_by_one_connection_ends_no_other(monkeypatch: Patch) -> None:
    queue = Queue("memory:", worker=False)

    @queue.task
    async def work() -> None: ...

    async with queue:
        with monkeypatch.context() as patch:

            async def defect(self: Connections, peer: Any) -> None:
                raise RuntimeError("a defect")

            patch.setattr(Connections, "_converse", defect)
            broken = await queue.dialer.open_stream()
            with pytest.raises(EndOfStream):
                await broken.receive()
        assert (await (await queue.submit(work)).info()).state == "ready"


@pytest.mark.parametrize("name", ["link.db", "file:jobs.db?mode=memory"])
async def test_an_archive_has_one_place_whatever_its_journal_is_called(
    tmp_path: Path, monkeypatch: Patch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    real = "folder/jobs.db" if name == "link.db" else name
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.db").symlink_to("folder/jobs.db")
    async with open_broker(SqliteAddress(name), ground=Ground(), disk_reserve=0):
        pass
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*jobs.db*")}
    assert files == {f"{real}{suffix}" for suffix in ("", "-archive", ".lock", ".mark")}


@pytest.mark.parametrize("url", ["memory:", "sqlite:jobs.db"])
async def test_an_embedded_broker_stands_on_the_ground_of_its_queue(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    clock = ManualClock()
    monkeypatch.setattr("aioqueue.client.connecting.ground_of", lambda: Ground(clock))
    queue = Queue(url, worker=False)

    @queue.task
    async def work() -> None: ...

    async with queue:
        # Long ago, by any other clock.
        job = await queue.submit(work)
        assert (await job.info()).submitted_ms == clock.wall_ms
