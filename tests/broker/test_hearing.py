"""What lies in the sockets when it is asked for stands in the engine's line afterwards, on every event loop."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvloop

from aioqueue.broker.broker import Broker
from aioqueue.broker.hearing import hear_all
from aioqueue.clock import ManualClock
from aioqueue.core import commands as c
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.transport import tcp, unix
from tests.broker.conftest import House, running
from tests.support.patience import eventually

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
PEERS = 50
# uvloop accepts one connection a turn.
NEW_PEERS = 5

Dial = Callable[[], socket.socket]
Story = Callable[[Broker, ManualClock, Dial], Coroutine[Any, Any, int]]


@asynccontextmanager
async def listening(broker: Broker, kind: str, folder: Path) -> AsyncIterator[Dial]:
    """How a program beside this one connects, which never waits for the event loop."""
    async with anyio.create_task_group() as tasks:
        if kind == "tcp":
            near = await tcp.listen("127.0.0.1", 0)
            address: Any = (near.host, near.port)
            listener: Any = near
        else:
            address = str(folder / "socket")
            listener = await unix.listen(address)
        tasks.start_soon(listener.serve, broker.attend, tasks)
        sockets: list[socket.socket] = []

        def dial() -> socket.socket:
            dialed = socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX)
            sockets.append(dialed)
            dialed.connect(address)
            return dialed

        try:
            yield dial
        finally:
            for dialed in sockets:
                dialed.close()
            with anyio.CancelScope(shield=True):
                await listener.aclose()
            tasks.cancel_scope.cancel()


def frames(*messages: Any) -> bytes:
    packed = bytearray()
    for message in messages:
        Codec().encode_into(message, packed)
    return bytes(packed)


def hello(number: int) -> bytes:
    return frames(m.Hello(1, 1, m.Role.CLIENT, number.to_bytes(16, "big")))


class Posted:
    """Counts what is put into the engine's lines."""

    def __init__(self, broker: Broker) -> None:
        self.kinds: Counter[type] = Counter()
        self._real = broker.engine.post
        broker.engine.post = self._post  # type: ignore[method-assign]

    def _post(self, command: Any, *rest: Any, **line: Any) -> None:
        self.kinds[type(command)] += 1
        self._real(command, *rest, **line)


async def words_of_standing_connections(broker: Broker, clock: ManualClock, dial: Dial) -> int:
    dialed = [dial() for _ in range(PEERS)]
    for number, each in enumerate(dialed):
        each.sendall(hello(number))
    await eventually(lambda: len(broker.services.seats.at_data) == PEERS)
    clock.advance(broker.engine.partition.session_ttl_ms // 2)
    posted = Posted(broker)
    for each in dialed:
        each.sendall(frames(m.Ping(1)))
    await hear_all()
    return PEERS - posted.kinds[c.HearSession]


async def words_of_connections_that_are_not_accepted_yet(broker: Broker, clock: ManualClock, dial: Dial) -> int:
    posted = Posted(broker)
    for number in range(NEW_PEERS):
        dial().sendall(hello(number))
    await hear_all()
    unheard = NEW_PEERS - posted.kinds[c.OpenSession]
    await eventually(lambda: posted.kinds[c.OpenSession] == NEW_PEERS)
    return unheard


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("story", [words_of_standing_connections, words_of_connections_that_are_not_accepted_yet])
def test_what_was_said_by_now_stands_in_line_when_all_was_heard(
    house: House, tmp_path: Path, loop: str, kind: str, story: Story
) -> None:
    async def unheard() -> int:
        clock = ManualClock()
        async with running(house, clock=clock) as at, listening(at.broker, kind, tmp_path) as dial:
            return await story(at.broker, clock, dial)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        assert runner.run(unheard()) == 0
