"""The log of a real broker stays within its bound, and whatever it was cut by, a start goes on from what is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aioqueue.archive.memory import MemoryArchive
from aioqueue.broker.broker import Broker
from aioqueue.broker.disk import DiskWatch
from aioqueue.broker.opening import open_broker
from aioqueue.broker.span import LogSpan
from aioqueue.broker.storage import JournalBounds, Storage
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.invariants import check_state
from aioqueue.core.levels import KNOWN
from aioqueue.core.places import unpack_place
from aioqueue.core.records import decode_events, encode_events
from aioqueue.core.state import living_bytes
from aioqueue.errors import HistoryLost, JournalDamaged
from aioqueue.ground import Ground
from aioqueue.journal.batch import HEADER_BYTES, BatchKind
from aioqueue.journal.memory import MemoryJournal, MemoryStore
from aioqueue.limits import CARRY_AHEAD_ITEMS, CARRY_ITEMS_MAX, HOME_POSITIONS, SEGMENTS_A_BOUND
from aioqueue.model.states import JobState
from aioqueue.transport.address import SqliteAddress
from tests.support.churn import ask, churn
from tests.support.patience import eventually
from tests.support.scene import NAMESPACE, job_id, new_job

BOUND = 32_000
BOUNDS = JournalBounds(BOUND)


class Land:
    """Storage that outlives its brokers: journal and archive in memory, and a copy of all that was ever appended."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.archive = MemoryArchive()
        self.number = 0

    @asynccontextmanager
    async def broker(self, bound: JournalBounds | None = BOUNDS) -> AsyncIterator[Broker]:
        async def archive(journal_id: bytes) -> MemoryArchive:
            return self.archive

        journal = MemoryJournal(self.store)
        opening = Broker.open(Storage("memory:", journal, archive, bounds=bound), ground=Ground())
        async with opening as broker:
            yield broker

    async def churn(self, broker: Broker, count: int, *, living: bool = False, size: int = 300) -> None:
        """Jobs come and go, one batch each; those that stay are submitted `living`."""
        first, self.number = self.number + 1, self.number + count
        await churn(broker, range(first, first + count), living=living, size=size)


def alive(broker: Broker) -> dict[str, Any]:
    """What the journal must give again; where it stands changes by itself."""
    return {part: what for part, what in broker.engine.partition.state.journaled_part().items() if part != "homes"}


async def settled(broker: Broker) -> None:
    """Until the log is within its bound, or can get no shorter without another append."""
    span = broker.engine.span
    bound = max(BOUND, 2 * living_bytes(broker.engine.partition.state)) + 3 * segment(broker)
    await eventually(lambda: span.log_bytes <= bound)


def segment(broker: Broker) -> int:
    """Segments begin where homes are counted, so they may be some batches longer than they should."""
    return broker.engine.span.segment_bytes + HOME_POSITIONS * 1_200


def stored(land: Land) -> int:
    return sum(map(len, land.store.batches.values()))


async def test_the_log_of_jobs_that_come_and_go_stays_within_its_bound() -> None:
    land = Land()
    async with land.broker() as broker:
        for _ in range(8):
            await land.churn(broker, 40)
            await settled(broker)
        assert broker.engine.span.written_bytes > 6 * BOUND
        assert stored(land) == broker.engine.span.log_bytes
        state = broker.engine.partition.state
        assert state.base == land.store.first > 100
        # Nothing lived: so nothing was carried, only the base moved.
        kinds = [type(event) for event in events(land)]
        assert e.BaseMoved in kinds
        assert e.JobCarried not in kinds


async def test_registered_tasks_are_carried_and_known_to_every_later_broker() -> None:
    land = Land()
    async with land.broker() as broker:
        tasks = [c.DescribedTask(f"t{number}", bytes([number]), bytes(200)) for number in range(20)]
        for task in tasks:
            await ask(broker, c.SetTasks(NAMESPACE, [task], 0))
            await land.churn(broker, 1)
        while land.store.first <= 60:
            await land.churn(broker, 20)
        assert check_state(broker.engine.partition.state) == []
        known = alive(broker)
    assert len(known["tasks"]) == 20
    for _ in range(2):
        async with land.broker() as broker:
            assert alive(broker)["tasks"] == known["tasks"]
            assert (broker.engine.partition.level, broker.engine.partition.state.partial) == (KNOWN.highest, False)


def events(land: Land) -> list[Any]:
    found: list[Any] = []
    for data in land.store.batches.values():
        header_events = int.from_bytes(data[64:68], "big")
        if data[5] == BatchKind.EVENTS:
            found += decode_events(data[HEADER_BYTES : HEADER_BYTES + header_events], "test")
    return found


