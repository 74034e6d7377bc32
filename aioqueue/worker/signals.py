"""Signals that a worker's process handles itself, and that nothing it forks inherits.

A handler in Python is copied by a fork, and the descriptor that wakes the event loop is shared by it: a child of a task
would swallow the SIGTERM that is to end it, or stop the worker with it. So a signal counts only in the process that got
it, and a forked child has the default actions; the signals are blocked while it is made, so that none is lost that is
sent to it at once. What a task has set for itself is left alone, and programs that are started instead of forked have
the default actions anyway.

Called by the worker process and by the process of jobs. A worker inside an app handles no signals.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final

Handler = Callable[[int, FrameType | None], Any]

# By number: what handles it here, and what a child has in its place.
_ours: Final[dict[int, tuple[Handler, Any]]] = {}
_masks: Final = threading.local()


def handle(number: int, handler: Handler) -> None:
    """Have the main thread call `handler` when this process, and no child of it, gets the signal."""
    if not _ours:
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
    if number in _ours:
        theirs = _ours[number][1]
    elif signal.getsignal(number) is signal.SIG_IGN:
        theirs = signal.SIG_IGN
    else:
        theirs = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    _ours[number] = handler, theirs
    signal.signal(number, handler)
    # A stray one does not even interrupt a system call of a job's C code.
    signal.siginterrupt(number, False)


def handle_in_loop(loop: asyncio.AbstractEventLoop, number: int, action: Callable[[], object]) -> None:
    """Have the running event loop call `action` when this process, and no child of it, gets the signal."""

    def signalled(number: int, frame: FrameType | None) -> None:
        # The loop may be closed by now: then nothing is left to be stopped.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(action)

    ignored = signal.getsignal(number) is signal.SIG_IGN
    # For the descriptor that wakes the loop. A child that shares it can wake the loop too, so that alone means nothing.
    loop.add_signal_handler(number, _nothing)
    if ignored:
        signal.signal(number, signal.SIG_IGN)
    handle(number, signalled)


def _nothing() -> None:
    """The loop is awake, and that is all."""


def _before() -> None:
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _ours)


def _in_parent() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _in_child() -> None:
    signal.set_wakeup_fd(-1)
    for number, (handler, theirs) in _ours.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, theirs)
    # Since 3.12 asyncio does it itself.
    with suppress(Exception):
        asyncio.set_event_loop(None)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)
    except KeyboardInterrupt:
        # Nobody could catch it here: what is raised in this hook is only printed.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
