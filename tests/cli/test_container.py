"""The command as the first process of a PID namespace, as in a container."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.commands import COMMAND, PATIENCE_SECONDS, environment

UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc"]


def permitted() -> bool:
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def contained(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`aioqueue serve` as process 1, from its ready line on."""
    if not permitted():
        pytest.skip("this machine does not let the tests make a PID namespace")
    words = [*UNSHARE, *COMMAND, "serve", "--port", "0", "--journal", "memory:"]
    with subprocess.Popen(words, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "listening on" in process.stdout.readline()
            yield process
        finally:
            for child in psutil.Process(process.pid).children() if process.poll() is None else []:
                child.kill()
            process.kill()


def first_of(contained: subprocess.Popen[str]) -> psutil.Process:
    (first,) = psutil.Process(contained.pid).children()
    return first


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_first_process_stops_the_command_in_good_order(
    contained: subprocess.Popen[str], number: signal.Signals
) -> None:
    first_of(contained).send_signal(number)
    assert contained.wait(PATIENCE_SECONDS) == 0


def test_orphans_are_reaped_and_an_end_by_a_signal_is_told(contained: subprocess.Popen[str]) -> None:
    first = first_of(contained)
    (command,) = first.children()
    enter = ["nsenter", "--target", str(first.pid), "--pid", "sh", "-c", "sleep 1000 & sleep 1000 &"]
    subprocess.run(enter, check=True, timeout=PATIENCE_SECONDS)
    orphans = [child for child in first.children() if child != command]
    assert len(orphans) == 2
    for orphan in orphans:
        orphan.kill()
    while first.children() != [command]:
        time.sleep(0.01)
    command.kill()
    assert contained.wait(PATIENCE_SECONDS) == 128 + signal.SIGKILL
