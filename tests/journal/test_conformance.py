"""The promises of `Journal`, kept by every implementation."""

from __future__ import annotations

import asyncio

import pytest

from aioqueue.errors import BatchTooLarge, Fenced, HistoryLost, JournalDamaged, JournalFailed
from aioqueue.journal.base import Extent
from aioqueue.journal.batch import HEADER_BYTES, BatchKind
from aioqueue.journal.epoch import epoch_payload, stated_level


def flipped(data, index):
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


async def test_what_was_appended_is_read_back_in_order_without_gaps(site, fill, collect):
    journal = await site.open()
    await fill(journal, 5)
    epoch, *batches = await collect(journal)
    assert (epoch.position, epoch.kind, epoch.epoch, epoch.events) == (1, BatchKind.EPOCH, 1, b"filler")
    assert [(b.position, b.kind, b.epoch, b.events, b.bodies) for b in batches] == [
        (n + 2, BatchKind.EVENTS, 1, b"events %d" % n, b"body %d;" % n * 2) for n in range(5)
    ]
    assert [b.wall_ms - epoch.wall_ms for b in batches] == [0, 1, 2, 3, 4]


async def test_reading_starts_behind_the_given_position(site, fill, collect):
    journal = await site.open()
    await fill(journal, 5)
    assert [b.position for b in await collect(journal, 4)] == [5, 6]
    assert await collect(journal, 6) == []


async def test_a_journal_that_never_led_is_empty(site, collect):
    assert await collect(await site.open()) == []


async def test_reading_beyond_the_end_is_lost_history(site, fill, collect):
    journal = await site.open()
    await fill(journal, 2)
    with pytest.raises(HistoryLost, match="batch 4 is asked for, kept are 1 to 3"):
        await collect(journal, 4)


async def test_batches_and_epochs_go_on_after_reopening(site, fill, collect):
    journal = await site.open()
    await fill(journal, 3)
    await journal.aclose()
    journal = await site.open()
    # Who reads what is there before it leads must know where it ends.
    journal_id, tail = journal.journal_id, journal.tail
    leadership = await journal.lead("second", 7)
    assert (journal_id, tail, journal.tail) == (leadership.journal_id, 4, 5)
    assert (leadership.epoch, leadership.position) == (2, 5)
    position = await journal.append(leadership.chain.encode(8, b"after"), leadership.position)
    assert position == 6
    read = await collect(journal)
    assert [(b.position, b.epoch) for b in read] == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2)]
    assert (read[4].events, read[5].events) == (b"second", b"after")


async def test_the_journal_id_stays_the_same_for_ever(site):
    journal = await site.open()
    first = await journal.lead("a", 1)
    await journal.aclose()
    second = await (await site.open()).lead("b", 2)
    assert first.journal_id == second.journal_id
    assert len(first.journal_id) == 16


async def test_a_newer_leadership_fences_the_older_one_for_ever(site, collect):
    journal = await site.open()
    old = await journal.lead("old", 1)
    new = await journal.lead("new", 2)
    for _ in range(2):
        with pytest.raises(Fenced) as caught:
            await journal.append(old.chain.encode(3, b"late"), old.position)
        assert (caught.value.epoch, caught.value.own_epoch) == (2, 1)
    assert await journal.append(new.chain.encode(3, b"right"), new.position) == 3
    assert [b.events for b in await collect(journal)] == [b"old", b"new", b"right"]


async def test_a_leader_goes_on_in_its_next_epoch_which_states_a_level(site, collect):
    journal = await site.open()
    leadership = await journal.lead("first", 7)
    assert (leadership.owner, leadership.level) == ("first", 1)
    chain = leadership.chain
    await journal.append(chain.encode(8, b"before"), 1)
    record = chain.renew(9, epoch_payload("first", 2))
    # The same bytes again are the same record, as for any batch.
    assert [await journal.append(record, 2), await journal.append(record, 2)] == [3, 3]
    assert await journal.append(chain.encode(10, b"after"), 3) == 4
    await journal.trim(3)
    await journal.aclose()
    journal = await site.open()
    leadership = await journal.lead("second", 11, 2)
    read = await collect(journal)
    assert [(b.position, b.epoch, b.kind) for b in read] == [
        (3, 2, BatchKind.EPOCH), (4, 2, BatchKind.EVENTS), (5, 3, BatchKind.EPOCH)
    ]  # fmt: skip
    assert [stated_level(b.events, "j", b.position) for b in (read[0], read[2])] == [2, 2]


