"""The journal on disk under real faults: killed processes, full disks, cancelled callers, a log that must not grow."""

from __future__ import annotations

import asyncio
import logging
import sqlite3

import pytest

from aioqueue.errors import AppendUnknown, HistoryLost, JournalFailed
from aioqueue.journal import sqlite
from aioqueue.journal.batch import HEADER_BYTES, peek_header
from aioqueue.journal.sqlite import SqliteJournal
from aioqueue.limits import CHECKPOINT_PAGES, JOURNAL_PAGE_BYTES, READ_RANGE_BYTES


@pytest.mark.faults
async def test_an_acknowledged_batch_outlives_a_killed_process(place, child, collect):
    acknowledged = {}
    for size in (100, 5_000, 60_000, 1_000, 300_000):
        process = await child("append", place.path, size)
        for _ in range(40):
            position, batch_id = (await process.stdout.readline()).split()
            acknowledged[int(position)] = batch_id.decode()
        process.kill()
        while line := await process.stdout.readline():
            # A last line may be cut off in the pipe; the batch it tells of was acknowledged to nobody.
            if line.endswith(b"\n"):
                position, batch_id = line.split()
                acknowledged[int(position)] = batch_id.decode()
        await process.wait()
        journal = await place.open()
        found = {batch.position: batch.batch_id.hex() for batch in await collect(journal)}
        await journal.aclose()
        assert acknowledged.items() <= found.items()
        assert list(found) == list(range(1, len(found) + 1))


@pytest.mark.faults
async def test_an_append_that_fails_ends_the_journal_and_keeps_what_was_durable(place, child, collect):
    process = await child("starve", place.path, 100_000, 1_000_000)
    output, _ = await process.communicate()
    *durable, failed, first, second, third, fourth, closed = output.decode().splitlines()
    assert failed.startswith("failed append_unknown")
    assert {first, second, third, fourth} == {"then journal_failed"}
    assert closed == "closed"
    told = dict(line.split()[1:] for line in durable)
    assert len(told) > 3
    found = {str(batch.position): batch.batch_id.hex() for batch in await collect(await place.open())}
    assert told.items() <= found.items()


@pytest.mark.faults
async def test_a_checkpoint_that_fails_ends_the_journal_and_keeps_what_was_durable(place, child, collect):
    process = await child("starve", place.path, 50_000, 6_000_000)
    output, _ = await process.communicate()
    *durable, failed, first, second, third, fourth, closed = output.decode().splitlines()
    assert failed.startswith("failed journal_failed")
    assert "checkpoint: " in failed
    assert {first, second, third, fourth} == {"then journal_failed"}
    assert closed == "closed"
    told = dict(line.split()[1:] for line in durable)
    # More than the limit lets the file hold: the rest is in the log, which the failed journal left as it was.
    assert len(told) * 50_000 > 6_000_000
    found = {str(batch.position): batch.batch_id.hex() for batch in await collect(await place.open())}
    assert told.items() <= found.items()


@pytest.mark.parametrize("answer", [(1, 5, 5), (0, 5, 3)], ids=["busy", "a part"])
async def test_a_log_that_is_not_folded_in_whole_ends_the_journal(place, monkeypatch, answer):
    journal = await place.open()

    async def execute(sql, parameters=()):
        return [answer]

    with monkeypatch.context() as patch:
        patch.setattr(journal._connection, "execute", execute)
        with pytest.raises(JournalFailed, match="of 5 pages were folded in"):
            await journal.lead("me", 1)
    with pytest.raises(JournalFailed):
        await journal.lead("me", 2)


async def test_a_failed_journal_leaves_its_files_as_they_are(place, fill):
    journal = await place.open()
    await fill(journal, 10)
    leadership = await journal.lead("me", 1)
    leadership.chain.encode(1, b"left out")
    with pytest.raises(JournalFailed):
        await journal.append(leadership.chain.encode(1, b"gap"), leadership.position)
    before = place.path.read_bytes(), place.path.with_name("journal-wal").read_bytes()
    await journal.aclose()
    assert (place.path.read_bytes(), place.path.with_name("journal-wal").read_bytes()) == before


async def test_an_append_is_one_hop_to_the_thread_and_back(place, monkeypatch):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    loop = asyncio.get_running_loop()
    hops = []
    real = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *args: (hops.append(1), real(*args))[1])
    for number in range(10):
        await journal.append(leadership.chain.encode(1, b"one"), 1 + number)
    assert len(hops) == 10


