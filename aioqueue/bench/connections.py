"""Connections that stand and do nothing, as most do most of the time: what they take of the broker's memory."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aioqueue.bench import processes
from aioqueue.bench.figures import Figure, Progress, folder
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.transport.address import TcpAddress, parse_address
from aioqueue.transport.files import raise_file_limit

MEMORY_BYTES_MAX: Final = 400 * 1024 * 1024
_MIB: Final = 1024 * 1024
_AT_A_TIME: Final = 100
_PATIENCE_SECONDS: Final = 30.0


async def connections(count: int, progress: Progress) -> list[Figure]:
    """So many clients that have said Hello, and nothing since."""
    raise_file_limit()
    with folder() as directory:
        async with processes.broker(directory, "--session-ttl", "1h") as (broker, url):
            before = broker.usage().resident_bytes
            progress(f"{count:,} idle connections")
            with _standing(url) as standing:
                for start in range(0, count, _AT_A_TIME):
                    await asyncio.to_thread(standing.add, min(_AT_A_TIME, count - start))
                resident = broker.usage().resident_bytes
    return [
        Figure(f"memory of a broker with {count:,} idle connections", resident / _MIB, "MiB", MEMORY_BYTES_MAX / _MIB),
        Figure("an idle connection", (resident - before) / count, "bytes"),
    ]


class Standing:
    """Plain sockets, so that they cost this process little."""

    def __init__(self, address: TcpAddress) -> None:
        self._address = (address.host, address.port)
        self._sockets: list[socket.socket] = []

    def add(self, count: int) -> None:
        """So many more, each of them welcomed."""
        codec, added = Codec(), []
        for _ in range(count):
            connection = socket.create_connection(self._address, _PATIENCE_SECONDS)
            self._sockets.append(connection)
            added.append(connection)
            connection.sendall(codec.encode(m.Hello(1, 1, m.Role.CLIENT, os.urandom(16))))
        for connection in added:
            frame = connection.recv(4_096)
            assert isinstance(codec.decode_broker(frame[4:]), m.Welcome), frame

    def close(self) -> None:
        for connection in self._sockets:
            connection.close()


@contextmanager
def _standing(url: str) -> Iterator[Standing]:
    address = parse_address(url)
    assert isinstance(address, TcpAddress)
    standing = Standing(address)
    try:
        yield standing
    finally:
        standing.close()