async def test_nobody_appends_without_leading(site, fill, collect):
    journal = await site.open()
    leadership = await journal.lead("first", 1)
    await journal.aclose()
    journal = await site.open()
    with pytest.raises(Fenced):
        await journal.append(leadership.chain.encode(2, b"unled"), 1)
    assert len(await collect(journal)) == 1


async def test_the_same_bytes_at_the_same_position_are_one_batch(site, collect):
    journal = await site.open()
    leadership = await journal.lead("me", 1)
    data = leadership.chain.encode(2, b"once")
    assert [await journal.append(data, 1) for _ in range(3)] == [2, 2, 2]
    assert [b.events for b in await collect(journal)] == [b"me", b"once"]


async def test_a_batch_out_of_place_ends_the_journal(site, collect):
    journal = await site.open()
    leadership = await journal.lead("me", 1)
    leadership.chain.encode(2, b"never appended")
    with pytest.raises(JournalFailed, match="batch 3 was appended behind 2, but the journal ends at 1"):
        await journal.append(leadership.chain.encode(3, b"gap"), 2)
    for call in (
        journal.append(b"", 1),
        journal.lead("me", 4),
        journal.get(1, 0, 0),
        journal.trim(1),
        collect(journal),
    ):
        with pytest.raises(JournalFailed, match="batch 3 was appended"):
            await call


async def test_another_batch_at_a_taken_position_ends_the_journal(site):
    journal = await site.open()
    leadership = await journal.lead("me", 1)
    await journal.append(leadership.chain.encode(2, b"one"), 1)
    with pytest.raises(JournalFailed, match="ends at 2"):
        await journal.append(leadership.chain.encode(2, b"two"), 1)


async def test_a_cancelled_append_is_neither_lost_nor_doubled(site, collect):
    journal = await site.open()
    leadership = await journal.lead("me", 1)
    data = leadership.chain.encode(2, b"kept", [b"body"])
    task = await site.start_append(journal, data, 1)
    task.cancel()
    site.finish_append()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await journal.append(data, 1) == 2
    assert await journal.append(leadership.chain.encode(3, b"next"), 2) == 3
    assert [b.events for b in await collect(journal)] == [b"me", b"kept", b"next"]


async def test_closing_waits_for_an_append_whose_caller_was_cancelled(site, collect):
    journal = await site.open()
    leadership = await journal.lead("me", 1)
    task = await site.start_append(journal, leadership.chain.encode(2, b"kept"), 1)
    task.cancel()
    site.finish_append()
    with pytest.raises(asyncio.CancelledError):
        await task
    await journal.aclose()
    assert [b.events for b in await collect(await site.open())] == [b"me", b"kept"]


async def test_a_body_is_read_by_its_place_in_the_batch(site, fill):
    journal = await site.open()
    leadership = await journal.lead("me", 1)
    await journal.append(leadership.chain.encode(2, b"e" * 300, [b"", b"first", b"second"]), 1)
    assert await journal.get(2, 0, 5) == b"first"
    assert await journal.get(2, 5, 6) == b"second"
    assert await journal.get(2, 11, 0) == b""


async def test_many_bodies_are_read_at_once_in_the_order_they_are_asked_for(site, fill):
    journal = await site.open()
    await fill(journal, 4)
    found = await journal.get_many([Extent(4, 7, 6), Extent(2, 0, 6), Extent(4, 14, 0), Extent(3, 5, 9)])
    assert found == [b"body 2", b"body 0", b"", b"1;body 1;"]
    assert await journal.get_many([]) == []
    with pytest.raises(HistoryLost):
        await journal.get_many([Extent(2, 0, 5), Extent(99, 0, 5)])
    with pytest.raises(JournalDamaged):
        await journal.get_many([Extent(2, 0, 5), Extent(2, 10, 5)])


