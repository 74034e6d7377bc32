"""`aioqueue top` on a real terminal, which tmux gives and lets us read."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import COMMAND, SHOP, Served, serving
from tests.support.terminal import Terminal, terminal_in

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux, which gives a terminal, is not installed")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "shop.py").write_text(SHOP)
    with serving(tmp_path) as served:
        yield served


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with terminal_in(tmp_path) as terminal:
        yield terminal


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


def in_a_shell(served: Served, terminal: Terminal) -> None:
    """`top` as a job of a shell, from which it can be suspended."""
    terminal.start("PS1='$ ' bash --norc --noprofile -i", served.cwd)
    terminal.until(lambda screen: "$" in screen)
    # Of which nothing but the name is typed, so that what the shell shows of it is no picture.
    terminal.type(f"top() {{ {shlex.join([*COMMAND, 'top', '--url', served.url])}; }}; clear; top")
    terminal.until(lambda screen: "Queues" in screen)


def reads_lines_again(terminal: Terminal) -> None:
    """The shell has the terminal: it echoes, reads lines, and shows the cursor."""
    terminal.type("clear; stty -a | grep -o ' icanon \\| echo ' | tr -d '\\n'; echo done")
    screen = terminal.until(lambda screen: "done" in screen.splitlines()[0:3].__repr__() and "icanon" in screen)
    assert " echo " in screen
    assert terminal.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split() == ["0", "1"]


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(served: Served, terminal: Terminal) -> None:
    in_a_shell(served, terminal)
    for _ in range(2):
        terminal.press("C-z")
        assert "Queues" not in terminal.until(lambda screen: "Stopped" in screen)
        reads_lines_again(terminal)
        terminal.type("fg")
        terminal.until(lambda screen: "Queues" in screen)
        assert terminal.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split() == ["1", "0"]

    served.run("submit", "shop:wait_elsewhere")
    terminal.until(lambda screen: "elsewhere" in screen)
    terminal.press("q")
    terminal.until(lambda screen: "Queues" not in screen)
    reads_lines_again(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
def test_the_terminal_is_as_before_after_a_signal(served: Served, terminal: Terminal, number: signal.Signals) -> None:
    in_a_shell(served, terminal)

    os.kill(pid_of(served), number)

    terminal.until(lambda screen: "Queues" not in screen)
    reads_lines_again(terminal)


def pid_of(served: Served) -> int:
    """The process that watches this broker: no other has its address."""
    words = ["pgrep", "-f", f"aioqueue top --url {served.url}"]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def test_whoever_stops_it_from_outside_finds_it_whole_in_the_foreground(served: Served, terminal: Terminal) -> None:
    in_a_shell(served, terminal)

    os.kill(pid_of(served), signal.SIGSTOP)
    terminal.until(lambda screen: "Stopped" in screen)
    terminal.type("clear; fg")
    terminal.until(lambda screen: "Queues" in screen and "Stopped" not in screen)
    # Keys are read one by one again.
    terminal.press("q")
    terminal.until(lambda screen: "Queues" not in screen)
    reads_lines_again(terminal)


def test_a_window_of_another_size_is_drawn_anew_even_where_the_environment_tells_a_size(
    served: Served, terminal: Terminal
) -> None:
    served.run("submit", "shop:wait_elsewhere")
    terminal.start(f"COLUMNS=120 LINES=30 {top(served.url)}", served.cwd)
    terminal.until(lambda screen: "failed/s" in screen)

    terminal.tmux("resize-window", "-x", "50", "-y", "24")
    narrow = terminal.until(lambda screen: "failed/s" not in screen and "elsewhere" in screen)
    # What matters least has given way, and no name.
    (line,) = [line.split() for line in narrow.splitlines() if line.startswith("elsewhere")]
    assert line[1] == "1"
    terminal.tmux("resize-window", "-x", "140", "-y", "30")
    terminal.until(lambda screen: "failed/s" in screen and "elsewhere" in screen)


def test_a_key_that_does_nothing_says_where_the_keys_are_told(served: Served, terminal: Terminal) -> None:
    terminal.start(top(served.url), served.cwd)
    assert "q leave  ? keys" in terminal.until(lambda screen: "Queues" in screen)

    terminal.press("x")
    terminal.until(lambda screen: "x does nothing here; ? shows the keys" in screen)
    terminal.press("Up")
    terminal.until(lambda screen: "that key does nothing here; ? shows the keys" in screen)
    terminal.press("?")
    terminal.until(lambda screen: "q or Ctrl-C leave, Ctrl-Z suspend (fg goes on)" in screen)
    # Typed in one go.
    terminal.press("x", "q")
    terminal.until(lambda screen: "left with 0" in screen)