async def test_jobs_that_stay_are_carried_and_found_again_by_the_next_broker() -> None:
    land = Land()
    async with land.broker() as broker:
        await land.churn(broker, 20, living=True)
        for _ in range(6):
            await land.churn(broker, 40)
            await settled(broker)
        assert land.store.first > HOME_POSITIONS * 2
        before = alive(broker)
        assert len(before["jobs"]) == 20
        assert check_state(broker.engine.partition.state, settled=False) == []
    async with land.broker() as broker:
        state = broker.engine.partition.state
        assert alive(broker) == before
        assert check_state(state, settled=False) == []
        assert broker.engine.span.log_bytes == stored(land)
        session, _ = await ask(broker, c.OpenSession(b"w", NAMESPACE, "w"))
        await ask(broker, c.OfferCapacity(session, 3, ("default",)))
        # First come, first served, after all that.
        assert [job_id(number) for number in (1, 2, 3)] == list(state.sessions[session].leases)
        assert [bytes([number]) * 300 for number in (1, 2, 3)] == [await body_of(land, state, n) for n in (1, 2, 3)]


async def test_a_bulk_that_stays_open_is_carried_and_can_be_committed_at_the_next_broker() -> None:
    land = Land()
    bulk = b"b" * 16
    async with land.broker() as broker:
        for part, number in enumerate((9_001, 9_002)):
            await ask(broker, c.StageBulk(bulk, NAMESPACE, part, [new_job(number)]))
        while land.store.first <= HOME_POSITIONS:
            await land.churn(broker, 40)
            await settled(broker)
        before = alive(broker)
        assert list(before["bulks"]) == [bulk]
    async with land.broker() as broker:
        state = broker.engine.partition.state
        assert alive(broker) == before
        await ask(broker, c.CommitBulk(bulk, NAMESPACE, 2, job_id(9_001)))
        await eventually(lambda: not state.bulks)
        assert {job.state for job in state.jobs.values()} == {JobState.READY}


async def test_what_is_carried_keeps_pace_with_what_is_appended_in_large_batches() -> None:
    land = Land()
    async with land.broker() as broker:
        jobs = [new_job(number, delay_ms=3_600_000) for number in range(10_000, 10_900)]
        await ask(broker, c.SubmitJobs(jobs))
        state = broker.engine.partition.state
        for _ in range(12):
            await land.churn(broker, 1, size=100_000)
        first = {job.home for job in state.jobs.values()}
        while min(job.home for job in state.jobs.values()) in first:
            await land.churn(broker, 1, size=100_000)
        carried = Counter(job.home for job in state.jobs.values())
        assert CARRY_ITEMS_MAX < max(carried.values()) <= CARRY_AHEAD_ITEMS


async def test_a_base_moves_on_while_the_rows_below_an_older_one_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    land = Land()
    deleted = asyncio.Event()
    real = MemoryJournal.trim

    async def trim(self: MemoryJournal, before: int, keep_bytes: int = 0) -> None:
        await deleted.wait()
        await real(self, before, keep_bytes)

    monkeypatch.setattr(MemoryJournal, "trim", trim)
    async with land.broker() as broker:
        state = broker.engine.partition.state
        for _ in range(4):
            await land.churn(broker, 40)
            await settled(broker)
        assert land.store.first == 1 < state.base
        deleted.set()
        await eventually(lambda: land.store.first == state.base)


async def body_of(land: Land, state: Any, number: int) -> bytes:
    job = state.jobs[job_id(number)]
    place = unpack_place(job.place)
    return await MemoryJournal(land.store).get(job.home, place.offset, place.length)


async def test_at_most_half_of_what_is_written_is_carried() -> None:
    land = Land()
    written = carried = 0
    async with land.broker() as broker:
        # More lives than the bound: the log is as long as twice that.
        await land.churn(broker, 120, living=True, size=600)
        for _ in range(12):
            await land.churn(broker, 40, size=100)
            await settled(broker)
        assert broker.compactor is not None
        carried = broker.compactor._carried_bytes
        written = broker.engine.span.written_bytes
        live = living_bytes(broker.engine.partition.state)
        assert broker.engine.span.log_bytes <= 3 * live + segment(broker)
    assert carried > live, "everything was carried at least once"
    assert written <= 2 * (written - carried)
    # What is counted as carried is no less than the bytes that carrying took.
    records = [event for event in events(land) if isinstance(event, e.JobCarried | e.SessionCarried | e.BaseMoved)]
    taken = sum(len(encode_events([event])) + getattr(event, "body_bytes", 0) for event in records)
    assert taken <= carried


