"""Stopping worker processes, with all that they run, while their supervisor is stopped: Ctrl-Z and `fg`.

Who is stopped beats no more, so nothing that it beats for may run meanwhile, or its jobs would run twice; and who beats
must not keep jobs for a worker that stands still. So the supervisor stops everything below it first, then itself, and
continues in the opposite order. Called by the supervisor, which loads nothing of the app: all that descends from it is
a worker, or was started by one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from aioqueue.worker.descendants import descendants


def suspend(workers: Sequence[int]) -> None:
    """Stop these, each the leader of a group, and whatever else runs below this process; none can prevent it."""
    for worker in workers:
        _send_to_group(worker, signal.SIGSTOP)
    stopped: set[int] = set()
    # What is stopped starts nothing any more.
    while fresh := [pid for pid in descendants(os.getpid()) if pid not in stopped]:
        for pid in fresh:
            _send(pid, signal.SIGSTOP)
        stopped.update(fresh)


def resume(workers: Sequence[int]) -> None:
    """Continue all of them; workers before what they have started."""
    for worker in workers:
        _send_to_group(worker, signal.SIGCONT)
    for pid in descendants(os.getpid()):
        _send(pid, signal.SIGCONT)


def stop_here() -> None:
    """Stop this process as a terminal's Ctrl-Z would; returns when it is continued.

    A process whose group no shell could ever continue is not stopped by this: that is the system's own rule.
    """
    before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, before)


def standing_still(child: int) -> bool | None:
    """Whether a child has been stopped, or continued, since this was asked last; None for neither."""
    told = None
    with suppress(ChildProcessError):
        while (seen := os.waitid(os.P_PID, child, os.WSTOPPED | os.WCONTINUED | os.WNOHANG)) is not None:
            told = seen.si_code == os.CLD_STOPPED
    return told


def _send(pid: int, number: int) -> None:
    with suppress(OSError):
        os.kill(pid, number)


def _send_to_group(leader: int, number: int) -> None:
    with suppress(OSError):
        os.killpg(leader, number)
