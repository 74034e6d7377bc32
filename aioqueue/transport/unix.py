"""Streams over a Unix socket that stands beside a journal's file: how the processes of one app share one broker.

Only the owner of the journal listens, and it replaces whatever an owner before it left behind; so `listen` is called
under the journal's lock and at no other time. The socket is its user's alone (mode 0600) before it takes a connection,
and the other side's user is looked at where the system tells it.

A Unix socket's name is short: 104 bytes with a NUL on macOS. Where the path is longer, the socket stands in a private
directory under the system's temporary one, and a symbolic link beside the journal leads there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NoReturn

from anyio.abc import TaskGroup

from aioqueue.errors import BrokerUnavailable
from aioqueue.forked import close_in_child
from aioqueue.limits import CONNECT_SECONDS, FILE_MODE, UNIX_PATH_BYTES_MAX
from aioqueue.transport.tcp import ACCEPT_BACKLOG, ACCEPTED_A_TURN, TcpListener, TcpStream, widen_backlog

_log = logging.getLogger(__name__)

# Of a queue that runs its own broker, and of `aioqueue serve`: who finds the latter does not take its place.
SUFFIX: Final = ".sock"
SERVE_SUFFIX: Final = ".serve.sock"

_NEW_SUFFIX: Final = ".new"
_DIRECTORY_PREFIX: Final = "aioqueue-"
_SHORT_NAME: Final = "broker.sock"
# `struct ucred` of Linux: process, user, group.
_CREDENTIALS: Final = struct.Struct("3i")
_ROOT: Final = 0


class UnixStream(TcpStream):
    """One connection over a Unix socket. An `abort` with nothing unread is `EndOfStream` for the peer: there is no
    reset to be sent.
    """

    def peer_name(self, transport: asyncio.BaseTransport) -> str:
        process, _ = _credentials(transport.get_extra_info("socket"))
        return f"unix:{process or '?'}"


class UnixListener(TcpListener):
    """A listening Unix socket at `path`."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @property
    def url(self) -> str:
        return f"unix:{self.path}"

    def _drop(self) -> None:
        # `aclose` is called while the journal is still held, so the file is this listener's.
        super()._drop()
        remove(self.path)

    def _accept(self, stream: TcpStream) -> None:
        _, user = _credentials(stream.raw_socket)
        if user is None or user in (_ROOT, os.geteuid()):
            super()._accept(stream)
        else:
            stream.abort()


async def connect_beside(journal: str) -> tuple[UnixStream, bool]:
    """A stream to the broker that owns the journal at this real path, and whether it is one of `aioqueue serve`.

    Raises `BrokerUnavailable` if no owner listens beside it.
    """
    connection, serves = socket_beside(journal)
    stream = UnixStream()
    await asyncio.get_running_loop().create_unix_connection(lambda: stream, sock=connection)
    return stream, serves


def socket_beside(journal: str) -> tuple[socket.socket, bool]:
    """As `connect_beside`, for who has no event loop."""
    try:
        return connect_socket(journal + SUFFIX), False
    except BrokerUnavailable:
        if not os.path.lexists(journal + SERVE_SUFFIX):
            raise
    return connect_socket(journal + SERVE_SUFFIX), True


@asynccontextmanager
async def listening_beside(
    journal: str,
    handler: Callable[[TcpStream], Coroutine[Any, Any, None]],
    task_group: TaskGroup,
    *,
    serves: bool = False,
) -> AsyncIterator[None]:
    """Listen beside the journal at this real path, which the caller owns, until the block is left.

    A socket that cannot be made is a warning: nobody can share the broker then, and it works all the same.
    """
    name, other = (SERVE_SUFFIX, SUFFIX) if serves else (SUFFIX, SERVE_SUFFIX)
    listener: UnixListener | None = None
    try:
        remove(journal + other)
        listener = await listen(journal + name)
        task_group.start_soon(listener.serve, handler, task_group)
    except OSError as error:
        _log.warning("no other process can share %s: %s", journal, error)
    try:
        yield
    finally:
        if listener is not None:
            await listener.aclose()


