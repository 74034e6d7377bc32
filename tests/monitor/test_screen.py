"""`aioqueue top` on a real terminal, which tmux gives and lets us read."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.commands import COMMAND, SHOP, Served, environment, serving

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux, which gives a terminal, is not installed")


class Terminal:
    """One tmux session on a server of its own. tmux waits for what a test waits for: there is nothing to sleep on."""

    def __init__(self, folder: Path) -> None:
        self._base = ["tmux", "-S", str(folder / "tmux.sock"), "-f", "/dev/null"]
        self._env = {**environment(), "TERM": "xterm-256color", "SHELL": "/bin/sh"}

    def tmux(self, *words: str) -> str:
        return subprocess.run([*self._base, *words], env=self._env, capture_output=True, text=True, check=True).stdout

    def start(self, command: str, folder: Path) -> None:
        self.tmux("new-session", "-d", "-x", "120", "-y", "30", "-c", str(folder), command)

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def press(self, key: str) -> None:
        self.tmux("send-keys", key)

    def until(self, is_there: Callable[[str], bool]) -> str:
        """The first screen of which it is true; the test's own timeout ends the wait."""
        while not is_there(screen := self.screen()):
            # Reading the screen takes some milliseconds of another process: that is the pause.
            assert self.tmux("list-sessions")
        return screen


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "shop.py").write_text(SHOP)
    with serving(tmp_path) as served:
        yield served


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    subprocess.run([*terminal._base, "kill-server"], capture_output=True, check=False)


def top(url: str) -> str:
    # Afterwards the shell shows how it ended, and that the terminal echoes and reads lines again.
    # Some shells leave a list of commands when one was interrupted.
    words = shlex.join([*COMMAND, "top", "--url", url])
    return f"trap : INT; {words}; echo left with $?; stty -a | grep -o ' echo '; cat"


def test_queues_with_their_numbers_are_shown_and_q_leaves(served: Served, terminal: Terminal) -> None:
    for _ in range(3):
        served.run("submit", "shop:wait_elsewhere")
    terminal.start(top(served.url), served.cwd)

    screen = terminal.until(lambda screen: "elsewhere" in screen)
    (line,) = [line.split() for line in screen.splitlines() if line.startswith("elsewhere")]
    assert line[1] == "3"
    assert "no worker is connected" in screen
    # It is live: what is submitted now appears.
    served.run("submit", "shop:wait_elsewhere")
    terminal.until(lambda screen: any(line.split()[:2] == ["elsewhere", "4"] for line in screen.splitlines()))

    terminal.press("x")
    terminal.press("q")
    screen = terminal.until(lambda screen: "left with" in screen and "echo" in screen.split("left with")[1])
    assert "left with 0" in screen
    assert "elsewhere" not in screen


def test_ctrl_c_leaves_too(served: Served, terminal: Terminal) -> None:
    terminal.start(top(served.url), served.cwd)
    terminal.until(lambda screen: "Queues" in screen)

    terminal.press("C-c")

    assert "Traceback" not in terminal.until(lambda screen: "left with 0" in screen)


def test_a_restart_of_the_broker_is_said_and_outlived(served: Served, terminal: Terminal) -> None:
    served.run("submit", "shop:wait_elsewhere")
    terminal.start(top(served.url), served.cwd)
    terminal.until(lambda screen: "elsewhere" in screen)

    assert served.stop() == 0
    assert "elsewhere" in terminal.until(lambda screen: "reconnecting" in screen)
    with serving(served.cwd, port=served.ready["port"]) as again:
        assert again.ready["jobs"] == 1
        terminal.until(lambda screen: "elsewhere" in screen and "reconnecting" not in screen)
        terminal.press("q")
        terminal.until(lambda screen: "left with 0" in screen)
