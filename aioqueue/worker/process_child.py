"""The process of jobs whose task says `executor="process"`: `python -m aioqueue.worker.process_child CHANNEL LIFELINE`.

Started by `worker.processes` and by nobody else. It does one run after another in its main thread, as a program would:
signals, `asyncio.run` and GIL-holding code are the job's own affair. A thread watches the channel: it stops the run
when the worker says so, and ends the process, with all that it started, when the worker is gone.

Its parent is its keeper, which ends what a run has started when that is over. It is the leader of a session of its own.
SIGTERM and SIGINT from anybody else are not heeded: process managers send them to every process, and the worker's grace
is to hold for this job too.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import runpy
import signal
import socket
import sys
import threading
import types
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Final

from aioqueue.client import connecting
from aioqueue.client.callables import awaiting, is_awaitable, kind_of
from aioqueue.client.context import Context
from aioqueue.client.signature import Signature
from aioqueue.client.task import Task
from aioqueue.client.ties import NoConnection
from aioqueue.errors import Refused, UnknownTask
from aioqueue.limits import ERROR_BYTES_MAX, FAILURE_TEXT_BYTES_MAX
from aioqueue.logs import log_to_stderr
from aioqueue.model.bodies import unpack_headers
from aioqueue.worker import signals
from aioqueue.worker.failures import bounded, failure_of, type_of
from aioqueue.worker.keeper import Kept, keep
from aioqueue.worker.process_channel import (
    MAIN,
    FromProcess,
    Prepare,
    ProcessEnd,
    Raised,
    Ready,
    Returned,
    Run,
    Stop,
    ToProcess,
    name_of,
)

# What a program's own exit handlers may take when the worker has no more use for this process.
_EXIT_SECONDS: Final = 5.0


class ProcessOfJobs:
    """Two threads: the main one does runs, the other listens."""

    def __init__(self, channel: ProcessEnd, keeper: Kept) -> None:
        self._channel = channel
        self._keeper = keeper
        self._inbox: SimpleQueue[Run | None] = SimpleQueue()
        self._pid = os.getpid()
        self._busy = False
        self._stopping = False
        self._functions: dict[tuple[str, str], tuple[Any, Signature]] = {}

    def main(self) -> None:
        """Do runs until the worker is gone."""
        prepare = self._channel.receive()
        if not isinstance(prepare, Prepare):
            return
        self._take_signals()
        threading.Thread(target=self._listen, name="aioqueue worker", daemon=True).start()
        try:
            _become(prepare)
        except BaseException as error:
            self._channel.send(_raised(error))
            return
        self._channel.send(Ready())
        while (run := self._inbox.get()) is not None:
            reply = self._do(run)
            if os.getpid() != self._pid:
                # The job forked, and its child came back as if it were the job.
                os._exit(0)
            try:
                self._keeper.sweep()
                self._busy = False
                self._channel.send(reply)
            except OSError:
                # Nobody can be told any more, and nobody will ask.
                os.killpg(0, signal.SIGKILL)
            self._take_signals()

    # --- the main thread ---

    def _do(self, run: Run) -> FromProcess:
        try:
            fn, signature = self._function(run)
            args, kwargs = signature.unpack(run.args)
        except Refused as error:
            return _refused(error, misfit=True)
        except BaseException as error:
            return _raised(error)
        if signature.takes_context:
            context = Context(
                run.job, task=run.task, queue=run.queue, attempt=run.attempt, crashes=run.crashes,
                headers=unpack_headers(run.headers), deadline_ms=run.deadline_ms, ties=NoConnection(),
            )  # fmt: skip
            args = (context, *args)
        try:
            value = copy_context().run(_called, fn, args, kwargs)
        except BaseException as error:
            return _raised(error)
        try:
            return Returned(signature.pack_result(value))
        except Refused as error:
            return _refused(error)
        except Exception as error:
            return Raised(*_told(error), [])

    def _function(self, run: Run) -> tuple[Any, Signature]:
        key = run.module, run.qualname
        if key not in self._functions:
            fn = found_function(*key)
            called = awaiting(fn) if kind_of(fn) == "hidden" else fn
            self._functions[key] = called, Signature.of(fn, run.task)
        return self._functions[key]

    def _take_signals(self) -> None:
        """Before every run, for a job may have had its own way with them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signals.handle(number, self._signalled)

    def _signalled(self, number: int, frame: types.FrameType | None) -> None:
        if self._stopping:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    # --- the thread ---

    def _listen(self) -> None:
        while (message := self._received()) is not None:
            if isinstance(message, Run):
                self._busy = True
                self._inbox.put(message)
            elif isinstance(message, Stop):
                self._stopping = True
                os.killpg(0, signal.SIGTERM)
        if self._busy:
            os.killpg(0, signal.SIGKILL)
        self._inbox.put(None)
        # Threads that the app left must not keep an idle process alive.
        timer = threading.Timer(_EXIT_SECONDS, os.killpg, [0, signal.SIGKILL])
        timer.daemon = True
        timer.start()

    def _received(self) -> ToProcess | None:
        try:
            return self._channel.receive()
        except Exception:
            # Not the worker that started this process.
            return None


