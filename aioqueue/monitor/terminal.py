"""A terminal that a full screen has taken, and gives back: at its end, however it comes, and while it is suspended.

Keys are read one by one. Ctrl-Z gives the terminal back before the program stops, and takes it again when it goes on,
as does a program that was stopped by others. A window of another size is drawn anew at once. Used by `screen`.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import termios
import tty
from collections.abc import Callable
from typing import Any, Final, Self

from rich.live import Live

_KEY_BYTES: Final = 64
# Some send a sequence that begins with an escape; what was typed quickly comes at once.
_KEYS: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.|.)?|.", re.DOTALL)
_LEAVE_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Terminal:
    """The terminal on which `live` draws, as long as the block lasts.

    `on_key` is called with what each key sends, `on_leave` at signals that end programs, `on_change` when all is to be
    drawn anew.
    """

    def __init__(
        self, live: Live, on_key: Callable[[str], None], on_leave: Callable[[], None], on_change: Callable[[], None]
    ) -> None:
        self._live = live
        self._on_key = on_key
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        # Without a terminal to read from, only a signal ends it.
        self._keys = sys.stdin.fileno() if sys.stdin.isatty() else -1
        self._before: list[Any] = []
        self._handlers: dict[signal.Signals, Callable[[], None]] = {
            **dict.fromkeys(_LEAVE_SIGNALS, on_leave),
            signal.SIGTSTP: self._suspend,
            signal.SIGCONT: self._go_on,
            signal.SIGWINCH: self._resized,
        }

    def __enter__(self) -> Self:
        try:
            for number, handler in self._handlers.items():
                self._loop.add_signal_handler(number, handler)
            self._take()
            if self._keys >= 0:
                self._loop.add_reader(self._keys, self._read)
            self._live.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        try:
            self._live.stop()
        finally:
            if self._keys >= 0:
                self._loop.remove_reader(self._keys)
            self._give_back()
            for number in self._handlers:
                self._loop.remove_signal_handler(number)

    def _take(self) -> None:
        """Read keys as they come, not lines, and show none of them."""
        if self._keys >= 0:
            if not self._before:
                self._before = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)

    def _give_back(self) -> None:
        """Let the terminal read as before."""
        if self._before:
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)
            self._before = []

    def _suspend(self) -> None:
        self._live.stop()
        self._give_back()
        # By the default action, or the shell would not see it stopped. It goes on behind this line.
        self._loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGTSTP)
        self._loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        # In the background this stops it once more, until it is in the foreground.
        self._take()
        self._live.start()
        self._resized()

    def _go_on(self) -> None:
        """Whoever stopped it by SIGSTOP gave no time for anything; the shell has had the terminal meanwhile."""
        self._take()
        self._live.console.set_alt_screen(True)
        self._live.console.show_cursor(False)
        self._resized()

    def _resized(self) -> None:
        self._on_change()

    def _read(self) -> None:
        pressed = os.read(self._keys, _KEY_BYTES)
        if not pressed:
            self._loop.remove_reader(self._keys)
        for key in _KEYS.findall(pressed.decode("utf-8", "replace")):
            self._on_key(key)
