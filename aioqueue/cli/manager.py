"""What `serve` and `worker` tell a service manager such as systemd: ready, stopping, and still alive.

The protocol is one datagram of `NAME=value` lines to the Unix socket that `NOTIFY_SOCKET` names (sd_notify(3)); a name
that begins with `@` is in the abstract namespace. Where the variable is missing, or nobody listens, nothing is told and
nothing fails. With `WATCHDOG_USEC` the event loop says twice in that time that it turns, so that a process that stands
still is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

_log = logging.getLogger(__name__)
_US_A_SECOND: Final = 1_000_000


class Manager:
    """The service manager that started this process, if one did and wants to be told."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.watchdog_seconds = _watchdog_seconds(environment, pid) if self._address else 0.0

    def ready(self) -> None:
        """The service does its work from now on."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The service begins to stop."""
        self._tell("STOPPING=1")

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Say again and again that this event loop turns, if that is asked for."""
        telling = asyncio.create_task(self._say_alive(), name="aioqueue service manager")
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    async def _say_alive(self) -> None:
        while self.watchdog_seconds:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_seconds / 2)

    def _tell(self, words: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                # A manager that does not read must not hold up the service.
                connection.setblocking(False)
                connection.sendto(words.encode(), address)
        except OSError as error:
            _log.warning("the service manager at %s cannot be told %s: %s", self._address, words, error)


def manager() -> Manager:
    """The manager of this process; what it starts is not to speak for it."""
    found = Manager(os.environ, os.getpid())
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        os.environ.pop(name, None)
    return found


def _watchdog_seconds(environment: Mapping[str, str], pid: int) -> float:
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return 0.0
    with contextlib.suppress(ValueError):
        return max(0, int(environment.get("WATCHDOG_USEC", "0"))) / _US_A_SECOND
    return 0.0
