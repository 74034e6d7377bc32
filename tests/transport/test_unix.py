"""Unix sockets: where they stand, who may reach them, and what an owner that is gone left behind."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from aioqueue.errors import BrokerUnavailable
from aioqueue.limits import UNIX_PATH_BYTES_MAX
from aioqueue.transport import unix
from aioqueue.transport.stream import Stream


@asynccontextmanager
async def echoing(path: str) -> AsyncIterator[unix.UnixListener]:
    async def echo(stream: Stream) -> None:
        async with stream:
            await stream.send(await stream.receive())

    async with anyio.create_task_group() as tasks:
        listener = await unix.listen(path)
        tasks.start_soon(listener.serve, echo, tasks)
        yield listener
        await listener.aclose()
        await listener.aclose()


async def echo_of(path: str, data: bytes) -> bytes:
    async with await unix.connect(path) as stream:
        await stream.send(data)
        return await stream.receive()


def long_path(folder: Path) -> str:
    """A path that is too long for a socket's name."""
    deep = folder / ("d" * UNIX_PATH_BYTES_MAX)
    deep.mkdir()
    return str(deep / "jobs.db.sock")


async def test_the_socket_is_its_user_s_alone(tmp_path: Path) -> None:
    async with echoing(str(tmp_path / "jobs.db.sock")) as listener:
        mode = os.stat(listener.path).st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_it_has_its_mode_before_it_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    real = socket.socket.listen

    def listen(self: socket.socket, *backlog: int) -> None:
        modes.append(stat.S_IMODE(os.stat(self.getsockname()).st_mode))
        real(self, *backlog)

    monkeypatch.setattr(socket.socket, "listen", listen)
    umask = os.umask(0)
    try:
        unix._bind(str(tmp_path / "jobs.db.sock")).close()
    finally:
        os.umask(umask)
    assert modes == [0o600]


async def test_a_closed_listener_leaves_nothing_behind(tmp_path: Path) -> None:
    async with echoing(str(tmp_path / "jobs.db.sock")):
        assert [path.name for path in tmp_path.iterdir()] == ["jobs.db.sock"]
    assert list(tmp_path.iterdir()) == []


async def test_a_socket_of_an_owner_that_is_gone_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db.sock")
    # Closed without a word, as by SIGKILL.
    unix._bind(path).close()
    with pytest.raises(BrokerUnavailable, match="connection refused"):
        await unix.connect(path)
    async with echoing(path):
        assert await echo_of(path, b"who is there?") == b"who is there?"


async def test_what_a_killed_owner_had_half_made_is_in_nobody_s_way(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db.sock")
    (tmp_path / "jobs.db.sock.new").touch()
    async with echoing(path):
        assert await echo_of(path, b"x") == b"x"
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db.sock"
    path.write_text("somebody's notes")
    with pytest.raises(FileExistsError, match="is no socket"):
        await unix.listen(str(path))
    unix.remove(str(path))
    assert path.read_text() == "somebody's notes"


async def test_a_path_too_long_for_a_socket_leads_to_a_short_one_in_a_private_directory(tmp_path: Path) -> None:
    path = long_path(tmp_path)
    async with echoing(path):
        target = Path(os.readlink(path))
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700
        assert await echo_of(path, b"far away") == b"far away"
    assert not os.path.lexists(path)
    assert not target.parent.exists()


async def test_the_private_directory_of_an_owner_that_is_gone_is_cleared_away(tmp_path: Path) -> None:
    path = long_path(tmp_path)
    unix._bind(path).close()
    old = Path(os.readlink(path)).parent
    async with echoing(path):
        assert await echo_of(path, b"x") == b"x"
        assert not old.exists()


async def test_a_link_to_something_else_is_removed_and_nothing_behind_it(tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere" / "broker.sock"
    kept.parent.mkdir()
    kept.touch()
    path = str(tmp_path / "jobs.db.sock")
    os.symlink(kept, path)
    async with echoing(path):
        assert await echo_of(path, b"x") == b"x"
    assert kept.exists()


async def test_connecting_where_there_is_no_socket_says_so(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db.sock")
    with pytest.raises(BrokerUnavailable) as failed:
        await unix.connect(path)
    assert str(failed.value) == f"no broker answers at unix:{path}: no such file or directory"


async def test_a_full_backlog_is_no_connection(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen(0)
        held = []

        def fill() -> None:
            while True:
                held.append(unix.connect_socket(path))

        with pytest.raises(BrokerUnavailable, match="temporarily unavailable"):
            fill()
        for connection in held:
            connection.close()


async def test_another_user_s_connection_is_ended_before_anybody_listens_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with echoing(str(tmp_path / "jobs.db.sock")) as listener:
        with monkeypatch.context() as patch, socket.socket(socket.AF_UNIX) as connection:
            patch.setattr(unix, "_credentials", lambda connection: (1, os.geteuid() + 1))
            connection.connect(listener.path)
            connection.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(connection, 1) == b""
        assert await echo_of(listener.path, b"mine") == b"mine"


async def test_a_socket_that_another_user_listens_at_is_not_talked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with echoing(str(tmp_path / "jobs.db.sock")) as listener:
        with monkeypatch.context() as patch:
            patch.setattr(unix, "_credentials", lambda connection: (7, os.geteuid() + 1))
            with pytest.raises(BrokerUnavailable, match="process 7 listens there, which belongs to another user"):
                await unix.connect(listener.path)
