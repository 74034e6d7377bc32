"""`aioqueue backup`: a copy of a running broker under load, and a broker that starts from it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aioqueue.archive.fresh import fresh_archive
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.broker.backup import Backup
from aioqueue.broker.broker import Broker
from aioqueue.broker.opening import open_broker
from aioqueue.broker.storage import JournalBounds
from aioqueue.cli.backing import BackupReport, _Copy, _verify
from aioqueue.clock import SystemClock
from aioqueue.ground import Ground
from aioqueue.journal.check import check_journal
from aioqueue.journal.fresh import fresh_journal
from aioqueue.protocol.backup import BackupBatch, RecordReader
from aioqueue.transport.address import SqliteAddress
from tests.support.churn import churn
from tests.support.commands import COMMAND, PATIENCE_SECONDS, SHOP, environment, run, serving, working
from tests.support.patience import eventually
from tests.support.shell import Shell

# A log of so few bytes is cut all the time.
BOUND = 32_000
# Submits without an end, and says which jobs were acknowledged, and which are known to have succeeded.
LOAD = """
import asyncio, sys
from shop import add, queue, wait_elsewhere

async def main():
    queue.url = sys.argv[1]
    async with queue:
        number = 0
        while True:
            number += 1
            job = await queue.submit(add, number)
            print("accepted", job.id, flush=True)
            waiting = await queue.submit(wait_elsewhere)
            print("accepted", waiting.id, flush=True)
            if number % 10 == 0:
                await job
                print("succeeded", job.id, flush=True)

