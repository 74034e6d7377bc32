"""A broker that is stopped across deadlines: whoever spoke in time keeps its session, however short or long the stop.

What a session says while the broker stands still lies in the broker's socket. It counts from when it was said, so the
broker reads its sockets before it judges who was silent. Whoever said nothing ends all the same.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from json import loads
from pathlib import Path

import anyio
import pytest
from anyio import EndOfStream

from aioqueue.errors import ConnectionLost
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side
from aioqueue.transport.connection import Connection
from aioqueue.transport.tcp import connect
from tests.broker.conftest import Script, item
from tests.support.commands import environment

TTL_SECONDS = 1.0
# Below and above a third of the ttl, from which on a stop moves all deadlines.
STOPS = (0.1, 0.2, 0.3, 0.5, 1.3)
SESSIONS = 8
# `aioqueue serve` takes uvloop where it is installed.
PROGRAMS = {
    "asyncio": "import sys; sys.modules['uvloop'] = None; from aioqueue.cli import main; main()",
    "uvloop": "import uvloop; from aioqueue.cli import main; main()",
}


class StoppedBroker:
    """`aioqueue serve` in a process that can be stopped, and the sessions that a test speaks for."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, tasks: anyio.abc.TaskGroup) -> None:
        self.process = process
        self._port = port
        self._tasks = tasks
        self._connections: list[Connection[m.BrokerMessage]] = []

    async def session(self, role: m.Role = m.Role.WORKER) -> Script:
        stream = await connect("127.0.0.1", self._port)
        connection = Connection(stream, decode=Codec().decode_broker, conversation=Conversation(Side.CLIENT))
        self._connections.append(connection)
        self._tasks.start_soon(connection.run_writer)
        script = Script(connection)
        script.say(m.Hello(1, 1, role, os.urandom(16)))
        await script.hear(m.Welcome)
        return script

    async def hang_up(self) -> None:
        for connection in self._connections:
            await connection.aclose()

    async def stop(self, seconds: float) -> None:
        self.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def serving(folder: Path, program: str) -> AsyncIterator[StoppedBroker]:
    words = ["serve", "--json", "--port", "0", "--journal", "memory:", "--session-ttl", f"{TTL_SECONDS * 1_000:.0f}ms"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAMS[program], *words, cwd=folder, env=environment(), stdin=DEVNULL, stdout=PIPE
    )
    try:
        assert process.stdout is not None
        port = loads(await process.stdout.readline())["port"]
        async with anyio.create_task_group() as tasks:
            broker = StoppedBroker(process, port, tasks)
            try:
                yield broker
            finally:
                await broker.hang_up()
    finally:
        process.kill()
        await process.communicate()


async def speak_once(broker: StoppedBroker, begin_at: float, speak_at: float, resumed: asyncio.Event) -> bool | None:
    """A session that says two words, at its beginning and once more: whether it lives; None where the second came late.

    It cannot end before a ttl after its Hello was sent.
    """
    await sleep_until(begin_at)
    sent = time.monotonic()
    script = await broker.session()
    await sleep_until(speak_at)
    script.say(m.Ping(1))
    await script.connection.flush()
    in_time = time.monotonic() < sent + TTL_SECONDS
    await resumed.wait()
    try:
        script.say(m.Ping(2))
        while (await script.hear(m.Pong)).number != 2:
            pass
    except (EndOfStream, ConnectionLost):
        return False if in_time else None
    return True if in_time else None


async def sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


def plans(stop_at: float, seconds: float) -> Iterator[tuple[float, float]]:
    """When sessions begin and speak: deadlines all over the stop and a little behind it, words between."""
    for number in range(SESSIONS):
        until_deadline = seconds * 1.2 * (number + 1) / SESSIONS
        spoken = (0.2, 0.5, 0.8)[number % 3]
        yield stop_at + until_deadline - TTL_SECONDS, stop_at + until_deadline * spoken


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_stop_of_the_broker_ends_no_session_that_spoke_in_time(tmp_path: Path, program: str) -> None:
    lived: dict[float, list[bool | None]] = {}
    async with serving(tmp_path, program) as broker:
        for seconds in STOPS:
            resumed = asyncio.Event()
            stop_at = time.monotonic() + TTL_SECONDS + 0.1
            speaking = [
                asyncio.create_task(speak_once(broker, begin_at, speak_at, resumed))
                for begin_at, speak_at in plans(stop_at, seconds)
            ]
            await sleep_until(stop_at)
            await broker.stop(seconds)
            resumed.set()
            lived[seconds] = await asyncio.gather(*speaking)
    assert not any(False in each for each in lived.values()), lived
    # On a machine that is very busy all words of a stop may come late; not of most of them.
    assert sum(True in each for each in lived.values()) > len(STOPS) // 2, lived


async def assert_ends(broker: StoppedBroker, client: Script, seconds: float) -> None:
    """Who took a job and said nothing more, across a stop of so long, loses it to another worker."""
    queue = f"stop-{seconds * 1_000:.0f}"
    silent = await broker.session()
    silent.say(m.Capacity(1, [queue]))
    await client.submit(item(queue))
    (lost,) = await silent.runs()
    await asyncio.sleep(max(0.0, TTL_SECONDS - seconds / 2))
    await broker.stop(seconds)
    heir = await broker.session()
    heir.say(m.Capacity(1, [queue]))
    beating = asyncio.create_task(beat(heir))
    (run,) = await heir.runs()
    beating.cancel()
    assert (run.job, run.fence > lost.fence) == (lost.job, True)


async def beat(script: Script) -> None:
    while True:
        script.say(m.Ping(1))
        await asyncio.sleep(TTL_SECONDS / 5)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_stop_of_the_broker_keeps_no_session_that_is_silent(tmp_path: Path, program: str) -> None:
    async with serving(tmp_path, program) as broker:
        client = await broker.session(m.Role.CLIENT)
        beating = asyncio.create_task(beat(client))
        for seconds in (0.2, 0.5):
            await assert_ends(broker, client, seconds)
        beating.cancel()
