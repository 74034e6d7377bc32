"""A broker that comes back among connections that say nothing: all its clients are welcome again, soon.

`AIOQUEUE_CLIENTS=10000` has as many clients as a large installation; the time is printed with `-s`.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

from aioqueue.limits import STRANGERS_MAX
from aioqueue.transport.files import raise_file_limit
from tests.support.commands import Served, serving
from tests.support.returning import ReturningClients

CLIENTS = int(os.environ.get("AIOQUEUE_CLIENTS", "2000"))
# More than there is room for.
SILENT = STRANGERS_MAX + 200
# What is promised on a machine that does nothing else, and what a shared one is given.
BACK_SECONDS = 30.0
PATIENCE_SECONDS = 8 * BACK_SECONDS


class SilentConnections:
    """Connections that never say a word, which come while others do."""

    def __init__(self, served: Served, stack: ExitStack) -> None:
        self._port, self._stack = served.ready["port"], stack
        self._thread = threading.Thread(target=self._connect, daemon=True)
        self._thread.start()

    def _connect(self) -> None:
        for _ in range(SILENT):
            self._stack.callback(socket.create_connection(("127.0.0.1", self._port), PATIENCE_SECONDS).close)

    def join(self) -> None:
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()


def test_all_clients_of_a_restarted_broker_are_back_among_connections_that_say_nothing(tmp_path: Path) -> None:
    raise_file_limit()
    with ExitStack() as stack:
        served = stack.enter_context(serving(tmp_path, "--session-ttl", "5m"))
        port = served.ready["port"]
        clients = stack.enter_context(ReturningClients(CLIENTS, port))
        clients.until(CLIENTS, PATIENCE_SECONDS)
        SilentConnections(served, stack).join()
        served.process.kill()
        clients.until(0, PATIENCE_SECONDS)
        attempts = clients.attempts

        again = stack.enter_context(serving(tmp_path, "--session-ttl", "5m", port=port))
        silent = SilentConnections(again, stack)
        seconds = clients.until(CLIENTS, PATIENCE_SECONDS)

        print(f"{CLIENTS:,} clients were back in {seconds:.1f} s by {clients.attempts - attempts:,} attempts")
        silent.join()
        # Nobody who had said Hello made room for them, and few lines are told of those who did.
        assert clients.welcome == CLIENTS
        assert again.err.count("connections that came later have said none either") <= 5
