"""Runs in processes of their own, for tasks that say `executor="process"`.

At most `processes` of them live at once, started when the first jobs come and kept warm for the next; a run that finds
none free waits, and its timeout has not begun. A run is stopped by killing its process, first by SIGTERM, and by
SIGKILL when it is cancelled again; what its process started ends with it, by its `keeper`. A process that dies by
itself fails the one run that it did.

Which function is called is the worker's own word, by the module and name of what the app registered; nothing that came
over the wire is ever looked up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aioqueue.client.options import ExceptionTypes
from aioqueue.client.task import Task, TaskRegistry
from aioqueue.errors import BadOption, ProcessDied
from aioqueue.forked import close_in_child
from aioqueue.limits import INSTANT_MS_MAX
from aioqueue.model.ids import id_text
from aioqueue.model.views import Failure
from aioqueue.protocol.extras import Key, number_in
from aioqueue.protocol.messages import DeliverItem
from aioqueue.worker.failures import Told, death_of
from aioqueue.worker.keeper import KILL, LEAVE
from aioqueue.worker.process_channel import Prepare, Raised, Ready, Returned, Run, Stop, WorkerEnd, name_of

_log = logging.getLogger(__name__)

AnyTask = Task[..., Any]
# What a process said last is in the channel when it has ended, and who else holds the channel open is killed with it.
_LAST_WORD_SECONDS: Final = 2.0


class Processes:
    """The processes of one worker's jobs."""

    def __init__(self, processes: int, registry: TaskRegistry) -> None:
        self._places = asyncio.Semaphore(processes)
        self._registry = registry
        self._free: list[_Process] = []
        self._all: set[_Process] = set()
        # Ends of processes that nobody waits for.
        self._ending: set[asyncio.Task[None]] = set()

    def starter(self, task: AnyTask) -> Callable[[DeliverItem], Awaitable[Awaitable[bytes]]]:
        """How runs of this task begin: `await` it for a process, then what it gives for the packed result.

        Raises `BadOption` for a function that another process cannot find.
        """
        module, qualname = findable(task)

        async def start(item: DeliverItem) -> Awaitable[bytes]:
            process = await self._take(item)
            return self._do(process, item, module, qualname)

        return start

    async def aclose(self) -> None:
        """Kill what runs, let the others end, and wait for both a moment."""
        for process in list(self._all):
            self._discard(process)
        if self._ending:
            await asyncio.wait(self._ending, timeout=_LAST_WORD_SECONDS)

    async def _take(self, item: DeliverItem) -> _Process:
        await self._places.acquire()
        process: _Process | None = None
        try:
            while process is None:
                process = self._free.pop() if self._free else await self._start(item)
                if not process.lives:
                    self._discard(process)
                    process = None
            greeting = await process.greeted()
            if not isinstance(greeting, Ready):
                self._discard(process)
                raise _told(greeting) if isinstance(greeting, Raised) else _died(item, f"{greeting} before it began")
        except BaseException:
            if process is not None and process in self._all:
                # It is not to blame for a run that was stopped meanwhile.
                self._free.append(process)
            self._places.release()
            raise
        return process

    async def _start(self, item: DeliverItem) -> _Process:
        starting = asyncio.ensure_future(_Process.start(self._preparation()))
        try:
            process = await _finished(starting)
        except OSError as error:
            raise _died(item, f"could not be started: {error}") from None
        self._all.add(process)
        return process

    def _preparation(self) -> Prepare:
        modules = {str(task.fn.__module__) for task in self._registry if task.executor == "process"}
        name, path = _main_module()
        level = logging.getLevelName(logging.getLogger().getEffectiveLevel())
        return Prepare(list(sys.path), list(sys.argv), name, path, sorted(modules), level)

    async def _do(self, process: _Process, item: DeliverItem, module: str, qualname: str) -> bytes:
        run = Run(
            module, qualname, item.task, item.queue, item.job, item.attempt, item.crashes, item.headers, item.args,
            deadline_of(item),
        )  # fmt: skip
        try:
            reply = await self._answer(process, run)
        except BaseException:
            self._discard(process)
            raise
        finally:
            self._places.release()
        if isinstance(reply, Returned):
            return reply.body
        if isinstance(reply, Raised):
            raise _told(reply)
        raise _died(item, reply)

    async def _answer(self, process: _Process, run: Run) -> Returned | Raised | str:
        """What becomes of the run: its reply, or how its process ended. Each cancellation is more severe."""
        answer = asyncio.ensure_future(process.ask(run))
        stopped = False
        for severer in (process.stop, process.kill):
            try:
                reply = await asyncio.shield(answer)
                break
            except asyncio.CancelledError:
                stopped = True
                severer()
        else:
            reply = await answer
        if stopped or isinstance(reply, str):
            self._discard(process)
        else:
            self._free.append(process)
        return reply

    def _discard(self, process: _Process) -> None:
        """Have no more to do with it."""
        if process not in self._all:
            return
        self._all.remove(process)
        if process in self._free:
            self._free.remove(process)
        ending = asyncio.ensure_future(process.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


class _Process:
    """One process and its channel."""

    def __init__(self, process: asyncio.subprocess.Process, channel: WorkerEnd, lifeline: socket.socket) -> None:
        # Its keeper, in truth, which ends last, and as it did.
        self._process = process
        self._lifeline = lifeline
        # Or a child of another job would keep this one alive beyond its worker's death.
        close_in_child(self, lifeline.fileno())
        self._channel = channel
        self._greeting = asyncio.ensure_future(channel.receive())
        self._busy = False

    @classmethod
    async def start(cls, prepare: Prepare) -> _Process:
        """Spawn it. Raises `OSError` where the system has no room for another one."""
        near, far = socket.socketpair()
        lifeline, its = socket.socketpair()
        lifeline.setblocking(False)
        with far, its:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "aioqueue.worker.process_child", str(far.fileno()), str(its.fileno()),
                    stdin=asyncio.subprocess.DEVNULL, pass_fds=[far.fileno(), its.fileno()], start_new_session=True,
                )  # fmt: skip
            except BaseException:
                near.close()
                lifeline.close()
                raise
        made = cls(process, await WorkerEnd.open(near), lifeline)
        made._channel.send(prepare)
        return made

    @property
    def lives(self) -> bool:
        return self._process.returncode is None

    async def greeted(self) -> Ready | Raised | str:
        """Wait until it has imported the app; else why it could not, or how it ended instead."""
        greeting = await asyncio.shield(self._greeting)
        return greeting if isinstance(greeting, Ready | Raised) else await self._death()

    async def ask(self, run: Run) -> Returned | Raised | str:
        """The reply to a run; text that tells how the process ended if there will be none."""
        self._busy = True
        self._channel.send(run)
        hearing = asyncio.ensure_future(self._channel.receive())
        dying = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait({hearing, dying}, return_when=asyncio.FIRST_COMPLETED)
            if not hearing.done():
                # What it started may hold the channel open, and ends with it.
                self.kill()
                await asyncio.wait({hearing}, timeout=_LAST_WORD_SECONDS)
            reply = hearing.result() if hearing.done() else None
        finally:
            hearing.cancel()
            dying.cancel()
        if not isinstance(reply, Returned | Raised):
            return await self._death()
        self._busy = False
        return reply

    def stop(self) -> None:
        """Have it, and what it started, terminated; it does that itself, and so knows that it is no stray signal."""
        self._channel.send(Stop())

    def kill(self) -> None:
        """Kill it and what it started."""
        self._say(KILL)

    def _say(self, word: bytes) -> None:
        # It may have ended.
        with contextlib.suppress(OSError):
            self._lifeline.send(word)

    async def end(self) -> None:
        """See it end: by itself if it is idle, killed if it runs a job."""
        self._channel.close()
        self._greeting.cancel()
        self._say(KILL if self._busy else LEAVE)
        await self._process.wait()
        self._lifeline.close()

    async def _death(self) -> str:
        # The channel ends with the process, or little before it; one that is ending already dies as it would have.
        self.kill()
        return death_of(await self._process.wait())


