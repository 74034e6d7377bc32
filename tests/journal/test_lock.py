"""One owner a journal, across processes."""

from __future__ import annotations

import os
import platform

import pytest

from aioqueue.errors import JournalError, JournalInUse
from aioqueue.journal.lock import OwnerLock

WALL_MS = 1_700_000_000_000


async def test_a_second_process_is_told_who_owns_the_journal(tmp_path, child):
    path = str(tmp_path / "journal")
    owner = await child("lock", path)
    assert await owner.stdout.readline() == b"locked\n"
    with pytest.raises(JournalInUse) as caught:
        OwnerLock.acquire(path, WALL_MS)
    assert caught.value.pid == owner.pid
    assert caught.value.host == platform.node()
    assert caught.value.since == "2023-11-14T22:13:20+00:00"
    assert str(owner.pid) in str(caught.value)


async def test_the_lock_ends_with_its_process_however_that_ends(tmp_path, child):
    path = str(tmp_path / "journal")
    owner = await child("lock", path)
    await owner.stdout.readline()
    with pytest.raises(JournalInUse):
        OwnerLock.acquire(path, WALL_MS)
    owner.kill()
    await owner.wait()
    OwnerLock.acquire(path, WALL_MS).release()


def test_one_process_cannot_own_a_journal_twice(tmp_path):
    path = str(tmp_path / "journal")
    lock = OwnerLock.acquire(path, WALL_MS)
    with pytest.raises(JournalInUse) as caught:
        OwnerLock.acquire(path, WALL_MS)
    assert caught.value.pid == os.getpid()
    lock.release()
    lock.release()
    OwnerLock.acquire(path, WALL_MS).release()


def test_a_refused_owner_does_not_take_the_lock_from_the_one_that_has_it(tmp_path):
    path = str(tmp_path / "journal")
    lock = OwnerLock.acquire(path, WALL_MS)
    for _ in range(3):
        with pytest.raises(JournalInUse):
            OwnerLock.acquire(path, WALL_MS)
    lock.release()


def test_an_owner_that_has_not_written_its_name_yet_is_unknown(tmp_path):
    path = str(tmp_path / "journal")
    lock = OwnerLock.acquire(path, WALL_MS)
    os.truncate(path + ".lock", 0)
    with pytest.raises(JournalInUse, match="process unknown"):
        OwnerLock.acquire(path, WALL_MS)
    lock.release()


def test_a_shorter_name_leaves_nothing_of_a_longer_one(tmp_path):
    path = str(tmp_path / "journal")
    (tmp_path / "journal.lock").write_bytes(b"x" * 1_000)
    lock = OwnerLock.acquire(path, WALL_MS)
    with pytest.raises(JournalInUse, match=str(os.getpid())):
        OwnerLock.acquire(path, WALL_MS)
    lock.release()


def test_a_lock_file_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "journal.lock").mkdir()
    with pytest.raises(JournalError, match="its lock file cannot be opened: Is a directory"):
        OwnerLock.acquire(str(tmp_path / "journal"), WALL_MS)
