"""A real terminal, which tmux gives and lets us read."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.commands import environment


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

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def type(self, line: str) -> None:
        self.tmux("send-keys", "-l", "--", line)
        self.press("Enter")

    def until(self, is_there: Callable[[str], bool]) -> str:
        """The first screen of which it is true; the test's own timeout ends the wait."""
        while not is_there(screen := self.screen()):
            # Reading the screen takes some milliseconds of another process: that is the pause.
            assert self.tmux("list-sessions")
        return screen


@contextmanager
def terminal_in(folder: Path) -> Iterator[Terminal]:
    """A server of tmux whose socket is in this folder; it ends with the block."""
    terminal = Terminal(folder)
    try:
        yield terminal
    finally:
        subprocess.run([*terminal._base, "kill-server"], capture_output=True, check=False)