async def test_the_log_is_folded_in_before_the_first_append_of_an_owner(place, fill, child):
    process = await child("append", place.path, 1_000)
    for _ in range(50):
        await process.stdout.readline()
    process.kill()
    await process.wait()
    log = place.path.with_name("journal-wal")
    assert log.stat().st_size > 100_000
    journal = await place.open()
    await journal.lead("me", 1)
    # The epoch record's own few pages.
    assert log.stat().st_size < 30_000


async def test_the_log_stays_bounded_however_much_is_appended(place, collect):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    body = bytes(100_000)
    position = leadership.position
    for _ in range(200):
        position = await journal.append(leadership.chain.encode(1, b"", [body]), position)
    frame = JOURNAL_PAGE_BYTES + 24
    assert place.path.with_name("journal-wal").stat().st_size < (CHECKPOINT_PAGES + 50) * frame
    assert place.path.stat().st_size > 15_000_000
    assert len(await collect(journal)) == 201


async def test_appends_reads_and_bodies_go_on_beside_checkpoints(place):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    body = bytes(range(250)) * 400

    async def read_all():
        return [batch.position async for batch in journal.read(0)]

    position = leadership.position
    for number in range(60):
        data = leadership.chain.encode(1, b"%d" % number, [body])
        appended, seen, part = await asyncio.gather(
            journal.append(data, position), read_all(), journal.get(position, 0, 0 if number == 0 else 1_000)
        )
        assert appended == position + 1
        assert seen[:position] == list(range(1, position + 1))
        assert part == body[: len(part)]
        position = appended


async def test_concurrent_appends_are_made_one_after_the_other(place, collect):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    batches = [leadership.chain.encode(1, b"%d" % number) for number in range(20)]
    positions = await asyncio.gather(*(journal.append(data, 1 + number) for number, data in enumerate(batches)))
    assert positions == list(range(2, 22))
    assert [batch.events for batch in await collect(journal, 1)] == [b"%d" % number for number in range(20)]


async def test_callers_cancelled_at_every_turn_neither_lose_nor_double(place, collect):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    position = leadership.position
    for turns in range(8):
        data = leadership.chain.encode(1, b"turn %d" % turns)
        task = asyncio.create_task(journal.append(data, position))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        position = await journal.append(data, position)
    assert [batch.events for batch in await collect(journal, 1)] == [b"turn %d" % turns for turns in range(8)]


async def test_a_loop_that_ends_in_the_midst_of_an_append_ends_the_journal(place):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    task = await place.start_append(journal, leadership.chain.encode(1, b"maybe"), 1)
    for write in journal._writes:
        write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(JournalFailed, match="the event loop ended in the midst of it"):
        await journal.lead("me", 2)


async def test_an_append_that_fails_while_the_journal_is_closed_leaves_its_files_as_they_are(place, fill, monkeypatch):
    journal = await place.open()
    await fill(journal, 3)
    leadership = await journal.lead("me", 1)
    gate = asyncio.Event()

    async def execute(sql, parameters=()):
        await gate.wait()
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(journal._connection, "execute", execute)
    before = place.path.read_bytes(), place.path.with_name("journal-wal").read_bytes()
    appending = await place.start_append(journal, leadership.chain.encode(1, b"lost"), leadership.position)
    closing = asyncio.create_task(journal.aclose())
    await asyncio.sleep(0)
    gate.set()
    await closing
    with pytest.raises(AppendUnknown, match="disk I/O error"):
        await appending
    assert (place.path.read_bytes(), place.path.with_name("journal-wal").read_bytes()) == before


async def test_a_last_batch_that_vanishes_while_the_journal_is_open_is_lost_history(place, fill, collect):
    journal = await place.open()
    await fill(journal, 3)
    await journal._connection.execute("DELETE FROM batches WHERE position = 4")
    with pytest.raises(HistoryLost, match="batch 4 is missing"):
        await collect(journal)


async def test_a_long_journal_is_read_in_ranges(place, collect):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    sizes = [1, READ_RANGE_BYTES + 1, 10, 2_000_000, 2_000_000, 2_000_000, 5]
    position = leadership.position
    for size in sizes:
        position = await journal.append(leadership.chain.encode(1, b"", [bytes(size)]), position)
    assert [len(batch.bodies) for batch in await collect(journal, 1)] == sizes


