"""What is found at a start: a journal that cannot be replayed is refused, and left as it is for salvage."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aioqueue.broker.opening import open_broker
from aioqueue.errors import HistoryLost, JournalDamaged
from aioqueue.ground import Ground
from aioqueue.transport.address import SqliteAddress
from tests.broker.conftest import House, item, running


async def start(house: House) -> None:
    async with running(house):
        pass


async def test_a_refused_start_writes_nothing(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        await client.submit(item())
        await client.submit(item())
    house.store.flip(2, 100)
    before = dict(house.store.batches)
    with pytest.raises(JournalDamaged, match="batch 2"):
        await start(house)
    assert house.store.batches == before
    house.store.flip(2, 100)
    whole = dict(house.store.batches)
    await house.archive.write([], [], [], 99)
    with pytest.raises(HistoryLost, match="the archive has position 99"):
        await start(house)
    assert house.store.batches == whole


async def test_what_is_wrong_first_is_told_whatever_is_wrong_behind_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(house) as at:
        client = await at.peer()
        for _ in range(6):
            await client.submit(item())

    def damaged(data: bytes, path: str) -> Any:
        raise JournalDamaged(path=path, where="an event record", reason="planted")

    monkeypatch.setattr("aioqueue.broker.follower.decode_events", damaged)
    del house.store.batches[5]
    with pytest.raises(JournalDamaged, match="planted"):
        await start(house)


async def test_a_refused_start_leaves_the_files_byte_for_byte(tmp_path: Path) -> None:
    address = SqliteAddress(str(tmp_path / "jobs.db"))

    async def begin() -> None:
        async with open_broker(address, ground=Ground(), disk_reserve=0):
            pass

    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".lock"}

    for _ in range(3):
        await begin()
    with closing(sqlite3.connect(address.path)) as database:
        database.execute("UPDATE batches SET data = zeroblob(length(data)) WHERE position = 2")
        database.commit()
    before = contents()
    with pytest.raises(JournalDamaged):
        await begin()
    assert contents() == before