asyncio.run(main())
"""


@contextmanager
def loading(url: str, folder: Path) -> Iterator[Path]:
    """A program that submits as fast as it can; what it knows is in the file."""
    told = folder / "told.txt"
    with told.open("w") as output:
        process = subprocess.Popen(
            [COMMAND[0], "-c", LOAD, url], cwd=folder, env=environment(), stdout=output, stderr=subprocess.DEVNULL
        )
    try:
        yield told
    finally:
        process.kill()
        process.wait(PATIENCE_SECONDS)


def words_of(told: Path) -> list[tuple[str, str]]:
    lines = told.read_text().splitlines(keepends=True)
    return [(line.split()[0], line.split()[1]) for line in lines if line.endswith("\n")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def test_every_job_that_was_acknowledged_before_is_in_the_backup_once_and_as_it_was(folder: Path) -> None:
    with serving(folder) as served, working(served), loading(served.url, folder) as told:
        while len(words_of(told)) < 100:
            time.sleep(0.05)
        before = words_of(told)
        made = served.run("backup", "copy.db", "--json")
        assert made.code == 0, made
        # It went on all the time.
        assert len(words_of(told)) > len(before)
    report = made.json
    assert (folder / "copy.db.mark").exists()
    assert not list(folder.glob("*.unfinished"))

    with serving(folder, journal="sqlite:copy.db") as restored:
        # `ls` lists each once, or twice where it is there twice.
        found = restored.run("ls", "--all", "--json").json
        states = {info["id"]: info["state"] for info in found}
        assert len(states) == len(found)
        assert len(found) == report["jobs"] + report["finished"]
        assert {job for word, job in before if word == "accepted"} <= set(states)
        assert {states[job] for word, job in before if word == "succeeded"} == {"succeeded"}
        # What was running is given back: nothing was lost with its worker, and no crash is counted.
        assert {info["state"] for info in found} <= {"ready", "succeeded"}
        assert not any(info["crashes"] for info in found)
        with working(restored):
            assert restored.run("submit", "shop:add", "41", "--wait").out == "42\n"


@pytest.mark.usefixtures("open_umask")
def test_a_backup_of_a_journal_that_nobody_has_open_is_made_too_and_is_a_journal_of_its_own(folder: Path) -> None:
    with serving(folder) as served:
        job = served.run("submit", "shop:wait_elsewhere").out.strip()
    made = run("backup", "sqlite:copy.db", "--url", "sqlite:jobs.db", "--json", cwd=folder)
    assert made.code == 0, made
    assert {oct(stat.S_IMODE(each.stat().st_mode)) for each in folder.glob("copy.db*")} == {"0o600"}
    assert (made.json["jobs"], made.json["finished"]) == (1, 0)
    assert made.json["journal_id"] != made.json["source_id"]
    assert [info["id"] for info in run("ls", "--json", "--url", "sqlite:copy.db", cwd=folder).json] == [job]


def test_nothing_is_left_where_a_backup_was_interrupted(folder: Path) -> None:
    with serving(folder) as served:
        served.run("submit", "shop:wait_elsewhere")
        # The broker stands still, so the backup waits in the midst of it.
        served.process.send_signal(signal.SIGSTOP)
        backing = subprocess.Popen(
            [*COMMAND, "backup", "copy.db"], cwd=folder, env=environment(AIOQUEUE_URL=served.url),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        while not list(folder.glob("copy.db.*.unfinished")):
            assert backing.poll() is None
            time.sleep(0.05)
        backing.send_signal(signal.SIGINT)
        backing.communicate(timeout=PATIENCE_SECONDS)
        assert backing.returncode == 130
        served.process.send_signal(signal.SIGCONT)
    assert not list(folder.glob("copy.db*"))


def test_what_a_killed_backup_left_is_removed_by_the_next_to_the_same_place_and_nothing_else(
    at_shop: Shell, tmp_path: Path
) -> None:
    left, others, in_use = (tmp_path / f"{name}.unfinished" for name in ("copy.db.abc", "copy2.db.abc", "copy.db.xyz"))
    for folder in (left, others, in_use):
        folder.mkdir()
        (folder / "copy.db").write_text("half of it")
    lock = os.open(in_use, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    ended = at_shop.run("backup", str(tmp_path / "copy.db"))
    os.close(lock)
    assert ended.code == 0
    assert f"removing {left}, which a backup that was killed has left" in ended.err
    assert list(tmp_path.glob("*.unfinished")) in ([others, in_use], [in_use, others])


def test_nothing_is_ever_written_over(at_shop: Shell, tmp_path: Path) -> None:
    for name in ("copy.db", "copy.db-archive", "copy.db.mark"):
        path = tmp_path / name
        path.write_text("mine")
        assert f"{path} exists already" in at_shop.run("backup", str(tmp_path / "copy.db")).refused()
        assert path.read_text() == "mine"
        path.unlink()


def test_a_place_where_nothing_can_be_written_is_one_sentence(at_shop: Shell, tmp_path: Path) -> None:
    told = at_shop.run("backup", str(tmp_path / "missing" / "copy.db")).refused()
    assert f"there is no backup: the folder {tmp_path / 'missing'} does not exist; make it first" in told


def test_a_disk_that_is_full_is_one_sentence_and_nothing_is_left(
    at_shop: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aioqueue.cli.backing.sync_directory", full)
    assert "No space left on device" in at_shop.run("backup", str(tmp_path / "copy.db")).refused()
    assert not list(tmp_path.glob("copy.db*"))


def test_of_two_backups_that_end_at_once_one_has_the_place_and_the_other_leaves_it(
    at_shop: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked = tmp_path / "copy.db", 0

    def taken_by_another(target: str) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            # What it begins with, just when nothing stood there.
            Path(f"{target}.mark").write_text("of another")

    monkeypatch.setattr("aioqueue.cli.backing._refuse_taken", taken_by_another)
    assert f"{path}.mark exists already" in at_shop.run("backup", str(path)).refused()
    assert [each.name for each in tmp_path.glob("copy.db*")] == ["copy.db.mark"]
    assert Path(f"{path}.mark").read_text() == "of another"


def test_damage_in_what_was_copied_is_told_and_nothing_is_left(
    at_shop: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioqueue.cli.backing.replay_batch", lambda *_: "its events cannot be read")
    told = at_shop.run("backup", str(tmp_path / "copy.db")).refused()
    assert "of the journal is damaged: its events cannot be read" in told
    assert not list(tmp_path.glob("copy.db*"))


def test_the_report_tells_what_the_backup_holds(at_shop: Shell, tmp_path: Path) -> None:
    at_shop.run("submit", "shop:wait_elsewhere")
    at_shop.run("submit", "shop:fail", "no", "--wait")
    report = json.loads(at_shop.run("backup", str(tmp_path / "copy.db"), "--json").out)
    assert report["path"] == str(tmp_path / "copy.db")
    assert report["jobs"] >= 1
    assert report["finished"] >= 1
    assert report["bytes"] == sum(path.stat().st_size for path in tmp_path.glob("copy.db*"))


async def copied(backup: Backup, broker: Broker, path: Path) -> BackupReport:
    """What the command makes of a copy whose first part was read before: all of it, verified."""
    reader, number, last = RecordReader(), 0, False
    with fresh_journal(str(path)) as journal, fresh_archive(f"{path}-archive", journal.journal_id) as archive:
        copy = _Copy(str(path), journal, archive)
        while not last:
            part, last = await backup.part(number)
            for record in reader.feed(part):
                copy.take(record)
            number += 1
            # The broker goes on, and would cut its log under the copy.
            await churn(broker, range(1_000 + number * 10, 1_010 + number * 10))
        report = copy.finish(SystemClock().now().wall_ms)
    await _verify(report, str(path))
    return report


async def test_the_log_of_a_copy_tells_of_all_that_its_archive_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = open_broker(SqliteAddress(str(tmp_path / "jobs.db")), ground=Ground(), disk_reserve=0)
    async with opening as broker:
        archive = SqliteArchive
        read, positions = archive.copy, [0]

        async def late(self: Any, after: bytes) -> Any:
            # Jobs end while the rows are read.
            await churn(broker, range(len(positions) * 10, len(positions) * 10 + 10))
            positions.append(broker.engine.position)
            return await read(self, after)

        monkeypatch.setattr(archive, "copy", late)
        backup = broker.services.backups.begin()
        data, last = await backup.part(0)
        assert last
        batches = [record for record in RecordReader().feed(data) if isinstance(record, BackupBatch)]
        broker.services.backups.end(backup)
    assert batches[-1].position >= positions[-1] > 0


async def test_a_log_that_is_cut_all_the_time_is_copied_from_where_it_began_when_the_copy_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioqueue.broker.backup.COPY_BYTES", 20_000)
    opening = open_broker(
        SqliteAddress(str(tmp_path / "jobs.db")), ground=Ground(), disk_reserve=0, bounds=JournalBounds(BOUND)
    )
    async with opening as broker:
        await churn(broker, range(1, 4), living=True)
        await churn(broker, range(100, 240))
        journal = broker.engine.journal
        await eventually(lambda: journal._handle.first > 1)
        backup = broker.services.backups.begin()
        first = journal._handle.first
        report = await copied(backup, broker, tmp_path / "copy.db")
        assert journal._handle.first == first
        broker.services.backups.end(backup)
        await churn(broker, range(5_000, 5_120))
        await eventually(lambda: journal._handle.first > first)
        # Whatever the broker did meanwhile, the three that live do, and all others have ended.
        assert report.jobs == 3
        assert report.finished >= 140 + 10
    found = await check_journal(tmp_path / "copy.db")
    # The broker that verified it may have gone on cutting where the copied one was.
    assert found.ok
    assert found.first_position >= first
