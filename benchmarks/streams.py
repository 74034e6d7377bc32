"""What a message costs over a connection: our TCP stream, anyio's, and the one in memory, on both event loops.

    python benchmarks/streams.py

Both ends live in this process, so a figure holds the cost of both. docs/adr/0004-own-tcp-stream.md quotes a run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import uvloop
from anyio.abc import ByteStream, SocketAttribute, TaskGroup

from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side
from aioqueue.protocol.messages import Hello, Ping, Pong, Role, Submit, SubmitItem, Submitted, Welcome
from aioqueue.transport import tcp
from aioqueue.transport.connection import Connection
from aioqueue.transport.memory import memory_pair
from aioqueue.transport.stream import Stream

ROUND_TRIPS = 3_000
BATCH = 1_000
BATCHES = 30
CODEC = Codec()


class OverAnyio(Stream):
    """anyio's own socket stream behind our seam."""

    peer = "anyio"

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes | bytearray) -> None:
        await self._stream.send(item)  # type: ignore[arg-type]

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def abort(self) -> None:
        """anyio has none."""


async def own_pair(tasks: TaskGroup) -> tuple[Stream, Stream]:
    accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()

    async def keep(stream: Stream) -> None:
        accepted.set_result(stream)

    listener = await tcp.listen("127.0.0.1", 0)
    tasks.start_soon(listener.serve, keep, tasks)
    near = await tcp.connect("127.0.0.1", listener.port)
    return near, await accepted


async def anyio_pair(tasks: TaskGroup) -> tuple[Stream, Stream]:
    accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()

    async def keep(stream: ByteStream) -> None:
        accepted.set_result(OverAnyio(stream))
        await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    tasks.start_soon(listener.serve, keep)
    near = await anyio.connect_tcp("127.0.0.1", listener.extra(SocketAttribute.local_port))
    return OverAnyio(near), await accepted


async def in_memory(tasks: TaskGroup) -> tuple[Stream, Stream]:
    return memory_pair()


async def broker(connection: Connection[Any]) -> None:
    while True:
        for message in await connection.receive():
            match message:
                case Hello():
                    connection.send_nowait(Welcome(1, 1, True, b"", 1, 1, 10_000))
                case Ping():
                    connection.send_nowait(Pong(message.number))
                case Submit():
                    connection.send_nowait(Submitted(message.request, 1))


async def round_trip_us(client: Connection[Any], trips: int) -> float:
    """CPU of both ends for one Ping and its Pong, nothing else under way."""
    started = time.process_time_ns()
    for number in range(trips):
        client.send_nowait(Ping(number))
        await client.receive()
    return (time.process_time_ns() - started) / trips / 1_000


async def batched_us(client: Connection[Any]) -> float:
    """CPU of both ends for one Submit of one job and its answer, when a thousand leave in one turn."""
    item = SubmitItem(bytes(16), bytes(58), bytes(40))
    request = 0
    best = float("inf")
    for _ in range(BATCHES):
        started = time.process_time_ns()
        for _ in range(BATCH):
            request += 1
            client.send_nowait(Submit(request, [item]))
        left = BATCH
        while left:
            left -= len(await client.receive())
        best = min(best, (time.process_time_ns() - started) / BATCH / 1_000)
    return best


async def measure(
    loop: str, name: str, pair: Callable[[TaskGroup], Coroutine[Any, Any, tuple[Stream, Stream]]]
) -> None:
    async with anyio.create_task_group() as tasks:
        near, far = await pair(tasks)
        client: Connection[Any] = Connection(near, decode=CODEC.decode_broker, conversation=Conversation(Side.CLIENT))
        server: Connection[Any] = Connection(far, decode=CODEC.decode_client, conversation=Conversation(Side.BROKER))
        for run in (client.run_writer, server.run_writer):
            tasks.start_soon(run)
        tasks.start_soon(broker, server)
        client.send_nowait(Hello(1, 1, Role.CLIENT, bytes(16)))
        await client.receive()
        await round_trip_us(client, ROUND_TRIPS // 10)
        trip = min([await round_trip_us(client, ROUND_TRIPS) for _ in range(3)])
        print(f"{loop:8} {name:8} round trip {trip:6.1f} us | batched {await batched_us(client):5.2f} us a submit")
        tasks.cancel_scope.cancel()


def main() -> None:
    for loop, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
        for _ in range(2):
            for name, pair in (("own", own_pair), ("anyio", anyio_pair), ("memory", in_memory)):
                run(measure(loop, name, pair))


if __name__ == "__main__":
    main()
