"""The first process of a container: starts the command as its child, passes signals on, and reaps who is left.

The kernel gives process 1 no default action for signals, and makes it the parent of all orphans. So a command that is
started as such would miss a SIGTERM before it has handlers, and gather zombies of what its jobs leave behind. Here the
command runs as any other process would, and its exit code is this one's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Final

_PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def run_as_first(arguments: Sequence[str]) -> int:
    """Run the command with these arguments to its end; its exit code, 128 and the signal's number if one ended it."""
    early: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        elif child.returncode is None:
            # Not by `send_signal`, which would reap it here.
            os.kill(child.pid, number)

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    # In a group of its own, or it would get a terminal's Ctrl-C twice, and hurry.
    child = subprocess.Popen([sys.executable, "-m", "aioqueue", *arguments], process_group=0)
    for missed in early:
        os.kill(child.pid, missed)
    while True:
        # Whoever ends: orphans of the container have no other parent.
        pid, status = os.wait()
        if pid == child.pid:
            code = os.waitstatus_to_exitcode(status)
            child.returncode = code
            return code if code >= 0 else 128 - code
