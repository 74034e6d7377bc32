"""A broker that is stopped in good order: who has asked is answered, and everybody is told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio import EndOfStream

from aioqueue.broker import broker as broker_module
from aioqueue.broker.broker import Broker
from aioqueue.clock import SystemClock
from aioqueue.journal.memory import MemoryJournal
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side
from aioqueue.transport.connection import Connection
from aioqueue.transport.tcp import connect, listen
from tests.broker.conftest import House, Script, item


@asynccontextmanager
async def stopping(house: House) -> AsyncIterator[Script]:
    """A client over TCP; the broker is stopped when the block is left, and the client may still listen then."""
    async with anyio.create_task_group() as tasks:
        opened = Broker.open(MemoryJournal(house.store), house.keep_archive, clock=SystemClock(), path="memory:")
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
    monkeypatch.setattr(broker_module, "LAST_WORD_SECONDS", 0.05)
    async with asyncio.timeout(60):
        async with stopping(house):
            pass
