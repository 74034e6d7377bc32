"""The log states its format level before the first batch that needs it, and a level that is not known is refused.

`tests.support.later` makes this program the release after it, which has an event of a level of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aioqueue.archive.memory import MemoryArchive
from aioqueue.broker.broker import Broker
from aioqueue.broker.storage import JournalBounds, Storage
from aioqueue.clock import SystemClock
from aioqueue.core.records import decode_events, encode_events
from aioqueue.errors import AppendUnknown, JournalNewer
from aioqueue.ground import Ground
from aioqueue.journal.base import Journal
from aioqueue.journal.batch import Batch, BatchKind
from aioqueue.journal.epoch import epoch_payload, stated_level
from aioqueue.journal.memory import Faults, Loss, MemoryJournal, MemoryStore
from aioqueue.journal.sqlite import SqliteJournal
from tests.support.churn import churn
from tests.support.later import LATER, TODAY, Mark, Marked, later


class House:
    """A journal that outlives its brokers."""

    def __init__(self, path: Path | None) -> None:
        self.store = MemoryStore()
        self._path = path

    async def journal(self, faults: Faults | None = None) -> Journal:
        if self._path is None:
            return MemoryJournal(self.store, faults)
        return await SqliteJournal.open(self._path, SystemClock())

    @asynccontextmanager
    async def broker(self, faults: Faults | None = None, bounds: JournalBounds | None = None) -> AsyncIterator[Broker]:
        async def archive(journal_id: bytes) -> MemoryArchive:
            return MemoryArchive()

        journal = await self.journal(faults)
        async with Broker.open(Storage("j", journal, archive, bounds=bounds), ground=Ground()) as broker:
            yield broker

    async def batches(self) -> list[Batch]:
        journal = await self.journal()
        read = [batch async for batch in journal.read(0)]
        await journal.aclose()
        return read

    async def told(self) -> list[Any]:
        """The level of each epoch record, and the marks of each batch."""
        return [
            stated_level(batch.events, "j", batch.position)
            if batch.kind is BatchKind.EPOCH
            else [event.text for event in decode_events(batch.events, "j") if isinstance(event, Marked)]
            for batch in await self.batches()
        ]


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    return House(None if request.param == "memory" else tmp_path / "jobs.db")


async def mark(broker: Broker, *texts: str) -> list[int]:
    """Have these marked, in one batch if they fit; the positions at which that was answered."""
    answered: list[int] = []
    done = asyncio.Event()

    def answer(asker: Any, question: Any, reply: Any) -> None:
        assert reply == "marked"
        answered.append(broker.engine.position)
        if len(answered) == len(texts):
            done.set()

    for text in texts:
        broker.engine.post(Mark(text), answer)  # type: ignore[arg-type]
    await done.wait()
    return answered


async def test_the_first_use_of_a_level_is_stated_before_its_batch(
    storage: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = later(monkeypatch)
    async with storage.broker() as broker:
        epoch = broker.engine.epoch
        assert await mark(broker, "a", "b") == [3, 3]
        assert broker.engine.epoch == epoch + 1
        assert await mark(broker, "c") == [4]
    assert await storage.told() == [1, LATER, ["a", "b"], ["c"]]
    assert marks == ["a", "b", "c"]
    assert all(not batch.bodies or batch.bodies.count(b"beside it") for batch in await storage.batches())


async def test_who_leads_later_states_the_level_that_the_log_needs(
    storage: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = later(monkeypatch, highest=LATER + 1)
    for texts in ((), ("a",), (), ("b",)):
        async with storage.broker() as broker:
            if texts:
                await mark(broker, *texts)
    assert await storage.told() == [1, 1, LATER, ["a"], LATER, LATER, ["b"]]
    assert marks == ["a", "a", "a", "b"]


async def test_a_log_that_uses_nothing_new_states_no_level(storage: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with storage.broker():
        pass
    today = [batch.events for batch in await storage.batches()]
    later(monkeypatch)
    async with storage.broker():
        pass
    assert [batch.events for batch in await storage.batches()] == today * 2


@pytest.mark.parametrize("lost", [Loss.WRITTEN, Loss.NOT_WRITTEN])
async def test_a_crash_between_the_record_and_the_batch_loses_neither(
    monkeypatch: pytest.MonkeyPatch, lost: Loss
) -> None:
    storage, marks = House(None), later(monkeypatch)
    faults = Faults()
    appended = asyncio.Event()

    async def second() -> None:
        # The record is an append of its own: the batch behind it is the one whose fate is lost.
        if not appended.is_set():
            appended.set()
            faults.lose = lost

    async def crash() -> None:
        async with storage.broker(faults) as broker:
            faults.delay = second
            broker.engine.post(Mark("a"), lambda *_: None)  # type: ignore[arg-type]
            await asyncio.Event().wait()

    with pytest.raises(AppendUnknown):
        await crash()
    batch = [["a"]] if lost is Loss.WRITTEN else []
    assert await storage.told() == [1, LATER, *batch]
    marks.clear()
    async with storage.broker() as broker:
        await mark(broker, "b")
    assert await storage.told() == [1, LATER, *batch, LATER, ["b"]]
    assert marks == [*(["a"] if batch else []), "b"]


async def test_a_kill_between_the_record_and_the_batch_leaves_a_file_that_is_led_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, marks = House(tmp_path / "jobs.db"), later(monkeypatch)
    journal = await storage.journal()
    leadership = await journal.lead("killed", 7)
    await journal.append(leadership.chain.renew(8, epoch_payload("killed", LATER)), 1)
    await journal.aclose()
    async with storage.broker() as broker:
        assert broker.engine.partition.level == LATER
        assert await mark(broker, "a") == [4]
    assert (await storage.told(), marks) == ([1, LATER, LATER, ["a"]], ["a"])


async def test_a_level_that_is_not_known_is_refused_by_its_name_before_anything_is_written(
    storage: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        later(patched)
        async with storage.broker() as broker:
            await mark(broker, "a")
    before = await storage.batches()
    with pytest.raises(JournalNewer) as refused:
        async with storage.broker():
            pass
    assert (refused.value.found, refused.value.known) == (f"level {LATER}", f"level {TODAY}")
    assert await storage.batches() == before


async def test_a_log_that_was_cut_behind_its_record_names_the_level_all_the_same(
    storage: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        later(patched)
        async with storage.broker() as broker:
            await mark(broker, "a")
            broker.engine.restate_level(broker.engine.position)
            await mark(broker, "b")
    assert [batch.epoch for batch in await storage.batches()] == [1, 2, 2, 3, 3]
    journal = await storage.journal()
    await journal.lead("cutter", 7, LATER)
    await journal.trim(3)
    await journal.aclose()
    with pytest.raises(JournalNewer) as refused:
        async with storage.broker():
            pass
    assert (refused.value.found, refused.value.known) == (f"level {LATER}", f"level {TODAY}")


async def test_a_log_that_is_cut_still_states_its_level(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = House(None)
    later(monkeypatch)
    async with storage.broker(bounds=JournalBounds(32_000)) as broker:
        await mark(broker, "a")
        number = 0
        while storage.store.first <= 10:
            await churn(broker, range(number, number + 20))
            number += 20
    told = await storage.told()
    assert LATER in told
    assert "a" not in [text for marks in told if isinstance(marks, list) for text in marks]
    async with storage.broker() as broker:
        assert broker.engine.partition.level == LATER


async def test_the_level_of_a_log_is_known_from_its_batches_where_no_record_states_it(
    storage: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch)
    journal = await storage.journal()
    leadership = await journal.lead("whoever states nothing", 7)
    await journal.append(leadership.chain.encode(8, encode_events([Marked("a")])), 1)  # type: ignore[list-item]
    await journal.aclose()
    async with storage.broker() as broker:
        assert broker.engine.partition.level == LATER
