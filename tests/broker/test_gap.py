"""Time in which the broker stood still is no time in which a session was silent, wherever in its loop it stood."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from aioqueue.broker.line import Query
from aioqueue.clock import ManualClock
from aioqueue.journal.memory import Faults
from aioqueue.protocol import messages as m
from tests.broker.conftest import House, Running, Script, item, running
from tests.support.patience import eventually

TTL_MS = 3_000
GAP_MS = 10 * TTL_MS


class Stall:
    """A broker with a worker that holds a run, and a client whose submit is being appended."""

    def __init__(self, at: Running, clock: ManualClock, worker: Script, client: Script, faults: Faults) -> None:
        self.at, self.clock, self.worker, self.client, self._faults = at, clock, worker, client, faults
        self._gate = asyncio.Event()
        self._entered = asyncio.Event()

    async def _wait(self) -> None:
        self._entered.set()
        await self._gate.wait()

    async def begin(self) -> None:
        """An append begins that does not come back."""
        self._faults.delay = self._wait
        self.client.say(m.Submit(self.client.ask(), [item()]))
        await self._entered.wait()

    async def end(self) -> None:
        """It comes back."""
        self._faults.delay = None
        self._gate.set()
        await self.client.hear(m.Submitted)

    @property
    def leases(self) -> int:
        return sum(len(session.leases) for session in self.at.broker.engine.partition.state.sessions.values())

    @property
    def crashes(self) -> int:
        return sum(job.crashes for job in self.at.broker.engine.partition.state.jobs.values())

    async def turn(self) -> None:
        """One more batch from end to end."""
        await self.client.submit(item("elsewhere"))

    async def pass_quietly(self, ms: int) -> None:
        """Time passes in which the broker runs, and nobody but the client says anything."""
        while ms > 0:
            step_ms = min(ms, TTL_MS // 10)
            self.clock.advance(step_ms)
            await self.turn()
            ms -= step_ms


@asynccontextmanager
async def stalling(house: House) -> AsyncIterator[Stall]:
    clock, faults = ManualClock(), Faults()
    async with running(house, faults, session_ttl_ms=TTL_MS, clock=clock) as at:
        worker, client = await at.worker(1), await at.peer()
        await client.submit(item())
        await worker.runs()
        yield Stall(at, clock, worker, client, faults)


@pytest.mark.parametrize("waiting", [False, True], ids=["nobody waits", "commands wait"])
async def test_no_session_ends_by_an_append_that_stalls(house: House, waiting: bool) -> None:
    async with stalling(house) as stall:
        await stall.begin()
        stall.clock.advance(GAP_MS)
        if waiting:
            # Then the engine does not rest before its next batch.
            stall.client.say(m.Submit(stall.client.ask(), [item()]))
            await eventually(lambda: stall.at.broker.engine.clients.entries)
        await stall.end()
        await stall.turn()
        assert (stall.leases, stall.crashes) == (1, 0)


async def test_no_session_ends_by_a_stop_of_the_process_between_batches_under_load(house: House) -> None:
    async with stalling(house) as stall:
        for _ in range(3):
            stall.client.say(m.Submit(stall.client.ask(), [item("elsewhere")]))
            stall.clock.advance(GAP_MS)
            await stall.turn()
        assert (stall.leases, stall.crashes) == (1, 0)


@pytest.mark.parametrize("stop_ms", [50, TTL_MS // 4, TTL_MS // 3, TTL_MS // 2, 2 * TTL_MS])
async def test_no_session_ends_whose_word_lay_unread_at_its_deadline(house: House, stop_ms: int) -> None:
    """However short the stop across the deadline is."""
    async with stalling(house) as stall:
        await stall.pass_quietly(TTL_MS - 20)
        # From here to the engine's next batch nothing runs that would read it, as in a process that is stopped.
        stall.worker.say(m.Ping(1))
        stall.clock.advance(stop_ms)
        stall.at.broker.engine.post(Query(lambda: None), lambda *answer: None)
        await stall.worker.hear(m.Pong)
        await stall.turn()
        assert (stall.leases, stall.crashes) == (1, 0)


async def test_a_session_without_a_word_ends_by_its_deadline(house: House) -> None:
    async with stalling(house) as stall:
        await stall.pass_quietly(TTL_MS - 20)
        assert stall.leases == 1
        # The looks at all sessions come ten times a ttl.
        await stall.pass_quietly(20 + TTL_MS // 10)
        assert (stall.leases, stall.crashes) == (0, 1)


async def test_silence_that_is_no_gap_still_ends_a_session_after_one(house: House) -> None:
    async with stalling(house) as stall:
        await stall.begin()
        stall.clock.advance(GAP_MS)
        await stall.end()
        for _ in range(20):
            stall.clock.advance(TTL_MS // 10)
            await stall.turn()
        assert stall.leases == 0


async def test_the_dead_are_noticed_on_a_disk_that_is_always_slow_and_the_living_are_not(house: House) -> None:
    """Each append takes longer than a heartbeat, and there is always another one."""
    faults, ttl_ms = Faults(), 300
    async with running(house, faults, session_ttl_ms=ttl_ms) as at:
        dead, living, client = await at.worker(1, "dead"), await at.worker(1, "living"), await at.peer()
        await client.submit(item("dead"), item("living"))
        await dead.runs()
        await living.runs()
        faults.delay = partial(asyncio.sleep, ttl_ms / 2 / 1000)
        sessions = at.broker.engine.partition.state.sessions

        async def beat() -> None:
            while True:
                living.say(m.Ping())
                client.say(m.Submit(client.ask(), [item("elsewhere")]))
                await asyncio.sleep(ttl_ms / 10 / 1000)

        beating = asyncio.create_task(beat())
        await eventually(lambda: sum(len(session.leases) for session in sessions.values()) == 1)
        beating.cancel()
        assert {session.number for session in sessions.values() if session.leases} == {living.welcome.session}  # type: ignore[attr-defined]


async def test_a_gap_is_forgiven_once(house: House) -> None:
    """The deadline moves by the gap and no further: a session that was nearly silent for too long still is."""
    async with stalling(house) as stall:
        for _ in range(7):
            stall.clock.advance(TTL_MS // 10)
            await stall.turn()
        await stall.begin()
        stall.clock.advance(GAP_MS)
        await stall.end()
        for _ in range(5):
            stall.clock.advance(TTL_MS // 10)
            await stall.turn()
        assert stall.leases == 0