def findable(task: AnyTask) -> tuple[str, str]:
    """By which module and name another process of this program finds the task's function. Raises `BadOption`."""
    module, qualname = str(task.fn.__module__), str(task.fn.__qualname__)
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if isinstance(found, Task):
        found = found.fn
    if found is not task.fn:
        raise _unfindable(task, f"{module} does not hold it under its own name {qualname!r}")
    if module == "__main__" and _main_module() == ("", ""):
        raise _unfindable(task, "the program is no file; write the task into a module")
    return module, qualname


def deadline_of(item: DeliverItem) -> int:
    """When the job of a run must be over, UTC by the broker's clock; 0 for never."""
    return number_in(item.extra, Key.DEADLINE_AT, INSTANT_MS_MAX) if item.extra else 0


def allows(task: AnyTask, error: BaseException) -> bool:
    """Whether another attempt may help after this; what a process told is known by names, its class and its bases."""
    if not isinstance(error, Told):
        return task.retry.allows(error)
    names = set(error.kinds)
    return _among(task.retry.on, names) and not _among(task.retry.never, names)


def _among(kinds: ExceptionTypes, names: set[str]) -> bool:
    return any(name_of(kind) in names for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))


def _unfindable(task: AnyTask, reason: str) -> BadOption:
    reason = f"another process cannot find the function of task {task.name}: {reason}"
    return BadOption(option="executor", value="process", reason=reason)


def _main_module() -> tuple[str, str]:
    """The main module's name, if it was started by one, or its file."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name), ""
    file = getattr(main, "__file__", None)
    return "", os.path.abspath(file) if file and os.path.exists(file) else ""


def _told(raised: Raised) -> Told:
    return Told(Failure(raised.name, raised.text, raised.traceback, False), raised.kinds, raised.misfit)


def _died(item: DeliverItem, how: str) -> Told:
    error = ProcessDied(job=id_text(item.job), task=item.task, how=how)
    kinds = [name_of(kind) for kind in type(error).__mro__ if issubclass(kind, BaseException)]
    return Told(Failure(type(error).__name__, str(error), "", False), kinds)


async def _finished(task: asyncio.Future[_Process]) -> _Process:
    """The outcome of what must not be left half done; a cancellation is told after it."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if task.exception() is None:
            await task.result().end()
        raise
