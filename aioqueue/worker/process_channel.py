"""What a worker and the process of a job say to each other: length-prefixed msgpack over a socket pair.

One run at a time is asked for and answered; arguments and result pass as the opaque bytes that they are on the wire.
The channel's end is how a job's process learns that its worker is gone, however it went.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import msgspec
from msgspec import Struct

from aioqueue.forked import close_in_child
from aioqueue.limits import FRAME_BYTES_MAX

_LENGTH_BYTES: Final = 4
# How a main module is called that is imported by another process, as in multiprocessing, so that both can be used.
MAIN: Final = "__mp_main__"


class Prepare(Struct, tag="prepare", frozen=True):
    """Worker to process, first: be as the worker's own program is. `main_name` or `main_path` finds its main module."""

    path: list[str]
    argv: list[str]
    main_name: str
    main_path: str
    modules: list[str]
    log_level: str


class Run(Struct, tag="run", frozen=True):
    """Worker to process: call this function of the worker's own program."""

    module: str
    qualname: str
    task: str
    queue: str
    job: bytes
    attempt: int
    crashes: int
    headers: bytes
    args: bytes
    deadline_ms: int = 0


class Stop(Struct, tag="stop", frozen=True):
    """Worker to process: the run is to stop; end yourself and all that you started by SIGTERM."""


class Ready(Struct, tag="ready", frozen=True):
    """Process to worker, first: runs may come."""


class Returned(Struct, tag="returned", frozen=True):
    """Process to worker: the run's result, packed."""

    body: bytes


class Raised(Struct, tag="raised", frozen=True):
    """Process to worker: what the run raised, as data.

    `name` is that of its class for people; `kinds` are those of its class and of all its bases, for `Retry` to judge
    by; none for what no retry heals. `misfit`: the run did not begin, for it does not fit the task as it is here.
    """

    name: str
    text: str
    traceback: str
    kinds: list[str]
    misfit: bool = False


ToProcess = Prepare | Run | Stop
FromProcess = Ready | Returned | Raised

_encoder = msgspec.msgpack.Encoder()
_process_decoder = msgspec.msgpack.Decoder(ToProcess)
_worker_decoder = msgspec.msgpack.Decoder(FromProcess)


def name_of(kind: type[BaseException]) -> str:
    """A class by its module and name; the main module has one name in both processes."""
    module = "__main__" if kind.__module__ == MAIN else kind.__module__
    return f"{module}.{kind.__qualname__}"


def _framed(message: ToProcess | FromProcess) -> bytes:
    data = _encoder.encode(message)
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


class ProcessEnd:
    """The process's side; blocking. One thread receives, another sends."""

    def __init__(self, connection: socket.socket) -> None:
        # Programs that a job starts must not hold the channel open.
        connection.set_inheritable(False)
        close_in_child(self, connection.fileno())
        self._socket = connection
        self._file = connection.makefile("rb")

    def receive(self) -> ToProcess | None:
        """The next message; None when the worker is gone."""
        try:
            head = self._file.read(_LENGTH_BYTES)
            data = self._file.read(int.from_bytes(head, "big"))
        except OSError:
            return None
        return _process_decoder.decode(data) if len(head) == _LENGTH_BYTES and data else None

    def send(self, message: FromProcess) -> None:
        """Tell the worker. Raises `OSError` if it is gone, or a job has closed what it did not open."""
        self._socket.sendall(_framed(message))


class WorkerEnd:
    """The worker's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, connection: socket.socket) -> WorkerEnd:
        """Take over a connected socket."""
        connection.setblocking(False)
        descriptor = connection.fileno()
        end = cls(*await asyncio.open_connection(sock=connection))
        # Or a child of another job would keep this process's channel open beyond its worker's death.
        close_in_child(end, descriptor)
        return end

    async def receive(self) -> FromProcess | None:
        """The next message; None when the process has closed its end, or says what is no message."""
        try:
            size = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
            if size > FRAME_BYTES_MAX:
                return None
            message: FromProcess = _worker_decoder.decode(await self._reader.readexactly(size))
            return message
        except (OSError, asyncio.IncompleteReadError, msgspec.MsgspecError):
            return None

    def send(self, message: ToProcess) -> None:
        """Tell the process; nothing if it is gone."""
        if not self._writer.is_closing():
            self._writer.write(_framed(message))

    def close(self) -> None:
        """Close this end: an idle process ends itself, one that runs a job is killed by its own watch."""
        self._writer.close()
