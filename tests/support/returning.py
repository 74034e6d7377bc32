"""Very many clients of one broker that connect again as links do, and cost little: sockets, a selector, one thread.

Each says Hello and waits for its Welcome; one whose connection fails comes again after a link's own wait.
"""

from __future__ import annotations

import heapq
import os
import selectors
import socket
import time
from typing import Any, Self

from aioqueue.client.link import chance_of, reconnect_seconds
from aioqueue.ground import Ground
from aioqueue.limits import CONNECT_SECONDS
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec

_CODEC = Codec()
_GROUND = Ground()


class _Client:
    """One program: its secret, and the connection that it has or tries."""

    def __init__(self) -> None:
        self.hello = _CODEC.encode(m.Hello(1, 1, m.Role.CLIENT, os.urandom(16)))
        self.connection: socket.socket | None = None
        self.greeted = self.welcome = False
        self.failures = 0
        self.deadline = 0.0


class ReturningClients:
    """So many clients of the broker at `port`. `attempts` counts their connections."""

    def __init__(self, count: int, port: int) -> None:
        self.attempts = 0
        self.welcome = 0
        self._address = ("127.0.0.1", port)
        self._clients = [_Client() for _ in range(count)]
        self._selector = selectors.DefaultSelector()
        # When each client that has no connection tries again.
        self._waiting: list[tuple[float, int]] = [(0.0, number) for number in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        for client in self._clients:
            if client.connection is not None:
                client.connection.close()
        self._selector.close()

    def until(self, welcome: int, seconds: float) -> float:
        """Go on until so many are welcome; how long it took. `TimeoutError` after so many seconds."""
        began = time.monotonic()
        while self.welcome != welcome:
            now = time.monotonic()
            if now - began > seconds:
                raise TimeoutError(f"{self.welcome} of {welcome} clients after {seconds:g} s, {self.attempts} attempts")
            while self._waiting and self._waiting[0][0] <= now:
                self._connect(heapq.heappop(self._waiting)[1])
            for key, _ in self._selector.select(0.02):
                self._serve(key.data)
            self._give_up(now)
        return time.monotonic() - began

    def _connect(self, number: int) -> None:
        client = self._clients[number]
        self.attempts += 1
        client.connection = socket.socket()
        client.connection.setblocking(False)
        client.connection.connect_ex(self._address)
        client.deadline = time.monotonic() + CONNECT_SECONDS
        self._selector.register(client.connection, selectors.EVENT_WRITE, number)

    def _serve(self, number: int) -> None:
        client = self._clients[number]
        connection: Any = client.connection
        try:
            if not client.greeted:
                client.greeted = True
                connection.send(client.hello)
                self._selector.modify(connection, selectors.EVENT_READ, number)
                return
            data = connection.recv(65_536)
        except OSError:
            data = b""
        if not data:
            self._lost(number)
        elif not client.welcome and isinstance(_CODEC.decode_broker(data[4:][: int.from_bytes(data[:4])]), m.Welcome):
            client.welcome, client.failures, client.deadline = True, 0, float("inf")
            self.welcome += 1

    def _give_up(self, now: float) -> None:
        for number, client in enumerate(self._clients):
            if client.connection is not None and now > client.deadline:
                self._lost(number)

    def _lost(self, number: int) -> None:
        client = self._clients[number]
        assert client.connection is not None
        self._selector.unregister(client.connection)
        client.connection.close()
        self.welcome -= client.welcome
        client.connection, client.greeted, client.welcome = None, False, False
        wait = reconnect_seconds(client.failures, chance_of(_GROUND))
        client.failures += 1
        heapq.heappush(self._waiting, (time.monotonic() + wait, number))