async def test_a_body_beyond_its_batch_is_damage(site, fill):
    journal = await site.open()
    await fill(journal, 1)
    with pytest.raises(JournalDamaged, match="batch 2"):
        await journal.get(2, 10, 7)


@pytest.mark.parametrize("position", [0, 3])
async def test_a_body_of_a_batch_that_is_not_there_is_lost_history(site, fill, position):
    journal = await site.open()
    await fill(journal, 1)
    with pytest.raises(HistoryLost):
        await journal.get(position, 0, 1)


async def test_trimmed_batches_are_gone_and_the_rest_stays_readable(site, fill, collect):
    journal = await site.open()
    await fill(journal, 9)
    await journal.trim(5)
    assert [b.position for b in await collect(journal)] == [5, 6, 7, 8, 9, 10]
    assert [b.position for b in await collect(journal, 4)] == [5, 6, 7, 8, 9, 10]
    assert [b.position for b in await collect(journal, 5)] == [6, 7, 8, 9, 10]
    with pytest.raises(HistoryLost, match="kept are 5 to 10"):
        await collect(journal, 3)
    with pytest.raises(HistoryLost, match="kept are 5 to 10"):
        await journal.get(4, 0, 1)
    assert await journal.get(5, 0, 4) == b"body"


async def test_a_read_ends_where_it_was_told(site, fill, collect):
    journal = await site.open()
    await fill(journal, 9)
    for after, last, expected in ((0, 3, [1, 2, 3]), (4, 6, [5, 6]), (8, 99, [9, 10]), (5, 5, []), (6, 2, [])):
        assert [batch.position async for batch in journal.read(after, last)] == expected
    await journal.trim(5)
    assert [batch.position async for batch in journal.read(4, 5)] == [5]


async def test_what_is_kept_below_a_trim_is_no_part_of_the_journal(site, fill, collect):
    journal = await site.open()
    await fill(journal, 9)
    await journal.trim(5, 1 << 40)
    await journal.trim(6, 1 << 40)
    assert [batch.position for batch in await collect(journal)] == [6, 7, 8, 9, 10]
    with pytest.raises(HistoryLost, match="kept are 6 to 10"):
        await journal.get(5, 0, 1)
    await journal.aclose()
    journal = await site.open()
    assert [batch.position for batch in await collect(journal)] == [6, 7, 8, 9, 10]


async def test_what_is_held_is_not_trimmed_until_it_is_let_go(site, fill, collect):
    journal = await site.open()
    await fill(journal, 9)
    await journal.trim(3)
    one, other = journal.hold(), journal.hold()
    one.release()
    one.release()
    await journal.trim(7)
    assert (await collect(journal))[0].position == 3
    other.release()
    await journal.trim(7)
    assert (await collect(journal))[0].position == 7


async def test_a_trim_is_remembered_when_the_journal_is_opened_again(site, fill, collect):
    journal = await site.open()
    await fill(journal, 9)
    await journal.trim(5)
    await journal.aclose()
    journal = await site.open()
    leadership = await journal.lead("again", 1)
    assert leadership.position == 11
    assert [b.position for b in await collect(journal)] == [5, 6, 7, 8, 9, 10, 11]


async def test_a_trim_never_lowers_the_tail_and_may_be_repeated(site, fill, collect):
    journal = await site.open()
    await fill(journal, 4)
    for before in (1_000, 1_000, 2, 0):
        await journal.trim(before)
        assert [b.position for b in await collect(journal)] == [5]
    leadership = await journal.lead("me", 1)
    assert leadership.position == 6


async def test_nobody_trims_without_leading(site, fill, collect):
    journal = await site.open()
    await fill(journal, 4)
    await journal.aclose()
    journal = await site.open()
    with pytest.raises(Fenced):
        await journal.trim(3)
    assert len(await collect(journal)) == 5


async def test_a_batch_missing_behind_a_trim_is_noticed(site, fill, collect):
    journal = await site.open()
    await fill(journal, 9)
    await journal.trim(5)
    await journal.aclose()
    site.drop(5)
    with pytest.raises(HistoryLost):
        await collect(await site.open())


