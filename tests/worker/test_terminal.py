"""A supervisor in a terminal, with a shell that has job control: Ctrl-C, Ctrl-Z and `fg`, as people press them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from aioqueue.protocol import messages as m
from aioqueue.worker.channel import WorkerOptions
from tests.support.fake_broker import FakeBroker
from tests.support.patience import eventually
from tests.support.runs import result_in
from tests.support.supervising import APP, PROGRAM, PROJECT, Connections, Greeter

RunOf = Callable[..., m.DeliverItem]


class Terminal:
    """A shell in a terminal of tmux."""

    def __init__(self, folder: Path) -> None:
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(folder / "tmux")]
        shell = ["env", "PS1=ready$ ", f"PYTHONPATH={PROJECT}", "bash", "--norc", "--noprofile", "-i"]
        self._do("new-session", "-d", "-x", "200", "-y", "50", "-c", str(folder), shlex.join(shell))

    def _do(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True, timeout=60).stdout

    def press(self, *keys: str) -> None:
        self._do("send-keys", *keys)

    def type(self, line: str) -> None:
        self._do("send-keys", "-l", line)
        self.press("Enter")

    def shows(self, text: str) -> bool:
        return text in self._do("capture-pane", "-p", "-S", "-500")

    def close(self) -> None:
        self._do("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if not shutil.which("tmux") or not shutil.which("bash"):
        pytest.skip("there is no tmux here, or no bash")
    made = Terminal(tmp_path)
    yield made
    made.close()


@pytest.fixture
async def working(terminal: Terminal, broker: FakeBroker, tmp_path: Path) -> Connections:
    """A worker that was started in the terminal."""
    (tmp_path / "shop.py").write_text(APP)
    options = WorkerOptions(target="shop:queue", url=broker.url, queues=["default"], grace_ms=86_400_000)
    script = tmp_path / "begin"
    script.write_text(f"exec {shlex.join([sys.executable, str(PROGRAM), msgspec.json.encode(options).decode(), '1'])}")
    terminal.type(f"bash {script}; echo ended with $?")
    greeter = Greeter(broker)
    try:
        return await greeter.child()
    finally:
        await greeter.aclose()


async def begun(child: Connections, run: m.DeliverItem, path: Path) -> int:
    """Begin a job that runs a command; the command's process."""
    child.worker.send(m.Deliver([run]))
    await eventually(path.exists)
    return int(path.read_text())


def states(*pids: int) -> set[str]:
    return {psutil.Process(pid).status() for pid in pids}


async def test_ctrl_c_lets_commands_of_plain_jobs_have_their_grace(
    terminal: Terminal, working: Connections, run_of: RunOf, tmp_path: Path
) -> None:
    pid = await begun(working, run_of("command", str(tmp_path / "one")), tmp_path / "one")
    terminal.press("C-c")
    assert await working.worker.expect(m.Capacity) == m.Capacity(0, ["default"])
    assert psutil.pid_exists(pid)
    (tmp_path / "one.go").touch()
    assert result_in((await working.settle())[0]) == 7
    await eventually(lambda: terminal.shows("ended with 0"))
    assert not terminal.shows("do not reach")


async def test_ctrl_z_stops_everything_and_fg_wakes_it(
    terminal: Terminal, working: Connections, run_of: RunOf, tmp_path: Path
) -> None:
    worker = await working.result(run_of("pid"))
    supervisor = psutil.Process(worker).ppid()
    one = await begun(working, run_of("command", str(tmp_path / "one")), tmp_path / "one")
    two = await begun(working, run_of("command_apart", str(tmp_path / "two")), tmp_path / "two")
    family = [supervisor, worker, one, two]
    family += [each.pid for each in psutil.Process(two).parents() if each.pid not in (1, os.getpid())][:2]
    terminal.press("C-z")
    await eventually(lambda: states(*family) == {psutil.STATUS_STOPPED})
    for name in ("one.go", "two.go"):
        (tmp_path / name).touch()
    terminal.type("fg; echo continued and ended with $?")
    ends: list[m.SettleItem] = []
    while len(ends) < 2:
        ends += await working.settle()
    assert [result_in(end) for end in ends] == [7, 7]
    await eventually(lambda: psutil.STATUS_STOPPED not in states(supervisor, worker))
    terminal.press("C-c")
    await working.worker.expect(m.Capacity)
    await eventually(lambda: terminal.shows("continued and ended with 0"))