async def connect(path: str) -> UnixStream:
    """A stream to the broker whose socket is at `path`; `BrokerUnavailable` if none listens there."""
    stream = UnixStream()
    await asyncio.get_running_loop().create_unix_connection(lambda: stream, sock=connect_socket(path))
    return stream


def connect_socket(path: str) -> socket.socket:
    """A connected socket, which does not block for longer than `CONNECT_SECONDS`; raises as `connect` does.

    A Unix socket connects at once or not at all, so this does not wait.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        # Not the event loop's own connecting: it takes a full backlog for a connection under way.
        connection.connect(_target(path))
        connection.settimeout(CONNECT_SECONDS)
    except OSError as error:
        connection.close()
        _unavailable(path, os.strerror(error.errno).lower() if error.errno else str(error))
    close_in_child(connection, connection.fileno())
    process, user = _credentials(connection)
    if user is not None and user not in (_ROOT, os.geteuid(), os.lstat(path).st_uid):
        connection.close()
        _unavailable(path, f"process {process} listens there, which belongs to another user")
    return connection


def _unavailable(path: str, reason: str) -> NoReturn:
    raise BrokerUnavailable(url=f"unix:{path}", reason=reason) from None


async def listen(path: str) -> UnixListener:
    """Listen at `path`, in place of any socket there; the caller holds the journal's lock.

    Raises `OSError` where the system or a file that is no socket is in the way.
    """
    bound = _bind(path)
    listener = UnixListener(path)
    try:
        listener.began(
            await asyncio.get_running_loop().create_unix_server(
                lambda: UnixStream(listener._accept), sock=bound, backlog=ACCEPTED_A_TURN
            )
        )
        widen_backlog(bound)
    except BaseException:
        bound.close()
        remove(path)
        raise
    return listener


def remove(path: str) -> None:
    """Remove a socket that an owner left behind, wherever it stands; the caller holds the journal's lock."""
    target = _target(path)
    if _is_free(path):
        with suppress(FileNotFoundError):
            os.unlink(path)
    directory, name = os.path.split(target)
    if target != path and name == _SHORT_NAME and os.path.basename(directory).startswith(_DIRECTORY_PREFIX):
        with suppress(OSError):
            os.unlink(target)
            os.rmdir(directory)


def _bind(path: str) -> socket.socket:
    """A socket that listens, with its final mode, and whose name then takes the place of an older one."""
    if not _is_free(path):
        raise FileExistsError(f"{path} is no socket")
    remove(path)
    new = path + _NEW_SUFFIX
    with suppress(FileNotFoundError):
        os.unlink(new)
    is_long = len(os.fsencode(new)) > UNIX_PATH_BYTES_MAX
    name = os.path.join(tempfile.mkdtemp(prefix=_DIRECTORY_PREFIX), _SHORT_NAME) if is_long else new
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(name)
        # Nobody can connect before `listen`. The umask would do it too, but it is the whole program's.
        os.chmod(name, FILE_MODE)
        bound.listen(ACCEPT_BACKLOG)
        if is_long:
            os.symlink(name, new)
        os.rename(new, path)
    except BaseException:
        bound.close()
        for left in {name, new}:
            with suppress(OSError):
                os.unlink(left)
        if is_long:
            with suppress(OSError):
                os.rmdir(os.path.dirname(name))
        raise
    return bound


def _target(path: str) -> str:
    """Where the socket itself stands: the system cannot follow a link that is too long for a socket's name."""
    try:
        return os.readlink(path)
    except OSError:
        return path


def _is_free(path: str) -> bool:
    """Whether nothing but a socket, or the link to one, stands there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return True
    return stat.S_ISSOCK(mode) or stat.S_ISLNK(mode)


def _credentials(connection: socket.socket) -> tuple[int, int | None]:
    """Process and user of the other side; 0 and None where the system does not tell, and the mode alone guards."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return 0, None
    process, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return process, user
