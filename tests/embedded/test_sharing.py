"""Several processes on one journal: who owns it, who takes over, and what is never lost on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from aioqueue import JournalInUse, Queue
from aioqueue.clock import SystemClock
from aioqueue.embedded import SharedBroker, sharing
from aioqueue.errors import BrokerUnavailable, JournalFailed, QueueClosed
from aioqueue.ground import Ground
from aioqueue.journal.connection import Connection
from aioqueue.journal.lock import OwnerLock
from aioqueue.journal.sqlite import SqliteJournal
from aioqueue.transport.address import SqliteAddress
from tests.faults.ledger import Clients, judge, read_journal, read_marks
from tests.support import sharing_app
from tests.support.commands import environment, run
from tests.support.programs import BrokerProgram, marks_of

Patch = pytest.MonkeyPatch

TAKEOVERS: Final = int(os.environ.get("AIOQUEUE_TAKEOVERS", "10"))
LANES: Final = 3


class Program:
    """A process of `tests.support.sharing_app`, and what it said."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._said: Counter[str] = Counter()
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, folder: Path, lanes: int = LANES) -> Program:
        words = ["-m", "tests.support.sharing_app", f"sqlite:{folder / 'jobs.db'}", str(lanes)]
        with (folder / "programs.err").open("ab") as errors:
            return cls(
                await asyncio.create_subprocess_exec(
                    sys.executable, *words, cwd=folder, env=environment(MARKS_LOG=str(marks_of(folder))),
                    stdin=DEVNULL, stdout=PIPE, stderr=errors,
                )
            )  # fmt: skip

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._news:
                self._said[line.decode().strip()] += 1
                self._news.notify_all()

    def count(self, word: str) -> int:
        return self._said[word]

    async def says(self, word: str, times: int = 1) -> Program:
        """Wait until it has said a word so often."""
        async with self._news:
            await self._news.wait_for(lambda: self._said[word] >= times)
        return self

    async def says_more(self, word: str, times: int) -> None:
        await self.says(word, self._said[word] + times)

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        code = await self.process.wait()
        await self._reading
        return code