def found_function(module_name: str, qualname: str) -> Any:
    """The function of that name, whether it is declared a task there or not. Raises `UnknownTask`, or what importing
    its module raises.
    """
    found: Any = sys.modules[MAIN] if module_name == "__main__" else importlib.import_module(module_name)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if isinstance(found, Task):
        found = found.fn
    if not callable(found):
        raise UnknownTask(
            f"in the job's own process the module {module_name} has no function {qualname!r}; write it at the top "
            "of the module, where every import makes it",
            task=qualname, known="",
        )  # fmt: skip
    return found


def _called(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    value = fn(*args, **kwargs)
    return asyncio.run(_awaited(value)) if is_awaitable(value) else value


async def _awaited(value: Any) -> Any:
    return await value


def _refused(error: Refused, *, misfit: bool = False) -> Raised:
    return Raised(type(error).__name__, bounded(str(error), FAILURE_TEXT_BYTES_MAX), "", [], misfit)


def _raised(error: BaseException) -> Raised:
    # Whoever is cancelled by nobody awaited something that was; that may go well the next time.
    kind = Exception if isinstance(error, asyncio.CancelledError) else type(error)
    return Raised(*_told(error), [name_of(each) for each in kind.__mro__ if issubclass(each, BaseException)])


def _told(error: BaseException) -> tuple[str, str, str]:
    failure = failure_of(error, retry=False)
    text, lines = bounded(failure.text, FAILURE_TEXT_BYTES_MAX), bounded(failure.traceback, ERROR_BYTES_MAX)
    return type_of(error), text, lines


def _become(prepare: Prepare) -> None:
    """Import what the worker's program imported. Raises what its main module does, without which no job can begin;
    what else fails is told by the runs that need it.
    """
    sys.path[:] = prepare.path
    sys.argv[:] = prepare.argv
    if "__main__" in prepare.modules:
        _import_main(prepare)
    for name in prepare.modules:
        if name != "__main__":
            with contextlib.suppress(Exception, SystemExit):
                importlib.import_module(name)
    log_to_stderr(prepare.log_level, {name.partition(".")[0] for name in prepare.modules})
    logging.getLogger().setLevel(prepare.log_level)


def _import_main(prepare: Prepare) -> None:
    connecting.importing = "a process of its jobs"
    if prepare.main_name:
        found = runpy.run_module(prepare.main_name, run_name=MAIN, alter_sys=True)
    else:
        found = runpy.run_path(prepare.main_path, run_name=MAIN)
    connecting.importing = ""
    module = types.ModuleType(MAIN)
    module.__dict__.update(found)
    sys.modules["__main__"] = sys.modules[MAIN] = module


if __name__ == "__main__":
    kept = keep(lifeline=int(sys.argv[2]), channel=int(sys.argv[1]))
    ProcessOfJobs(ProcessEnd(socket.socket(fileno=int(sys.argv[1]))), kept).main()
