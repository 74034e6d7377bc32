"""A broker that is stopped in good order: who has asked is answered, and everybody is told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from anyio import EndOfStream

from aioqueue.archive.base import Archive
from aioqueue.broker import connections
from aioqueue.broker.backlog import Gauge, room_for_more
from aioqueue.broker.broker import Broker
from aioqueue.broker.line import Query
from aioqueue.broker.storage import Storage
from aioqueue.errors import ArchiveFailed
from aioqueue.ground import Ground
from aioqueue.journal.memory import MemoryJournal
from aioqueue.limits import UNDECIDED_BYTES_MAX
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side
from aioqueue.transport.connection import Connection
from aioqueue.transport.memory import memory_pair
from aioqueue.transport.tcp import connect, listen
from tests.broker.conftest import House, Script, item, running


@asynccontextmanager
async def stopping(house: House) -> AsyncIterator[Script]:
    """A client over TCP; the broker is stopped when the block is left, and the client may still listen then."""
    async with anyio.create_task_group() as tasks:
        opened = Broker.open(Storage("memory:", MemoryJournal(house.store), house.keep_archive), ground=Ground())
        async with opened as broker:
            listener = await listen("127.0.0.1", 0)
            tasks.start_soon(listener.serve, broker.attend, tasks)
            stream = await connect("127.0.0.1", listener.port)
            connection = Connection(stream, decode=Codec().decode_broker, conversation=Conversation(Side.CLIENT))
            tasks.start_soon(connection.run_writer)
            script = Script(connection)
            script.say(m.Hello(1, 1, m.Role.CLIENT, os.urandom(16)))
            await script.hear(m.Welcome)
            yield script
            await listener.aclose()
        await connection.aclose()
        tasks.cancel_scope.cancel()


async def test_what_was_asked_is_answered_before_the_broker_says_that_it_closes(house: House) -> None:
    heard: list[m.BrokerMessage] = []

    async def listen_to_the_end(script: Script) -> None:
        with suppress(EndOfStream):
            while True:
                heard.extend(await script.connection.receive())
        # As clients do: whoever is told goodbye, and by an end, goes.
        await script.connection.aclose()

    async with stopping(house) as script:
        for _ in range(100):
            script.say(m.Submit(script.ask(), [item()]))
        await script.connection.flush()
        # It has begun to read them; the rest is in the socket.
        first = await script.hear(m.Submitted)
        listening = asyncio.create_task(listen_to_the_end(script))
    await listening
    answered = [first, *(message for message in [*script._inbox, *heard] if isinstance(message, m.Submitted))]
    assert [message.request for message in answered] == list(range(1, len(answered) + 1))
    assert isinstance(heard[-1], m.Closing)


async def test_a_peer_that_never_closes_does_not_keep_the_broker(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LAST_WORD_SECONDS", 0.05)
    async with asyncio.timeout(60):
        async with stopping(house):
            pass


class FullArchive:
    """An archive on a disk that has no room for what ends."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)

    async def write(self, *ended: Any) -> None:
        raise ArchiveFailed(path="memory:", reason="no space left on the device")


async def test_a_broker_whose_archive_fails_waits_for_no_answer_of_its_engine(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing that waits for the engine comes to its end by patience.
    monkeypatch.setattr(connections, "LAST_WORD_SECONDS", float("inf"))
    keep = house.keep_archive

    async def keep_full(journal_id: bytes) -> Any:
        return FullArchive(await keep(journal_id))

    monkeypatch.setattr(house, "keep_archive", keep_full)

    async def run_until_it_fails() -> None:
        async with running(house) as at:
            client = await at.peer()
            job = item()
            await client.submit(job)
            client.say(m.CancelJob(client.ask(), job.job))
            await asyncio.Event().wait()

    with pytest.raises(ArchiveFailed):
        async with asyncio.timeout(30) as patience:
            await run_until_it_fails()
    assert not patience.expired()


async def test_what_is_posted_to_an_engine_that_has_ended_is_dropped(house: House) -> None:
    async with running(house) as at:
        engine = at.broker.engine
    answered: list[object] = []
    engine.post(Query(lambda: None), lambda *answer: answered.append(answer))
    engine.post(Query(lambda: None), lambda *answer: answered.append(answer), line=engine.clients)
    assert [*engine.work.entries, *engine.clients.entries] == []
    assert answered == []
    await engine.answered()


async def test_nobody_waits_for_an_engine_that_has_ended_to_decide(house: House) -> None:
    near, _ = memory_pair()
    async with running(house) as at:
        gauge = Gauge(near, at.broker.services.crowd.workers)
        gauge.asked(2 * UNDECIDED_BYTES_MAX)
        waiting = asyncio.create_task(room_for_more(at.broker.engine, gauge))
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
    await room_for_more(at.broker.engine, gauge)


async def test_a_trim_that_waits_for_a_reader_lets_a_broker_end_whose_journal_failed(house: House) -> None:
    async with running(house) as at:
        assert at.broker.compactor is not None
        at.broker.bodies.oldest_needed = lambda: 1  # type: ignore[method-assign]
        waiting = asyncio.create_task(at.broker.compactor._nobody_reads_below(5))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        at.broker.engine._end()
        assert not await waiting
        # And nobody keeps the event loop who asks an engine that has ended again and again.
        others = asyncio.create_task(asyncio.sleep(0))
        await at.broker.engine.moved()
        await at.broker.engine.moved()
        assert others.done()
