"""The parent of a process of jobs, which sees to it that nothing a job has started outlives it.

A process of jobs is forked before it loads the app; its parent stays behind as its **keeper**. Where the system allows
it (Linux), the keeper adopts whatever the job starts and leaves, in whichever session or group that stands, and reaps
it. It ends all of it when a run is over, when the process of jobs has ended, however that went, when the worker says so
by a word on its lifeline, and when the worker is gone, which closes the lifeline. Elsewhere what stands in the group of
the process of jobs is ended with it, and nothing more.

The keeper ends as the process of jobs did, so that the worker reads the one's end by the other's. It runs no code of
the app, and heeds no signal but SIGKILL and SIGSTOP.
"""

from __future__ import annotations

import ctypes
import os
import resource
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any, Final, NoReturn

from aioqueue.forked import close_in_child
from aioqueue.worker.descendants import descendants, has_other_children

# Words on the lifeline: kill everything; the process of jobs may end by itself, in its own time.
KILL: Final = b"k"
LEAVE: Final = b"e"
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_IGNORED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_READ_BYTES: Final = 4_096
_LOOK_SECONDS: Final = 0.002
# A process that SIGKILL has not ended by then, in 5 s or more, waits for a device, and is left to it.
_LOOKS_MAX: Final = 2_500


class Kept:
    """What the process of jobs asks of its keeper."""

    def __init__(self, connection: socket.socket) -> None:
        close_in_child(self, connection.fileno())
        self._socket = connection

    def sweep(self) -> None:
        """End all that the last run has started, and reap it. Raises `OSError` if the keeper cannot be asked."""
        spared = _helpers()
        children = _has_children()
        self._socket.sendall(" ".join(map(str, [int(children), *spared])).encode() + b"\n")
        if not self._socket.recv(1):
            raise ConnectionResetError
        if children:
            _reap(spared)


def keep(lifeline: int, channel: int) -> Kept:
    """Fork: returns in the child, which is to be the process of jobs; the parent keeps it and never returns."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    near, far = socket.socketpair()
    keeper = os.getpid()
    pid = os.fork()
    if pid:
        far.close()
        os.close(channel)
        _Keeper(pid, lifeline, near).run()
    os.setsid()
    near.close()
    os.close(lifeline)
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != keeper:
        os._exit(1)
    return Kept(far)


class _Keeper:
    """One process of jobs, and what came of it."""

    def __init__(self, pid: int, lifeline: int, asked: socket.socket) -> None:
        self._pid = pid
        self._lifeline = lifeline
        self._asked = asked
        self._status: int | None = None
        self._may_leave = False

    def run(self) -> NoReturn:
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        woken, waking = socket.socketpair()
        woken.setblocking(False)
        waking.setblocking(False)
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(woken, selectors.EVENT_READ, lambda: woken.recv(_READ_BYTES))
            selector.register(self._lifeline, selectors.EVENT_READ, self._hear)
            selector.register(self._asked, selectors.EVENT_READ, self._answer)
            # One that ended before its signal could wake anybody.
            self._reap()
            while self._status is None:
                for key, _ in selector.select():
                    if key.data() == b"" and self._status is None:
                        selector.unregister(key.fileobj)
                self._reap()
        self._end(self._status)

    def _hear(self) -> bytes:
        said = os.read(self._lifeline, _READ_BYTES)
        self._may_leave = self._may_leave or LEAVE in said
        if KILL in said or not (said or self._may_leave):
            self._kill()
        return said

    def _answer(self) -> bytes:
        line = self._asked.recv(_READ_BYTES)
        if line:
            has_children, *spared = map(int, line.split())
            if has_children or has_other_children(self._pid):
                self._sweep({self._pid, *spared})
            with suppress(OSError):
                self._asked.send(b".")
        return line

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._pid:
                    self._status = ended[1]

    def _kill(self) -> None:
        with suppress(OSError):
            os.killpg(self._pid, signal.SIGKILL)

    def _sweep(self, spared: set[int]) -> None:
        """End all that descends from here, and is not spared."""
        for _ in range(_LOOKS_MAX):
            victims = [pid for pid in descendants(os.getpid()) if pid not in spared]
            for pid in victims:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            self._reap()
            if not victims:
                return
            time.sleep(_LOOK_SECONDS)

    def _end(self, status: int) -> NoReturn:
        # Its number is free by now, but a group keeps the number of its first process from any other.
        self._kill()
        self._sweep(set())
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            with suppress(OSError):
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _helpers() -> list[int]:
    """Processes that Python itself keeps for this one, and that a later run may need: they do nothing by themselves."""
    found: list[int | None] = []
    for module, name, field in (
        ("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
        ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
    ):
        found.append(getattr(getattr(sys.modules.get(module), name, None), field, None))
    return [pid for pid in found if pid is not None]


def _reap(spared: list[int]) -> None:
    """Have no zombies, once those that believe to own them know of their ends."""
    processes: Any = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.active_children()
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid in spared:
                return
            os.waitpid(ended.si_pid, 0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)
