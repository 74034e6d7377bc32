"""What a service manager is told, over real datagram sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from aioqueue.cli.manager import Manager
from tests.support.commands import COMMAND, PATIENCE_SECONDS, SHOP, environment, serving


def bound(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.settimeout(PATIENCE_SECONDS)
    listening.bind(address)
    return listening


def test_a_path_and_an_abstract_name_are_told(tmp_path: Path) -> None:
    name = f"aioqueue-{os.getpid()}"
    for given, address in ((str(tmp_path / "n"), str(tmp_path / "n")), (f"@{name}", f"\0{name}")):
        with bound(address) as listening:
            service = Manager({"NOTIFY_SOCKET": given}, 1)
            service.ready()
            service.stopping()
            assert [listening.recv(100) for _ in range(2)] == [b"READY=1", b"STOPPING=1"]


def test_a_manager_that_is_not_there_harms_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Manager({}, 1).ready()
    assert caplog.text == ""
    Manager({"NOTIFY_SOCKET": str(tmp_path / "none")}, 1).ready()
    assert "cannot be told READY=1" in caplog.text


async def test_a_watchdog_hears_of_a_loop_that_turns(tmp_path: Path) -> None:
    with bound(str(tmp_path / "n")) as listening:
        listening.setblocking(False)
        service = Manager({"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "7"}, 7)
        async with service.watched():
            for _ in range(3):
                assert await asyncio.get_running_loop().sock_recv(listening, 100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [({}, 2.0), ({"WATCHDOG_PID": "8"}, 0.0), ({"WATCHDOG_USEC": "x"}, 0.0), ({"NOTIFY_SOCKET": ""}, 0.0)],
)
def test_the_watchdog_is_another_s_or_a_number_or_none(changes: dict[str, str], seconds: float) -> None:
    given = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "7", **changes}
    assert Manager(given, 7).watchdog_seconds == seconds


@pytest.mark.slow
def test_serve_and_worker_tell_that_they_are_ready_and_that_they_stop(folder: Path) -> None:
    (folder / "shop.py").write_text(SHOP)
    with bound(str(folder / "notify")) as listening, serving(folder) as first:
        worker = [*COMMAND, "worker", "shop:queue", "--url", first.url, "--processes", "2"]
        serve = [*COMMAND, "serve", "--port", "0", "--journal", "memory:"]
        for words in (serve, worker):
            program = subprocess.Popen(
                words, cwd=folder, env=environment(NOTIFY_SOCKET=str(folder / "notify")),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            with program:
                try:
                    assert listening.recv(100) == b"READY=1"
                    program.send_signal(signal.SIGTERM)
                    assert listening.recv(100) == b"STOPPING=1"
                    assert program.wait(PATIENCE_SECONDS) == 0
                finally:
                    program.kill()
