"""A disk that fills: new jobs are refused before it is full, the rest goes on, and it clears by itself."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from aioqueue.broker import broker as broker_module
from aioqueue.broker.disk import DiskWatch, free_bytes
from aioqueue.protocol import messages as m
from tests.broker.conftest import RESULT, House, item, running
from tests.support.commands import ROOT, environment

NEEDED = 1_000_000
RESERVED = NEEDED // 16


class FakeDisk:
    """So many bytes are free, the reserve not counted."""

    def __init__(self, free: int) -> None:
        self.free = free

    def __call__(self, paths: Sequence[str]) -> int:
        return self.free


def watch_of(folder: Path, disk: FakeDisk) -> DiskWatch:
    return DiskWatch(str(folder / "jobs.db"), NEEDED, free=disk)


def test_the_door_shuts_below_the_mark_and_opens_with_a_quarter_more(tmp_path: Path) -> None:
    disk = FakeDisk(NEEDED)
    watch = watch_of(tmp_path, disk)
    seen = []
    for free in (NEEDED, NEEDED - 1, NEEDED + NEEDED // 4 - 1, NEEDED + NEEDED // 4, NEEDED):
        disk.free = free
        seen.append((watch.look(), watch.low is not None))

    assert seen == [(False, False), (True, True), (False, True), (True, False), (False, False)]


def test_a_change_is_logged_once_and_with_the_way_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = FakeDisk(NEEDED - 1)
    watch = watch_of(tmp_path, disk)
    for _ in range(3):
        watch.look()
    assert [record.getMessage() for record in caplog.records] == [str(watch.low)]
    disk.free = 2 * NEEDED
    for _ in range(3):
        watch.look()
    assert len(caplog.records) == 2


def test_the_reserve_is_real_given_up_when_it_is_needed_most_and_taken_again(tmp_path: Path) -> None:
    disk = FakeDisk(2 * NEEDED)
    watch = watch_of(tmp_path, disk)
    file = tmp_path / "jobs.db.reserve"
    watch.look()
    assert file.stat().st_blocks * 512 >= RESERVED
    there = []
    for free in (NEEDED - 1, NEEDED // 4, NEEDED // 4 - 1, NEEDED, 2 * NEEDED):
        disk.free = free
        watch.look()
        there.append(file.exists())

    assert there == [True, True, False, False, True]
    watch.close()
    assert list(tmp_path.iterdir()) == []


def test_the_reserve_of_a_killed_broker_makes_room_for_the_next_start(tmp_path: Path) -> None:
    disk = FakeDisk(2 * NEEDED)
    watch_of(tmp_path, disk).look()
    disk.free = 0
    watch_of(tmp_path, disk).look()

    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_be_read_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = DiskWatch(str(tmp_path / "gone" / "jobs.db"), NEEDED)

    assert not watch.look()
    assert "cannot be read" in caplog.text


def test_a_disk_that_cannot_be_read_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = DiskWatch(str(tmp_path / "gone" / "jobs.db"), NEEDED)
    for _ in range(3):
        watch.look()
    assert len(caplog.records) == 1


def test_a_journal_whose_folder_is_moved_is_told_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folder, elsewhere = tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    (folder / "jobs.db").touch()
    watch = DiskWatch(str(folder / "jobs.db"), NEEDED)
    watch.look()
    folder.rename(elsewhere)
    for _ in range(5):
        watch.look()
    assert [record.getMessage() for record in caplog.records] == [str(watch.gone)]
    elsewhere.rename(folder)
    watch.look()
    assert watch.gone is None
    assert len(caplog.records) == 2


def test_a_reserve_that_the_system_refuses_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def refuse(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.EDQUOT, "quota")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    watch = watch_of(tmp_path, FakeDisk(2 * NEEDED))
    for _ in range(3):
        watch.look()
    assert [record.getMessage().partition(" of ")[0] for record in caplog.records] == ["no reserve"]


def test_what_is_free_is_what_the_system_says(tmp_path: Path) -> None:
    state = os.statvfs(tmp_path)

    assert abs(free_bytes([str(tmp_path / "a")]) - state.f_bavail * state.f_frsize) < 64 * 1024 * 1024


async def test_low_space_refuses_new_jobs_lets_the_rest_go_on_and_clears_by_itself(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "DISK_LOOK_SECONDS", 0.01)
    disk = FakeDisk(2 * NEEDED)
    async with running(house, disk=watch_of(tmp_path, disk)) as at:
        client, worker = await at.peer(), await at.worker(1)
        await client.submit(item())
        [run] = await worker.runs()
        disk.free = NEEDED - 1
        refused: list[m.ItemRefused] = []
        while not refused:
            refused = (await client.submit(item(delay_ms=60_000))).refused
        assert (refused[0].code, refused[0].fields["needed"]) == ("disk_low", NEEDED)
        assert (await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT))).answers == []
        disk.free = 2 * NEEDED
        while refused:
            refused = (await client.submit(item(delay_ms=60_000))).refused


async def test_a_broker_that_starts_on_a_full_disk_takes_no_new_job_from_the_first(
    house: House, tmp_path: Path
) -> None:
    async with running(house, disk=watch_of(tmp_path, FakeDisk(10))) as at:
        client = await at.peer()

        assert [refusal.code for refusal in (await client.submit(item())).refused] == ["disk_low"]


# --- a real disk --------------------------------------------------------------------------------------------------

MOUNT = ["unshare", "--mount", "--map-root-user", "--propagation", "private"]


def can_mount(folder: Path) -> bool:
    words = [*MOUNT, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        return subprocess.run(words, capture_output=True, check=False, timeout=90).returncode == 0
    except OSError:
        return False


def test_on_a_disk_that_really_is_full_settles_go_on_and_jobs_come_in_when_it_is_not(tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("no file system may be mounted here")
    words = [*MOUNT, sys.executable, "-m", "tests.broker.full_disk", str(tmp_path)]
    ended = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)

    assert ended.stdout == "all is well\n", ended.stderr


@pytest.mark.parametrize("replaced", [False, True])
async def test_no_new_job_is_taken_while_the_journal_is_taken_away_under_its_broker(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, replaced: bool
) -> None:
    monkeypatch.setattr(broker_module, "DISK_LOOK_SECONDS", 0.01)
    path, elsewhere = tmp_path / "jobs.db", tmp_path / "elsewhere"
    path.touch()
    async with running(house, disk=watch_of(tmp_path, FakeDisk(2 * NEEDED))) as at:
        client, worker = await at.peer(), await at.worker(1)
        await client.submit(item())
        [run] = await worker.runs()
        path.rename(elsewhere)
        if replaced:
            path.touch()
        refused: list[m.ItemRefused] = []
        while not refused:
            refused = (await client.submit(item(delay_ms=60_000))).refused
        assert (refused[0].code, refused[0].fields["path"]) == ("journal_gone", str(path))
        assert (await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT))).answers == []
        elsewhere.rename(path)
        while refused:
            refused = (await client.submit(item(delay_ms=60_000))).refused
    assert caplog.text.count("was moved, removed or replaced while the broker writes to it") == 1
