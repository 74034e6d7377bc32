"""The faults of the journal in memory, and that it runs without a loop."""

from __future__ import annotations

import asyncio

import pytest

from aioqueue.errors import AppendUnknown, Fenced, HistoryLost, JournalDamaged, JournalFailed, JournalUnavailable
from aioqueue.journal.epoch import epoch_payload
from aioqueue.journal.memory import Faults, Loss, MemoryJournal, MemoryStore


def run(coroutine):
    """Run a coroutine that must not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("it suspended")


async def everything(journal):
    return [batch.events async for batch in journal.read(0)]


def test_nothing_suspends_without_a_delay():
    journal = MemoryJournal(MemoryStore())
    leadership = run(journal.lead("me", 1))
    assert run(journal.append(leadership.chain.encode(2, b"a", [b"body"]), 1)) == 2
    assert run(journal.get(2, 0, 4)) == b"body"
    assert run(everything(journal)) == [b"me", b"a"]
    run(journal.trim(2))
    assert run(everything(journal)) == [b"a"]
    run(journal.aclose())


def test_a_refused_append_is_not_written_and_may_be_repeated():
    store = MemoryStore()
    journal = MemoryJournal(store)
    leadership = run(journal.lead("me", 1))
    data = leadership.chain.encode(2, b"a")
    journal.faults.refuse = 2
    for _ in range(2):
        with pytest.raises(JournalUnavailable):
            run(journal.append(data, 1))
        assert store.tail == 1
    assert run(journal.append(data, 1)) == 2


@pytest.mark.parametrize(("loss", "found"), [(Loss.WRITTEN, [b"me", b"a"]), (Loss.NOT_WRITTEN, [b"me"])])
def test_after_a_lost_acknowledgement_only_a_new_journal_can_tell(loss, found):
    store = MemoryStore()
    journal = MemoryJournal(store)
    leadership = run(journal.lead("me", 1))
    journal.faults.lose = loss
    data = leadership.chain.encode(2, b"a")
    with pytest.raises(AppendUnknown):
        run(journal.append(data, 1))
    for call in (journal.append(data, 1), journal.lead("me", 2), everything(journal)):
        with pytest.raises(JournalFailed, match="acknowledgement was lost"):
            run(call)
    assert run(everything(MemoryJournal(store))) == found


def test_faults_meet_the_epoch_record_too():
    store = MemoryStore()
    with pytest.raises(JournalUnavailable):
        run(MemoryJournal(store, Faults(refuse=1)).lead("me", 1))
    with pytest.raises(AppendUnknown):
        run(MemoryJournal(store, Faults(lose=Loss.WRITTEN)).lead("me", 1))
    assert run(MemoryJournal(store).lead("me", 1)).epoch == 2


def test_a_second_journal_on_the_store_fences_the_first():
    store = MemoryStore()
    old, new = MemoryJournal(store), MemoryJournal(store)
    deposed = run(old.lead("old", 1))
    leading = run(new.lead("new", 2))
    with pytest.raises(Fenced) as caught:
        run(old.append(deposed.chain.encode(3, b"late"), 1))
    assert (caught.value.epoch, caught.value.own_epoch) == (2, 1)
    assert run(new.append(leading.chain.encode(3, b"right"), 2)) == 3
    assert run(everything(old)) == [b"old", b"new", b"right"]


async def test_an_append_overtaken_by_another_leadership_is_fenced():
    store = MemoryStore()
    old, new = MemoryJournal(store), MemoryJournal(store)
    deposed = await old.lead("old", 1)
    begun, gate = asyncio.Event(), asyncio.Event()

    async def delay():
        begun.set()
        await gate.wait()

    old.faults.delay = delay
    late = asyncio.create_task(old.append(deposed.chain.encode(3, b"late"), 1))
    await begun.wait()
    await new.lead("new", 2)
    gate.set()
    with pytest.raises(Fenced):
        await late
    assert await everything(new) == [b"old", b"new"]


def filled(count=4):
    store = MemoryStore()
    journal = MemoryJournal(store)
    leadership = run(journal.lead("me", 1))
    for number in range(count):
        run(journal.append(leadership.chain.encode(1, b"%d" % number, [b"body"]), 1 + number))
    return store, journal


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda store: store.flip(3, 10), JournalDamaged),
        (lambda store: store.tear(3, 50), JournalDamaged),
        (lambda store: store.drop(3), HistoryLost),
        (lambda store: store.drop(5), HistoryLost),
        (lambda store: store.swap(2, 3), HistoryLost),
    ],
    ids=["flip", "tear", "drop", "drop the tail", "swap"],
)
def test_damage_to_the_store_is_noticed_by_a_journal_that_is_open(damage, error):
    store, journal = filled()
    damage(store)
    with pytest.raises(error):
        run(everything(journal))


def test_a_body_of_a_torn_or_dropped_batch_is_an_error():
    store, journal = filled()
    store.tear(3, 94)
    with pytest.raises(JournalDamaged):
        run(journal.get(3, 0, 4))
    store.drop(4)
    with pytest.raises(HistoryLost):
        run(journal.get(4, 0, 4))


async def test_a_deposed_leader_takes_no_next_epoch():
    store = MemoryStore()
    first, second = MemoryJournal(store), MemoryJournal(store)
    old = await first.lead("first", 7)
    new = await second.lead("second", 8)
    before = dict(store.batches)
    for expected in (1, 2):
        old.chain.position = expected
        old.chain.epoch = 1
        with pytest.raises(Fenced):
            await first.append(old.chain.renew(9, epoch_payload("first", 2)), expected)
    assert store.batches == before
    assert await second.append(new.chain.renew(10, epoch_payload("second", 2)), 2) == 3
