"""A copy that a running broker gives, part by part."""

from __future__ import annotations

from typing import Any

import pytest

from aioqueue.journal.base import Journal
from aioqueue.protocol import messages as m
from aioqueue.protocol.backup import BackupBatch, BackupEnd, BackupHead, BackupRow, RecordReader
from tests.broker.conftest import House, Running, item, running
from tests.support.patience import eventually


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small parts."""
    monkeypatch.setattr("aioqueue.broker.backup.COPY_BYTES", 700)


async def part_of(client: Any, part: int) -> m.BackupPart:
    client.say(m.ReadBackup(client.ask(), part))
    found: m.BackupPart = await client.hear(m.BackupPart)
    return found


async def first_of(journal: Journal) -> int:
    """The first position that is kept."""
    positions = [batch.position async for batch in journal.read(0)]
    return positions[0]


async def submit(client: Any, count: int) -> None:
    for _ in range(count):
        client.say(m.Submit(client.ask(), [item()]))
        await client.hear(m.Submitted)


async def run_some(system: Running, client: Any, count: int) -> None:
    """Jobs that have ended."""
    worker = await system.worker(1)
    for _ in range(count):
        await submit(client, 1)
        [run] = (await worker.hear(m.Deliver)).items
        worker.say(m.Settle(worker.ask(), [m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, b"\x01\xc0")]))
        await worker.hear(m.Settled)
    worker.say(m.Capacity(0, []))


async def test_a_copy_is_the_archive_and_then_the_journal_up_to_where_it_was_then(house: House) -> None:
    async with running(house) as system:
        client = await system.peer()
        await run_some(system, client, 5)
        await system.broker.overlay.write()
        reader, records, number = RecordReader(), [], 0
        while True:
            # The broker goes on meanwhile.
            await submit(client, 1)
            part = await part_of(client, number)
            records += list(reader.feed(part.data))
            number += 1
            if part.last:
                break
        assert number > 3
        head, *middle, end = records
        rows = [record for record in middle if isinstance(record, BackupRow)]
        batches = [record for record in middle if isinstance(record, BackupBatch)]
        assert isinstance(head, BackupHead)
        assert (head.journal_id, head.synced > 0) == (system.broker.engine.journal_id, True)
        assert middle == [*rows, *batches]
        assert end == BackupEnd(5, len(batches))
        positions = [batch.position for batch in batches]
        assert positions == list(range(1, positions[-1] + 1))
        assert head.synced <= positions[-1] <= system.broker.engine.position


async def test_no_batch_is_trimmed_under_a_copy_and_all_may_be_behind_it(house: House) -> None:
    async with running(house) as system:
        client = await system.peer()
        await submit(client, 5)
        await part_of(client, 0)
        journal = system.broker.engine.journal
        await journal.trim(5)
        assert await first_of(journal) == 1
        number = 1
        while not (await part_of(client, number)).last:
            number += 1
        await journal.trim(5)
        assert await first_of(journal) == 5


async def test_a_reader_that_goes_away_lets_go_of_the_journal(house: House) -> None:
    async with running(house) as system:
        client, other = await system.peer(), await system.peer()
        await submit(other, 5)
        await part_of(client, 0)
        await client.connection.aclose()
        while system.broker.services.backups.under_way:
            await submit(other, 1)
        await system.broker.engine.journal.trim(5)
        assert await first_of(system.broker.engine.journal) == 5


async def test_a_reader_that_asks_for_nothing_more_lets_go_of_the_journal(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioqueue.broker.connections.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("aioqueue.broker.backup.BACKUP_IDLE_SECONDS", 0.02)
    async with running(house) as system:
        client = await system.peer()
        await submit(client, 20)
        await part_of(client, 0)
        await eventually(lambda: not system.broker.services.backups.under_way)
        await system.broker.engine.journal.trim(5)
        assert await first_of(system.broker.engine.journal) == 5
        client.say(m.ReadBackup(client.ask(), 1))
        assert "asked for nothing for long" in (await client.hear(m.Refusal)).message
        await part_of(client, 0)


@pytest.mark.parametrize("parts", [[1], [0, 2], [0, 1, 1]])
async def test_a_part_out_of_its_turn_ends_the_copy(house: House, parts: list[int]) -> None:
    async with running(house) as system:
        client = await system.peer()
        await submit(client, 20)
        for part in parts[:-1]:
            await part_of(client, part)
        client.say(m.ReadBackup(client.ask(), parts[-1]))
        assert (await client.hear(m.Refusal)).code == "backup_failed"
        assert not system.broker.services.backups.under_way


async def test_only_so_many_copies_are_made_at_once(house: House) -> None:
    async with running(house) as system:
        clients = [await system.peer() for _ in range(3)]
        await submit(clients[0], 20)
        for client in clients[:2]:
            await part_of(client, 0)
        clients[2].say(m.ReadBackup(clients[2].ask(), 0))
        assert "others are being made" in (await clients[2].hear(m.Refusal)).message
        # One that begins anew is no third.
        await part_of(clients[0], 0)


async def test_a_broker_that_keeps_nothing_says_so(house: House) -> None:
    async with running(house, keeps=False) as system:
        client = await system.peer()
        client.say(m.ReadBackup(client.ask(), 0))
        assert "in memory only" in (await client.hear(m.Refusal)).message