class App:
    """The processes of one app."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs: list[Program] = []

    @property
    def url(self) -> str:
        return f"sqlite:{self.folder / 'jobs.db'}"

    async def add(self, lanes: int = LANES) -> Program:
        program = await Program.start(self.folder, lanes)
        self.programs.append(program)
        return await program.says("ready")

    def owner(self) -> Program:
        pid = msgspec.json.decode((self.folder / "jobs.db.lock").read_bytes())["pid"]
        return next(program for program in self.programs if program.process.pid == pid)

    async def lose(self, program: Program, number: signal.Signals) -> int:
        """End a process; returns when another one has taken over and every other one was told of ends since."""
        self.programs.remove(program)
        owners = [asyncio.create_task(other.says_more("owner", 1)) for other in self.programs]
        code = await program.end(number)
        await asyncio.wait(owners, return_when=asyncio.FIRST_COMPLETED)
        for waiting in owners:
            waiting.cancel()
        await asyncio.gather(*(other.says_more("seen", LANES + 1) for other in self.programs))
        return code


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    app = App(tmp_path)
    yield app
    for program in app.programs:
        await program.end()


async def judged(app: App, patch: Patch) -> list[str]:
    """Finish what is left in this process, ask for every acknowledged job, and say what was broken."""
    log = marks_of(app.folder)
    before = read_marks(log)
    clients = Clients(acknowledged={mark.job for mark in before if mark.what == "acknowledged"})
    patch.setenv("MARKS_LOG", str(log))
    sharing_app.queue.url = app.url
    async with sharing_app.queue as queue:

        async def seen(job: str) -> tuple[str, str]:
            return job, str(await (await queue.get(job)))

        # The slower the machine was, the more of them there are.
        clients.seen += await asyncio.gather(*map(seen, sorted(clients.acknowledged)))
    clients.seen += [(mark.job, mark.words[0]) for mark in before if mark.what == "seen"]
    marks = read_marks(log)
    jobs_of: dict[str, set[str]] = {}
    for mark in marks:
        if mark.what in ("number", "acknowledged"):
            jobs_of.setdefault(mark.words[0], set()).add(mark.job)
    expected = {mark.job: mark.words[0] for mark in marks if mark.what == "acknowledged"}
    twice = [f"{number} was accepted as {jobs}" for number, jobs in jobs_of.items() if len(jobs) > 1]
    evidence = await read_journal(app.folder / "jobs.db")
    print(f"{len(clients.acknowledged)} jobs acknowledged, {evidence.epochs} owners")
    return twice + judge(clients, marks, evidence, expected)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(300 + 30 * TAKEOVERS)
async def test_owners_that_are_killed_again_and_again_lose_nothing_and_repeat_nothing(
    app: App, monkeypatch: Patch
) -> None:
    for _ in range(4):
        await app.add()
    async with Queue(app.url, worker=False) as script:
        # A script beside them; it is the only one that is never killed, and may own the journal itself for a while.
        await script.submit("pause", "script", 0.0)
    for _ in range(TAKEOVERS):
        assert await app.lose(app.owner(), signal.SIGKILL) == -signal.SIGKILL
        await app.add()
    for program in list(app.programs):
        assert await program.end(signal.SIGTERM) == 0
    assert await judged(app, monkeypatch) == []


@pytest.mark.slow
async def test_an_owner_that_leaves_in_good_order_is_followed_by_another(app: App, monkeypatch: Patch) -> None:
    for _ in range(3):
        await app.add()
    assert await app.lose(app.owner(), signal.SIGTERM) == 0
    assert await app.lose(app.owner(), signal.SIGTERM) == 0
    assert await app.programs[0].end(signal.SIGTERM) == 0
    assert (app.folder / "programs.err").read_text().count("Traceback") == 0
    assert {path.name for path in app.folder.glob("*.sock*")} == set()
    assert await judged(app, monkeypatch) == []


@pytest.mark.slow
async def test_the_command_line_works_beside_a_running_app(app: App) -> None:
    program = await app.add()
    await program.says("seen", 3)
    jobs = (await asyncio.to_thread(run, "ls", "--json", "--url", app.url, cwd=app.folder)).json
    assert len(jobs) >= 3
    shown = (await asyncio.to_thread(run, "show", jobs[-1]["id"], "--json", "--url", app.url, cwd=app.folder)).json
    assert shown["task"] == "pause"
    assert app.owner() is program
    await program.says_more("seen", LANES + 1)


@pytest.mark.slow
async def test_a_queue_beside_serve_is_its_guest_and_never_takes_its_journal(app: App) -> None:
    broker = BrokerProgram(app.folder, session_ttl="2s")
    await broker.start()
    async with Queue(app.url, worker=False) as guest:
        first = await guest.submit("work", 1)
        broker.kill()
        await broker.ended()
        # Nobody holds the journal now; the guest waits for whoever starts the broker again.
        submitting = asyncio.create_task(guest.submit("work", 2))
        await asyncio.wait({submitting}, timeout=0.2)
        assert not submitting.done()
        await broker.start()
        async with Queue(broker.url) as other:
            assert (await (await other.get((await submitting).id)).info()).state == "ready"
            assert (await (await other.get(first.id)).info()).state == "ready"
    broker.terminate()
    assert await broker.ended() == 0
    assert {path.name for path in app.folder.glob("*.sock*")} == set()
    async with Queue(app.url, worker=False) as owner:
        assert (await (await owner.get(first.id)).info()).state == "ready"


@pytest.mark.slow
async def test_a_guest_whose_event_loop_is_blocked_for_three_ttl_runs_its_job_once(app: App) -> None:
    broker = BrokerProgram(app.folder, session_ttl="1s")
    await broker.start()
    try:
        guest = await app.add(lanes=0)
        async with Queue(broker.url) as queue:
            assert await queue.run("block", 3.0) == guest.process.pid
        starts = [mark for mark in read_marks(marks_of(app.folder)) if mark.what == "start"]
        assert len(starts) == 1
    finally:
        await broker.end()


async def test_queues_of_one_path_in_one_program_share_its_broker(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with Queue(f"sqlite:{path}", worker=False) as owner, Queue(f"sqlite:{path}", worker=False) as guest:
        job = await owner.submit("work", 1)
        assert (await (await guest.get(job.id)).info()).state == "ready"
        assert stat.S_IMODE(os.stat(f"{path}.sock").st_mode) == 0o600


async def test_another_name_of_the_same_file_is_the_same_broker(tmp_path: Path, monkeypatch: Patch) -> None:
    (tmp_path / "jobs.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "jobs.db")
    monkeypatch.chdir(tmp_path)
    async with Queue("sqlite:jobs.db", worker=False) as owner, Queue("sqlite:link.db", worker=False) as guest:
        job = await guest.submit("work")
        assert (await (await owner.get(job.id)).info()).state == "ready"


async def test_a_guest_owns_the_journal_when_its_owner_has_left(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'jobs.db'}"
    async with AsyncExitStack() as stack:
        owner = Queue(url, worker=False)
        await owner.__aenter__()
        guest = await stack.enter_async_context(Queue(url, worker=False))
        job = await owner.submit("work")
        await owner.__aexit__(None, None, None)
        assert (await (await guest.get(job.id)).info()).state == "ready"
        await stack.enter_async_context(owner)
        assert (await (await owner.get(job.id)).info()).state == "ready"


async def test_an_owner_whose_journal_fails_is_told_so_and_followed_by_a_guest(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    url = f"sqlite:{tmp_path / 'jobs.db'}"
    async with Queue(url, worker=False) as owner, Queue(url, worker=False) as guest:
        job = await guest.submit("work", 1)
        break_next_append(monkeypatch)
        with pytest.raises(JournalFailed, match="disk I/O error"):
            await owner.submit("work", 2)
        assert (await (await guest.get(job.id)).info()).state == "ready"
        assert (await (await guest.submit("work", 3)).info()).state == "ready"
        with pytest.raises(JournalFailed):
            await owner.get(job.id)


def break_next_append(monkeypatch: Patch) -> None:
    """The disk refuses one insert of a batch."""
    real = Connection.execute

    async def execute(self: Connection, sql: str, parameters: Any = ()) -> Any:
        if sql.startswith("INSERT"):
            monkeypatch.setattr(Connection, "execute", real)
            raise sqlite3.OperationalError("disk I/O error")
        return await real(self, sql, parameters)

    monkeypatch.setattr(Connection, "execute", execute)


async def test_a_program_may_change_its_directory_before_it_takes_over(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    owner, guest = SharedBroker(SqliteAddress("jobs.db"), Ground()), SharedBroker(SqliteAddress("jobs.db"), Ground())
    await owner.start()
    await guest.start()
    assert (owner.owns, guest.owns) == (True, False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    await owner.aclose()
    await (await guest.open_stream()).aclose()
    assert guest.owns
    await guest.aclose()
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_journal_whose_holder_answers_nobody_is_in_use(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(sharing, "OWNER_SECONDS", 0.1)
    path = str(tmp_path / "jobs.db")
    await (await SqliteJournal.open(path, SystemClock())).aclose()
    lock = OwnerLock.acquire(path, 0)
    with pytest.raises(JournalInUse) as refused:
        await SharedBroker(SqliteAddress(path), Ground()).start()
    lock.release()
    assert f"is held by process {os.getpid()} on " in str(refused.value)
    assert str(refused.value).endswith("does not answer beside it (no such file or directory); stop it first")


async def test_a_guest_waits_for_whoever_holds_the_journal_without_answering(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    owner, guest = SharedBroker(SqliteAddress(path), Ground()), SharedBroker(SqliteAddress(path), Ground())
    await owner.start()
    await guest.start()
    await owner.aclose()
    lock = OwnerLock.acquire(path, 0)
    with pytest.raises(BrokerUnavailable, match=f"process {os.getpid()} holds the journal and does not answer yet"):
        await guest.open_stream()
    lock.release()
    await (await guest.open_stream()).aclose()
    assert guest.owns
    await guest.aclose()


async def test_a_starting_process_outwaits_an_owner_that_begins_or_ends(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    await (await SqliteJournal.open(path, SystemClock())).aclose()
    lock = OwnerLock.acquire(path, 0)
    broker = SharedBroker(SqliteAddress(path), Ground())
    starting = asyncio.create_task(broker.start())
    await asyncio.wait({starting}, timeout=0.1)
    assert not starting.done()
    lock.release()
    await starting
    assert broker.owns
    await broker.aclose()
    with pytest.raises(QueueClosed):
        await broker.open_stream()


async def test_a_socket_that_cannot_be_made_keeps_nobody_from_working_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "jobs.db.sock").write_text("somebody's notes")
    async with Queue(f"sqlite:{tmp_path / 'jobs.db'}", worker=False) as queue:
        assert (await (await queue.submit("work")).info()).state == "ready"
    assert "no other process can share" in caplog.text
    assert (tmp_path / "jobs.db.sock").read_text() == "somebody's notes"
