"""Connections that say nothing: which are closed, and which are not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import EndOfStream

from aioqueue.broker.silence import Silences
from aioqueue.errors import ConnectionLost
from aioqueue.limits import HEARTBEATS_A_TTL
from aioqueue.protocol import messages as m
from tests.broker.conftest import House, Script, item, running
from tests.support.patience import eventually

TTL_MS = 300


class Wire:
    """A connection as far as it can be silent."""

    def __init__(self) -> None:
        self.received_bytes = 0
        self.listening = True


def test_a_connection_is_silent_after_a_whole_ttl_and_not_before() -> None:
    silences, wire = Silences[Wire](), Wire()
    for _ in range(HEARTBEATS_A_TTL):
        assert silences.look([wire]) == []
    assert silences.look([wire]) == [wire]


def test_one_byte_is_a_word() -> None:
    silences, wire = Silences[Wire](), Wire()
    for _ in range(10):
        for _ in range(HEARTBEATS_A_TTL):
            assert silences.look([wire]) == []
        wire.received_bytes += 1


def test_who_is_not_read_is_not_silent() -> None:
    silences, wire = Silences[Wire](), Wire()
    wire.listening = False
    for _ in range(3 * HEARTBEATS_A_TTL):
        assert silences.look([wire]) == []


def test_a_connection_that_ended_is_forgotten() -> None:
    silences, wire = Silences[Wire](), Wire()
    for _ in range(HEARTBEATS_A_TTL):
        silences.look([wire])
    silences.look([])
    assert silences.look([wire]) == []


@asynccontextmanager
async def pinging(*scripts: Script) -> AsyncIterator[None]:
    """These say something all the time."""

    async def ping() -> None:
        while True:
            for script in scripts:
                script.say(m.Ping(1))
            await asyncio.sleep(TTL_MS / 1000 / 10)

    task = asyncio.create_task(ping())
    try:
        yield
    finally:
        task.cancel()


async def closed(script: Script) -> str:
    """Wait for the end of its connection; what the broker said last of it."""
    farewell = ""
    try:
        while True:
            for message in await script.connection.receive():
                farewell = message.reason if isinstance(message, m.Closing) else farewell
    except (EndOfStream, ConnectionLost):
        return farewell


async def test_a_worker_of_which_only_heartbeats_are_heard_is_asked_to_connect_again(house: House) -> None:
    secret = os.urandom(16)
    async with running(house, session_ttl_ms=TTL_MS) as at:
        worker = await at.worker(1, secret=secret)
        client = await at.peer()
        heartbeat = await at.peer(m.Role.HEARTBEAT, secret)
        async with pinging(heartbeat, client):
            await client.submit(item())
            (run,) = await worker.runs()
            assert await closed(worker) == f"nothing came over this connection for {TTL_MS} ms"
            again = await at.peer(m.Role.WORKER, secret)
            # The session and its lease went on meanwhile.
            assert not again.welcome.fresh  # type: ignore[attr-defined]
            again.say(m.Resume(again.ask(), [m.HeldRun(run.job, run.fence)], []))
            assert (await again.hear(m.Resumed)).verdicts == [m.Verdict.KEEP]


async def test_heartbeats_that_stop_are_noticed_while_the_data_passes(house: House) -> None:
    secret = os.urandom(16)
    async with running(house, session_ttl_ms=TTL_MS) as at:
        worker = await at.worker(1, secret=secret)
        heartbeat = await at.peer(m.Role.HEARTBEAT, secret)
        async with pinging(worker):
            await closed(heartbeat)
            again = await at.peer(m.Role.HEARTBEAT, secret)
            assert not again.welcome.fresh  # type: ignore[attr-defined]


async def test_a_heartbeat_without_a_session_that_says_nothing_is_closed(house: House) -> None:
    async with running(house, session_ttl_ms=TTL_MS) as at:
        await closed(await at.peer(m.Role.HEARTBEAT, os.urandom(16)))


async def test_a_client_that_says_nothing_is_closed_and_its_session_ends(house: House) -> None:
    secret = os.urandom(16)
    async with running(house, session_ttl_ms=TTL_MS) as at:
        await closed(await at.peer(secret=secret))
        async with asyncio.timeout(60):
            # Connection and session end by clocks of their own; the later of them may still be to come.
            while not (again := await at.peer(secret=secret)).welcome.fresh:  # type: ignore[attr-defined]
                await closed(again)


async def test_the_session_of_a_connection_that_the_broker_does_not_read_is_heard_of(house: House) -> None:
    async with running(house, session_ttl_ms=TTL_MS) as at:
        await at.peer()
        [peer] = at.broker.services.seats.present
        link = at.broker.engine.partition.state.sessions[peer.session].link
        peer.reading = False
        for _ in range(3):
            heard_ms = link.heard_ms
            # It says nothing itself: whoever looks after those that are not read says it in its place.
            await eventually(lambda before=heard_ms: link.heard_ms > before)