@pytest.mark.parametrize("index", [0, 4, 5, 7, 8, 25, 33, 41, 57, 65, 70, 72, 90, HEADER_BYTES, -1])
async def test_a_flipped_byte_is_noticed_when_read(site, fill, collect, index):
    journal = await site.open()
    batches = await fill(journal, 4)
    await journal.aclose()
    site.damage(3, lambda data: flipped(data, index % len(batches[1])))
    journal = await site.open()
    with pytest.raises(JournalDamaged, match="batch 3"):
        await collect(journal)


@pytest.mark.parametrize("length", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 3])
async def test_a_torn_batch_is_noticed_when_read(site, fill, collect, length):
    journal = await site.open()
    await fill(journal, 4)
    await journal.aclose()
    site.damage(3, lambda data: data[:length])
    journal = await site.open()
    with pytest.raises(JournalDamaged, match="batch 3"):
        await collect(journal)


async def test_a_damaged_last_batch_is_noticed_before_anything_is_appended(site, fill, collect):
    journal = await site.open()
    await fill(journal, 4)
    await journal.aclose()
    site.damage(5, lambda data: flipped(data, -1 % len(data)))
    with pytest.raises(JournalDamaged, match="batch 5"):
        await (await site.open()).lead("me", 1)


async def test_a_missing_batch_is_lost_history(site, fill, collect):
    journal = await site.open()
    await fill(journal, 4)
    await journal.aclose()
    site.drop(3)
    journal = await site.open()
    with pytest.raises(HistoryLost, match="batch 3 is missing"):
        await collect(journal)


async def test_missing_first_batches_are_lost_history(site, fill, collect):
    journal = await site.open()
    await fill(journal, 4)
    await journal.aclose()
    site.drop(1)
    site.drop(2)
    with pytest.raises(HistoryLost):
        await collect(await site.open())


async def test_all_batches_missing_behind_a_trim_is_lost_history(site, fill):
    journal = await site.open()
    await fill(journal, 4)
    await journal.trim(4)
    await journal.aclose()
    site.drop(4)
    site.drop(5)
    with pytest.raises(HistoryLost, match="all batches from 4 on are missing"):
        await (await site.open()).lead("me", 1)


async def test_swapped_batches_are_lost_history(site, fill, collect):
    journal = await site.open()
    await fill(journal, 4)
    await journal.aclose()
    site.swap(3, 4)
    journal = await site.open()
    with pytest.raises(HistoryLost, match="at position 3 stands batch 4"):
        await collect(journal)


async def test_a_batch_of_another_history_is_lost_history(site, fill, collect):
    journal = await site.open()
    leadership = await journal.lead("filler", 1)
    forked = type(leadership.chain)(leadership.journal_id, 1, 1, leadership.chain.previous)
    for number in range(2):
        await journal.append(leadership.chain.encode(2, b"true %d" % number), 1 + number)
    other = forked.encode(2, b"false")
    await journal.aclose()
    site.damage(2, lambda data: other)
    journal = await site.open()
    with pytest.raises(HistoryLost, match="batch 3 does not follow"):
        await collect(journal)


async def test_the_largest_batch_fits_and_a_larger_one_changes_nothing(site, collect):
    journal = await site.open()
    leadership = await journal.lead("me", 1)
    room = journal.batch_bytes_max - HEADER_BYTES
    with pytest.raises(BatchTooLarge):
        leadership.chain.encode(2, b"x", [bytes(room)])
    data = leadership.chain.encode(2, b"x", [bytes(room - 1)])
    assert len(data) == journal.batch_bytes_max
    assert await journal.append(data, 1) == 2
    assert [len(b.bodies) for b in await collect(journal)] == [0, room - 1]


async def test_a_closed_journal_says_so(site, collect):
    journal = await site.open()
    leadership = await journal.lead("me", 1)
    await journal.aclose()
    await journal.aclose()
    data = leadership.chain.encode(2, b"late")
    for call in (
        journal.append(data, 1),
        journal.lead("me", 4),
        journal.get(1, 0, 0),
        journal.trim(1),
        collect(journal),
    ):
        with pytest.raises(JournalFailed, match="it was closed"):
            await call