async def test_a_read_overtaken_by_a_trim_is_lost_history(place):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    position = leadership.position
    for _ in range(5):
        position = await journal.append(leadership.chain.encode(1, b"", [bytes(READ_RANGE_BYTES // 2)]), position)
    reading = journal.read(0)
    assert (await anext(reading)).position == 1
    await journal.trim(6)
    with pytest.raises(HistoryLost):
        [batch async for batch in reading]


async def lowest_row(journal: SqliteJournal) -> int:
    return (await journal._connection.fetch("SELECT min(position) FROM batches"))[0][0]


async def test_a_trim_gives_the_disk_back(place, collect):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    position = leadership.position
    for _ in range(60):
        position = await journal.append(leadership.chain.encode(1, b"", [bytes(500_000)]), position)
    await journal.aclose()
    large = place.path.stat().st_size
    journal = await place.open()
    await journal.lead("me", 2)
    await journal.trim(position)
    await journal.aclose()
    assert place.path.stat().st_size < large // 4
    assert [batch.position for batch in await collect(await place.open())] == [61, 62]


async def test_appends_go_between_the_steps_of_a_trim(place):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    position = leadership.position
    for _ in range(30):
        position = await journal.append(leadership.chain.encode(1, b"", [bytes(500_000)]), position)
    trimming = asyncio.create_task(journal.trim(position))
    between = 0
    while not trimming.done():
        position = await journal.append(leadership.chain.encode(1, b"between"), position)
        between += 1
    await trimming
    assert between > 3
    assert [batch.position async for batch in journal.read(0)] == list(range(31, position + 1))


async def test_a_trim_keeps_pace_with_appends_that_bring_more_than_a_step(place, monkeypatch):
    monkeypatch.setattr(sqlite, "TRIM_STEP_BYTES", 20_000)
    monkeypatch.setattr(sqlite, "TRIM_STEP_BYTES_MAX", 200_000)
    journal = await place.open()
    chain = (await journal.lead("x", 1)).chain
    for position in range(1, 101):
        await journal.append(chain.encode(1, b"", [bytes(10_000)]), position)
    delete, gone = journal._delete, []

    async def delete_and_append(first, last, about_bytes):
        gone.append(last - first + 1)
        await delete(first, last, about_bytes)
        position = journal._handle.tail
        data = chain.encode(1, b"", [bytes(50_000)])
        await journal._insert(data, peek_header(data))
        assert journal._handle.tail == position + 1

    journal._delete = delete_and_append
    await journal.trim(91)
    await journal.aclose()
    # Two of them fit the first step; behind it twice what came meanwhile went each time.
    assert gone[0] < gone[1] == gone[2] == 9
    assert sum(gone) == 90


async def test_a_trim_that_was_interrupted_is_finished_by_the_next(place, collect):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    position = leadership.position
    for _ in range(20):
        position = await journal.append(leadership.chain.encode(1, b"", [bytes(500_000)]), position)
    trimming = asyncio.create_task(journal.trim(15))
    while await lowest_row(journal) == 1:
        pass
    trimming.cancel()
    await asyncio.wait({trimming})
    assert [batch.position for batch in await collect(journal)] == list(range(15, 22))
    assert await lowest_row(journal) < 15
    await journal.trim(2)
    assert await lowest_row(journal) == 15


async def test_history_below_a_trim_stays_while_there_is_room(place, collect):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    position = leadership.position
    for _ in range(30):
        position = await journal.append(leadership.chain.encode(1, b"", [bytes(500_000)]), position)
    await journal.trim(21, 10 * 600_000 + 5_000_000)
    assert [batch.position for batch in await collect(journal)] == list(range(21, 32))
    with pytest.raises(HistoryLost):
        await journal.get(20, 0, 1)
    assert 8 <= await lowest_row(journal) <= 13
    await journal.trim(21, 1 << 40)
    assert 8 <= await lowest_row(journal) <= 13
    await journal.trim(0, 0)
    assert await lowest_row(journal) == 21


async def test_free_pages_of_a_large_file_stay_for_the_batches_to_come(place, monkeypatch):
    monkeypatch.setattr("aioqueue.journal.sqlite.VACUUM_KEPT_PAGES", 10)
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    position = leadership.position
    for _ in range(40):
        position = await journal.append(leadership.chain.encode(1, b"", [bytes(500_000)]), position)
    await journal.trim(3)
    pages, free = await journal._pages()
    assert 10 < free <= pages // 8
    await journal.trim(30)
    pages, free = await journal._pages()
    assert free <= pages // 8
    assert pages * 4_096 < 14 * 600_000


async def test_a_row_costs_little_more_than_its_batch(place):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    for number in range(1_000):
        await journal.append(leadership.chain.encode(1, b"x" * 200), 1 + number)
    await journal.aclose()
    assert place.path.stat().st_size < 1_000 * (200 + HEADER_BYTES) * 1.3


async def test_the_debug_log_holds_no_payload(place, caplog):
    journal = await place.open()
    leadership = await journal.lead("me", 1)
    with caplog.at_level(logging.DEBUG):
        await journal.append(leadership.chain.encode(1, b"an event", [b"a secret"]), leadership.position)
    assert "INSERT INTO batches" in caplog.text
    assert "secret" not in caplog.text
