"""What a supervisor and its worker process say to each other: lines of JSON over a socket pair.

The channel is also how each sees the other end: it is closed by the system when a process dies, however it dies. The
session's secret travels here, and so appears in no list of processes and no environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Final, Literal

import msgspec
from msgspec import Struct

from aioqueue.forked import close_in_child
from aioqueue.transport.address import TcpAddress
from aioqueue.worker.pulse import Pulse

# A child's error holds a traceback of the app.
LINE_BYTES_MAX: Final = 64 * 1024


class WorkerOptions(Struct, kw_only=True, frozen=True):
    """What `aioqueue worker` was asked to do. `url` None means the module's own; times are milliseconds."""

    target: str
    url: str | None = None
    queues: list[str] | None = None
    concurrency: int = 100
    threads: int | None = None
    job_processes: int | None = None
    grace_ms: int = 30_000
    cancel_grace_ms: int = 5_000
    on_partition: Literal["run", "stop"] = "run"
    labels: list[str] = []
    log_level: str = "info"


class Work(Struct, tag="work", frozen=True):
    """Supervisor to child, first: be this worker. `began_ms` is when the supervisor began, by the monotonic clock."""

    options: WorkerOptions
    secret: bytes
    name: str
    began_ms: int = 0


class Stop(Struct, tag="stop", frozen=True):
    """Supervisor to child: stop in good order, or in a hurry."""

    hurry: bool = False


class Connecting(Struct, tag="connecting", frozen=True):
    """Child to supervisor: the app is loaded, and its broker is here; beat for the session, and as this process.

    `serves` names its queues and tasks, for people.
    """

    addresses: list[TcpAddress]
    namespace: str
    process: bytes
    about: bytes
    serves: str = ""


class Ready(Struct, tag="ready", frozen=True):
    """Child to supervisor: the broker said Welcome."""


class Leaving(Struct, tag="leaving", frozen=True):
    """Child to supervisor: it has stopped, and ends; `untold` ends the broker did not take.

    If no jobs are `kept` the goodbye follows. Those heed no cancellation, and are given back when this process is gone.
    """

    untold: int
    kept: int = 0


class Failed(Struct, tag="failed", frozen=True):
    """Child to supervisor, last: why it cannot be this worker, as an error's code and sentence, in valid UTF-8."""

    code: str
    message: str


ToChild = Work | Stop
ToSupervisor = Connecting | Ready | Leaving | Failed | Pulse

_encoder = msgspec.json.Encoder()
_child_decoder = msgspec.json.Decoder(ToChild)
_supervisor_decoder = msgspec.json.Decoder(ToSupervisor)


class ChildEnd:
    """The child's side; blocking, read by one thread. Any thread may send."""

    def __init__(self, connection: socket.socket) -> None:
        # Programs that a task starts must not hold the channel open.
        connection.set_inheritable(False)
        close_in_child(self, connection.fileno())
        self._socket = connection
        self._lines = connection.makefile("rb")
        # A pulse comes from the watchdog's thread.
        self._sending = threading.Lock()

    def receive(self) -> ToChild | None:
        """The next message; None when the supervisor is gone."""
        try:
            line = self._lines.readline(LINE_BYTES_MAX)
        except OSError:
            return None
        return _child_decoder.decode(line) if line else None

    def send(self, message: ToSupervisor) -> None:
        """Tell the supervisor; nothing if it is gone, which `receive` tells."""
        with contextlib.suppress(OSError), self._sending:
            self._socket.sendall(_encoder.encode(message) + b"\n")

    def leave_open(self) -> None:
        """Leave this end to be closed by the end of the process, for a thread may be reading it."""
        self._socket.detach()

    def close(self) -> None:
        """Close this end."""
        self._lines.close()
        self._socket.close()


class SupervisorEnd:
    """The supervisor's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, connection: socket.socket) -> SupervisorEnd:
        """Take over a connected socket."""
        connection.setblocking(False)
        return cls(*await asyncio.open_connection(sock=connection, limit=LINE_BYTES_MAX))

    async def receive(self) -> ToSupervisor | None:
        """The next message; None when the child is gone."""
        try:
            line = await self._reader.readline()
        except (OSError, ValueError):
            return None
        return _supervisor_decoder.decode(line) if line.endswith(b"\n") else None

    def send(self, message: ToChild) -> None:
        """Tell the child; nothing if it is gone."""
        if not self._writer.is_closing():
            self._writer.write(_encoder.encode(message) + b"\n")

    async def aclose(self) -> None:
        """Close this end: a child that still lives ends itself."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