async def test_nothing_is_cut_that_the_archive_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    land = Land()
    gate = asyncio.Event()
    write = MemoryArchive.write

    async def slow(self: MemoryArchive, *arguments: Any) -> None:
        await gate.wait()
        await write(self, *arguments)

    monkeypatch.setattr(MemoryArchive, "write", slow)
    async with land.broker() as broker:
        await land.churn(broker, 160)
        assert broker.engine.span.log_bytes > 2 * BOUND
        assert (land.store.first, broker.engine.partition.state.base) == (1, 1)
        gate.set()
        await settled(broker)
        # The base moves first, and the trim follows.
        await eventually(lambda: land.store.first > 1)
        assert land.store.first <= land.archive.synced + 1


async def test_a_broker_that_died_between_the_record_of_a_base_and_the_trim_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    land = Land()

    async def nothing(self: MemoryJournal, before: int, keep_bytes: int = 0) -> None:
        """It died before."""

    with monkeypatch.context() as patch:
        patch.setattr(MemoryJournal, "trim", nothing)
        async with land.broker() as broker:
            await land.churn(broker, 10, living=True)
            await land.churn(broker, 80)
            await settled(broker)
            before = alive(broker)
            base = broker.engine.partition.state.base
    assert base > land.store.first == 1
    async with land.broker() as broker:
        assert alive(broker) == before
        await eventually(lambda: land.store.first == base)


async def test_a_log_without_its_beginning_is_refused() -> None:
    land = Land()
    async with land.broker(None) as broker:
        await land.churn(broker, 5, living=True)
    for position in (1, 2, 3):
        land.store.drop(position)
    land.store.first, land.store.before = 4, land.store.batches[4][40:56]
    with pytest.raises(JournalDamaged, match="begins at batch 4, and no batch says"):
        async with land.broker():
            pass


async def test_an_older_archive_beside_a_log_that_was_cut_is_refused_and_a_new_one_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    land = Land()
    async with land.broker() as broker:
        await land.churn(broker, 120)
        await settled(broker)
    older = MemoryArchive()
    await older.write([], [], [], 3)
    land.archive = older
    with pytest.raises(HistoryLost, match="archive ends at position 3"):
        async with land.broker():
            pass
    land.archive = MemoryArchive()
    async with land.broker() as broker:
        await land.churn(broker, 3)
    assert "the archive is new" in caplog.text


async def test_the_file_gives_back_what_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    land = Land()
    async with open_broker(
        SqliteAddress(str(path)), ground=Ground(), bounds=JournalBounds(512_000, history_bytes=0)
    ) as broker:
        for _ in range(12):
            await land.churn(broker, 12, size=200_000)
            await eventually(lambda: broker.engine.span.log_bytes < 24 * 200_000)
        assert broker.engine.span.written_bytes > 28_000_000
    # The log, and the free pages that are kept for what comes.
    assert path.stat().st_size < 14_000_000


async def test_history_is_given_up_as_soon_as_the_disk_is_low(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [2_000]
    monkeypatch.setattr("aioqueue.broker.opening.DiskWatch", partial(DiskWatch, free=lambda paths: free[0]))
    monkeypatch.setattr("aioqueue.broker.broker.DISK_LOOK_SECONDS", 0.01)
    path = tmp_path / "jobs.db"
    land = Land()
    address = SqliteAddress(str(path))
    async with open_broker(address, ground=Ground(), bounds=JournalBounds(512_000), disk_reserve=1_000) as broker:
        for _ in range(7):
            await land.churn(broker, 12, size=200_000)
            await eventually(lambda: broker.engine.span.log_bytes < 24 * 200_000)
        assert path.stat().st_size > 12_000_000
        free[0] = 900
        await eventually(lambda: path.stat().st_size < 10_000_000)
        assert broker.compactor is not None
        assert broker.compactor.scarce
        free[0] = 2_000
        await eventually(lambda: broker.room is not None and broker.room.low is None)
    async with open_broker(address, ground=Ground()) as broker:
        assert broker.recovered.batches > 0


def test_segments_begin_where_homes_are_counted() -> None:
    span = LogSpan(SEGMENTS_A_BOUND * 100)
    for position in range(5, 5 + 4 * HOME_POSITIONS):
        span.add(position, 10)
    assert span.second is not None
    assert span.second % HOME_POSITIONS == 0
    assert span.cut(span.second - 1) == 0
    gone = span.cut(span.second)
    assert gone >= 100
    assert span.log_bytes == 4 * HOME_POSITIONS * 10 - gone
    assert span.written_bytes == 4 * HOME_POSITIONS * 10


def test_the_only_segment_is_never_cut() -> None:
    span = LogSpan(SEGMENTS_A_BOUND)
    span.add(1, 1_000)
    assert span.second is None
    assert span.cut(99) == 0
