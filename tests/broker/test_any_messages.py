"""Valid messages of all kinds in any order, over connections that come and go: nobody's words end the broker.

What is said is allowed by the conversation and by the types, and by nothing else: ids that are there, are over or never
were, fences of others, numbers as large as they may be, specs and options that are none. Storage answers now, soon or
later. When all have left, nothing is kept of any of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from random import Random
from typing import Any, Final

import pytest
from anyio import EndOfStream

from aioqueue.broker.broker import Broker
from aioqueue.core.state import State
from aioqueue.errors import AioqueueError, PeerMisbehaved
from aioqueue.journal.memory import Faults
from aioqueue.limits import BODY_CACHE_BYTES, NUMBER_MAX
from aioqueue.model.ids import generated_id
from aioqueue.model.spec import RetryPolicy, Spec, pack_spec
from aioqueue.model.views import Block
from aioqueue.protocol import messages as m
from aioqueue.protocol.extras import Key, packed
from tests.broker.conftest import House, Running, Script, running
from tests.support.patience import eventually

TURNS: Final = 100
PEERS: Final = 6
_CLIENT, _WORKER, _HEARTBEAT = m.Role.CLIENT, m.Role.WORKER, m.Role.HEARTBEAT
_BULKS: Final = (b"1" * 16, b"2" * 16)
_BODIES: Final = (b"", b"x", b"\x01\xc0", b"\xff" * 50, b"\x01\x91\x07", bytes(3_000))
_CURSORS: Final = (b"", b"A" + bytes(24), b"L" + b"\xff" * 40, b"?")


class Talkers:
    """Peers by chance, and what they say."""

    def __init__(self, chance: Random, at: Running) -> None:
        self._chance = chance
        self._at = at
        self._state: State = at.broker.engine.partition.state
        self._fresh = 100
        self._listening: dict[Script, asyncio.Task[None]] = {}
        self._says: dict[m.Role, Callable[[Script], Any]] = {
            _CLIENT: self._client, _WORKER: self._worker, _HEARTBEAT: self._heartbeat
        }  # fmt: skip
        self._roles: dict[Script, m.Role] = {}

    async def turn(self) -> None:
        """One of them says something, leaves or comes."""
        talking = [script for script, listening in self._listening.items() if not listening.done()]
        if len(talking) < PEERS:
            await self._come()
            return
        script = self._chance.choice(talking)
        for _ in range(1 + self._below(5)):
            try:
                script.say(self._says[self._roles[script]](script))
            except PeerMisbehaved:
                # It said goodbye, or was refused.
                break
        if self._likely(0.03):
            await script.connection.aclose()
        elif self._likely(0.4):
            await asyncio.sleep(self._chance.choice((0, 0, 0, 0.01)))

    async def leave(self) -> None:
        for script in self._listening:
            await script.connection.aclose()
        await asyncio.gather(*self._listening.values())

    async def _come(self) -> None:
        script = await self._at.connect()
        role = self._chance.choice((_CLIENT, _CLIENT, _WORKER, _WORKER, _HEARTBEAT))
        secret = bytes([self._below(4 if self._likely(0.2) else 40)]) * 16
        script.say(m.Hello(1, 1, role, secret, "other" if self._likely(0.03) else "default", capabilities=7))
        try:
            welcome = await script.hear(m.Welcome)
        except (AioqueueError, EndOfStream):
            return
        if role is _WORKER and welcome.fresh:
            script.say(m.Capacity(2, ["a", "b"]))
        elif role is _WORKER:
            held = [m.HeldRun(key, self._fence(key)) for key in self._running()[:3]]
            script.say(m.Resume(script.ask(), held, [self._end() for _ in range(self._below(3))]))
        self._roles[script] = role
        self._listening[script] = asyncio.create_task(_listen(script))

    # --- words ---

    def _client(self, script: Script) -> Any:
        pick, ask = self._chance.choice, script.ask
        fresh = [self._item(fresh=True) for _ in range(self._below(4))]
        return pick((
            lambda: m.Submit(ask(), [self._item() for _ in range(self._below(4))]),
            lambda: m.Submit(ask(), [self._item() for _ in range(self._below(4))]),
            lambda: m.SubmitAtomic(ask(), [self._item() for _ in range(self._below(4))]),
            lambda: m.BulkStage(ask(), pick(_BULKS), self._below(3), fresh),
            lambda: m.BulkStage(ask(), pick(_BULKS), self._below(3), fresh),
            lambda: m.BulkCommit(ask(), pick(_BULKS), self._below(3), self._id()),
            lambda: m.BulkDrop(pick(_BULKS)),
            lambda: m.Wait([self._id() for _ in range(self._below(4))]),
            lambda: m.GetJob(ask(), self._id(), self._likely(0.5)),
            lambda: m.FindJobs(
                ask(), [self._below(12)], pick(("", "a")), "", self._number(), pick(_CURSORS), self._number(),
                self._number(), pick(("", "01", "zz", self._id().hex())), pick(("", "x", ": ")), self._likely(0.3),
            ),
            lambda: m.CancelJob(ask(), self._id(), pick(("", "why"))),
            lambda: m.CancelJob(ask(), self._id()),
            lambda: m.RetryJob(ask(), self._id(), pick((0, 1, 2, NUMBER_MAX))),
            lambda: m.Watch(self._likely(0.3)),
            lambda: m.ReadBackup(ask(), self._below(2)),
            lambda: m.Goodbye() if self._likely(0.2) else m.Ping(self._number()),
        ))()  # fmt: skip

    def _worker(self, script: Script) -> Any:
        if self._likely(0.4):
            return m.Capacity(self._below(4), self._chance.sample("abc", self._below(4)))
        return m.Settle(script.ask(), [self._end() for _ in range(self._below(4))])

    def _heartbeat(self, script: Script) -> Any:
        if self._likely(0.05):
            return m.WorkerDied("x", self._number(), self._likely(0.3))
        block = Block(self._id(), "task", "app.py:1", self._number()) if self._likely(0.5) else None
        return m.Beat(self._number(), block, self._number())

    def _item(self, fresh: bool = False) -> m.SubmitItem:
        chance = self._chance
        fresh = fresh or self._likely(0.5)
        self._fresh += fresh
        flags = 0 if fresh else int(m.SubmitFlag.RESEND)
        flags |= int(m.SubmitFlag.WANT_RESULT) if self._likely(0.3) else 0
        namespace, queue = "other" if self._likely(0.03) else "default", chance.choice("ab")
        retry = RetryPolicy(attempts=chance.choice((1, 2)), base_ms=chance.choice((0, 5)))
        spec = pack_spec(Spec(namespace, queue, "task", chance.choice((1, 5)), keep_ms=self._below(3) - 1, retry=retry))
        extra: m.Extra | None = None
        if self._likely(0.4):
            times = (1, 50, 10**6)
            parent = {Key.PARENT: self._id(), Key.INHERIT: True} if self._likely(0.4) else {}
            extra = packed({Key.EXPIRES: chance.choice(times), Key.DEADLINE: chance.choice(times), **parent})
        if self._likely(0.03):
            extra, spec = {self._below(20): os.urandom(9)}, chance.choice((spec, b"?"))
        key = _id_of(queue, self._fresh if fresh else self._below(6))
        return m.SubmitItem(
            key, spec, chance.choice(_BODIES), flags, self._below(3), 0, chance.choice((b"", b"x")), "", extra
        )

    def _end(self) -> m.SettleItem:
        running = self._running()
        key = self._chance.choice(running) if running and self._likely(0.7) else self._id()
        end = self._chance.choice(list(m.RunEnd))
        return m.SettleItem(key, self._fence(key), end, self._chance.choice(_BODIES), self._likely(0.6))

    def _running(self) -> list[bytes]:
        return [key for session in self._state.sessions.values() for key in session.leases]

    def _fence(self, key: bytes) -> int:
        job = self._state.jobs.get(key)
        return job.fence if job is not None and self._likely(0.8) else self._number()

    def _id(self) -> bytes:
        recent = range(max(100, self._fresh - 6), self._fresh + 1)
        return _id_of(self._chance.choice("ab"), self._chance.choice((self._below(6), *recent)))

    def _number(self) -> int:
        return self._chance.choice((0, 1, 2, 1_000, NUMBER_MAX))

    def _below(self, end: int) -> int:
        return self._chance.randrange(end)

    def _likely(self, chance: float) -> bool:
        return self._chance.random() < chance


def _id_of(queue: str, number: int) -> bytes:
    return generated_id("default", queue, 1_700_000_000_000, number.to_bytes(8, "big"))


async def _listen(script: Script) -> None:
    try:
        while True:
            await script.connection.receive()
    except (AioqueueError, EndOfStream):
        return


def _answers_by_chance(chance: Random, archive: Any) -> Faults:
    """Storage that answers at once, in the next turn of the loop, or later."""

    async def delay() -> None:
        for _ in range(chance.choice((0, 1, 1, 1, 20))):
            await asyncio.sleep(0)

    def delayed(ask: Any) -> Any:
        async def answer(*question: Any) -> Any:
            await delay()
            found = await ask(*question)
            await delay()
            return found

        return answer

    for name in ("get", "runs", "write", "page"):
        setattr(archive, name, delayed(getattr(archive, name)))
    return Faults(delay=delay)


def _kept_of_peers(broker: Broker) -> list[int]:
    engine, crowd, overlay = broker.engine, broker.services.crowd, broker.overlay
    lines = (engine.work, engine.clients)
    return [
        len(crowd), crowd.outbox_bytes, crowd.clients.size, crowd.workers.size, len(broker.services.waiters),
        *(len(line.entries) + line.aside + len(line.reads) for line in lines),
        len(engine._looked), len(engine._parked), len(overlay._pins), len(overlay._pinned_rows),
    ]  # fmt: skip


@pytest.mark.parametrize(("seed", "body_cache_bytes"), [(1, 0), (2, BODY_CACHE_BYTES), (3, 0)])
async def test_no_words_of_anybody_end_the_broker(
    seed: int, body_cache_bytes: int, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    chance = Random(seed)
    faults = _answers_by_chance(chance, house.archive)
    async with running(house, faults, body_cache_bytes=body_cache_bytes) as at:
        talkers = Talkers(chance, at)
        for _ in range(TURNS):
            await talkers.turn()
        await talkers.leave()
        await eventually(lambda: not any(_kept_of_peers(at.broker)))
        held, state = at.broker.bodies, at.broker.engine.partition.state
        assert set(held._held) | set(held._ahead) <= set(state.jobs)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
