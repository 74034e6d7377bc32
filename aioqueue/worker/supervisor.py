"""`aioqueue worker MODULE:QUEUE`: keeps worker processes alive, beats for them, and tells the broker when one dies.

The supervisor loads nothing of the app. Its processes are spawned, never forked; each has a session of its own. A
child that dies is started again, with growing waits if it dies soon; where none can even begin, the supervisor ends
with the reason.

The children stand in groups of their own, so a terminal's signals reach the supervisor alone, which hands them on. The
first SIGTERM or SIGINT stops the children in good order, a second one hurries them; SIGHUP, when a terminal is closed,
is like the first. SIGQUIT ends children and supervisor at once, and their jobs are given back. SIGTSTP stops the
children and then the supervisor, until SIGCONT. A child that somebody else stops is not beaten for meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from aioqueue.errors import AioqueueError, CrashLoop, from_wire
from aioqueue.ground import Ground
from aioqueue.model.sizes import count_text
from aioqueue.model.version import VERSION
from aioqueue.transport.dialer import Dialer
from aioqueue.worker import suspending
from aioqueue.worker.channel import Connecting, Failed, Leaving, Ready, Stop, SupervisorEnd, Work, WorkerOptions
from aioqueue.worker.child import EXIT_SECONDS
from aioqueue.worker.failures import death_of
from aioqueue.worker.heartbeat import Heartbeat
from aioqueue.worker.pulse import Pulse

_log = logging.getLogger(__name__)

# Where one is started again so often without having reached the broker, and no other is at work, none will do better.
STARTS_MAX: Final = 5
_WAIT_SECONDS: Final = 0.1
_WAIT_SECONDS_MAX: Final = 5.0
# A child that lived this long was a good one.
_PROVED_NS: Final = 10_000_000_000
_TELL_SECONDS: Final = 2.0


class Supervisor:
    """Keeps `processes` children at work.

    `on_ready` is called once, when as many are welcome at the broker, `on_stopping` when it begins to stop.
    """

    def __init__(
        self,
        options: WorkerOptions,
        processes: int = 1,
        *,
        ground: Ground,
        on_ready: Callable[[], None] | None = None,
        on_stopping: Callable[[], None] | None = None,
    ) -> None:
        self._ground = ground
        self._on_ready = on_ready
        self._on_stopping = on_stopping
        self._options = options
        self._processes = processes
        self._began_ms = ground.now().mono_ms
        self._children: set[_Child] = set()
        # Threads that may still be telling of a death.
        self._telling: list[Heartbeat] = []
        self._stopping = asyncio.Event()
        self._was_ready = False
        self._was_loaded = False
        # How many children in a row died before they were ready, by place, since a child was last at work.
        self._fruitless: Counter[int] = Counter()
        self._error: AioqueueError | None = None
        # What the stop left undone, for people; nothing else is a reason for another exit code than 0.
        self._left: list[str] = []

    async def run(self) -> int:
        """Work until stopped; 0 if all jobs were settled or given back by then, else 1.

        Raises the error by which no child can begin.
        """
        loop = asyncio.get_running_loop()
        handlers = self._handlers()
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            async with asyncio.TaskGroup() as places:
                for index in range(self._processes):
                    places.create_task(self._keep(index))
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)
            await self._finish_telling()
        if self._error is not None:
            raise self._error
        for left in self._left:
            _log.error("%s", left)
        _log.info("stopped")
        return 1 if self._left else 0

    def _handlers(self) -> dict[int, Callable[[], object]]:
        """What is done at which signal; `nohup` keeps its meaning."""
        handlers: dict[int, Callable[[], object]] = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGHUP: self._hang_up,
            signal.SIGQUIT: self._quit,
            signal.SIGTSTP: self._suspend,
            signal.SIGCONT: self._resume,
            signal.SIGCHLD: self._look_at_children,
        }
        return {
            number: handler
            for number, handler in handlers.items()
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
        }

    def _hang_up(self) -> None:
        # A shell and the system may both say it: that is no hurry.
        if not self._stopping.is_set():
            self.stop()

    def _quit(self) -> None:
        self._stopping.set()
        for child in self._children:
            child.quit()

    def _suspend(self) -> None:
        workers = [child.pid for child in self._children]
        suspending.suspend(workers)
        suspending.stop_here()
        suspending.resume(workers)

    def _resume(self) -> None:
        suspending.resume([child.pid for child in self._children])

    def _look_at_children(self) -> None:
        for child in self._children:
            child.look()

    async def _finish_telling(self) -> None:
        ended = [await asyncio.to_thread(heartbeat.join, _TELL_SECONDS) for heartbeat in self._telling]
        if not all(ended):
            _log.warning("the broker could not be told that worker processes ended; their sessions will expire")
            if any(heartbeat.owes for heartbeat in self._telling):
                self._left.append("jobs that heeded no cancellation could not be given back; they will run again")

    def stop(self) -> None:
        """Stop all children in good order; the second time, in a hurry."""
        hurry = self._stopping.is_set()
        if not hurry and self._on_stopping is not None:
            self._on_stopping()
        self._stopping.set()
        if self._children:
            workers = count_text(len(self._children), "worker")
            _log.info("stopping %s%s", workers, " in a hurry" if hurry else "")
        for child in self._children:
            child.stop(hurry)

    async def _keep(self, index: int) -> None:
        """Hold one place: a child, and after its death another one."""
        quick = 0
        while not self._stopping.is_set():
            started_ns = self._ground.mono_ns()
            try:
                name = f"{socket.gethostname()}:{os.getpid()}/{index + 1}"
                work = Work(self._options, self._ground.random(16), name, self._began_ms)
                child = await _Child.start(work, self._ground)
            except (OSError, RuntimeError) as trouble:
                # No file, process or, which is a RuntimeError, thread is left for it.
                quick += 1
                wait = min(_WAIT_SECONDS_MAX, _WAIT_SECONDS * 2**quick)
                _log.error("no worker process can be started: %s; the next attempt is in %.1f s", trouble, wait)
                await self._pause(wait)
                continue
            end = await self._watch(child)
            if self._stopping.is_set():
                self._left += child.left_behind(end)
                return
            error = self._judge(child, end, index)
            if error is not None:
                # The others may be at work; they stop in good order.
                self._error = self._error or error
                self.stop()
                return
            quick = 0 if self._ground.mono_ns() - started_ns > _PROVED_NS else quick + 1
            wait = min(_WAIT_SECONDS_MAX, _WAIT_SECONDS * 2**quick)
            _log.warning("worker process %d %s; another one starts in %.1f s", child.pid, end, wait)
            await self._pause(wait)

    async def _watch(self, child: _Child) -> str:
        """Serve the child until its end; says how it ended."""
        self._children.add(child)
        child.on_loaded = self._tell_loaded
        if self._stopping.is_set():
            child.stop(hurry=False)
        try:
            return await child.run(self._tell_ready)
        finally:
            self._children.discard(child)
            await child.aclose()
            self._telling = [each for each in (*self._telling, *child.heartbeats) if not each.join(0)]

    def _tell_loaded(self, loaded: Connecting) -> None:
        """Say once what is run here, and for which broker: it may be away, or another than was meant."""
        if self._was_loaded:
            return
        self._was_loaded = True
        namespace = "" if loaded.namespace == "default" else f", namespace {loaded.namespace}"
        _log.info(
            "aioqueue %s, worker of %s at %s%s: %s; %s at once in %s",
            VERSION, self._options.target, ", ".join(map(str, loaded.addresses)), namespace, loaded.serves,
            count_text(self._options.concurrency, "job"),
            "1 process" if self._processes == 1 else f"each of {self._processes} processes",
        )  # fmt: skip

    def _tell_ready(self) -> None:
        if self._on_ready is not None and sum(child.ready for child in self._children) == self._processes:
            tell, self._on_ready = self._on_ready, None
            tell()

    def _judge(self, child: _Child, end: str, index: int) -> AioqueueError | None:
        """Why starting another child is of no use, if so it is: never while others are at work."""
        if child.ready:
            self._was_ready = True
            self._fruitless.clear()
            return None
        self._fruitless[index] += 1
        if any(other.ready for other in self._children):
            return None
        if child.failure is not None and not self._was_ready:
            return from_wire(child.failure.code, child.failure.message, {})
        if (starts := self._fruitless[index]) >= STARTS_MAX:
            reason = child.failure.message if child.failure is not None else f"it {end}"
            return CrashLoop(target=self._options.target, times=starts, reason=reason)
        return None

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


class _Child:
    """One worker process with its channel and its heartbeat.

    It leads a group of its own, in which the programs stand that plain jobs and coroutines start.
    """

    def __init__(self, process: asyncio.subprocess.Process, channel: SupervisorEnd, work: Work, ground: Ground) -> None:
        self._ground = ground
        self.ready = False
        # Told once its app is loaded.
        self.on_loaded: Callable[[Connecting], None] | None = None
        # What it said of its leaving.
        self._leaving: Leaving | None = None
        self.failure: Failed | None = None
        self._process = process
        self._channel = channel
        self._work = work
        # One, as soon as the child knows its broker.
        self.heartbeats: list[Heartbeat] = []
        self._kill: asyncio.TimerHandle | None = None
        self._quit = False

    @classmethod
    async def start(cls, work: Work, ground: Ground) -> _Child:
        """Spawn the process and tell it what to do."""
        near, far = socket.socketpair()
        with far:
            channel = await SupervisorEnd.open(near)
            try:
                process = await asyncio.create_subprocess_exec(
                    *_command(far.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[far.fileno()],
                    process_group=0,
                )
            except BaseException:
                await channel.aclose()
                raise
        child = cls(process, channel, work, ground)
        channel.send(work)
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    async def run(self, on_ready: Callable[[], None]) -> str:
        """Listen to the child until it ends; says how it ended, for people."""
        listening = asyncio.create_task(self._listen(on_ready))
        try:
            code = await self._process.wait()
            # What it said last is still in the channel; a program that it started may hold the channel open.
            await asyncio.wait({listening}, timeout=_TELL_SECONDS)
        finally:
            listening.cancel()
        return death_of(code)

    def stop(self, hurry: bool) -> None:
        """Ask the child to stop, and see to it that it does."""
        self._channel.send(Stop(hurry))
        if self._kill is not None:
            self._kill.cancel()
        options = self._work.options
        patience_ms = 2 * options.cancel_grace_ms + (0 if hurry else options.grace_ms)
        loop = asyncio.get_running_loop()
        # Its own deadline for the same comes first, by EXIT_SECONDS.
        self._kill = loop.call_later(patience_ms / 1000 + 2 * EXIT_SECONDS, self._end_it)

    def quit(self) -> None:
        """End it at once, with what stands in its group, by SIGQUIT; its jobs are given back."""
        self._quit = True
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGQUIT)
        # The app may have its own use for that signal.
        self.stop(hurry=True)

    def look(self) -> None:
        """Beat for it no more while it stands still, for its jobs would never end and never be given to others."""
        still = suspending.standing_still(self.pid)
        if still:
            _log.warning(
                "worker process %d was stopped by a signal; nobody beats for it until it goes on, so its jobs are "
                "given to others when its session has expired", self.pid,
            )  # fmt: skip
        elif still is not None:
            _log.info("worker process %d goes on", self.pid)
        for heartbeat in self.heartbeats:
            if still is not None:
                heartbeat.pause(still)

    async def aclose(self) -> None:
        """See the process end; what is to be told of it may still be on its way."""
        if self._kill is not None:
            self._kill.cancel()
        self._end_it()
        code = await self._process.wait()
        await self._channel.aclose()
        for heartbeat in self.heartbeats:
            # A task may have ended the process with any code; the word that it leaves is the child's own.
            if self._leaving is None and not self._quit:
                heartbeat.died(death_of(code))
            elif self._leaving is None or self._leaving.kept:
                heartbeat.farewell()
            else:
                heartbeat.stop()

    def left_behind(self, end: str) -> list[str]:
        """What of its jobs was neither settled nor given back when it ended."""
        if self._leaving is None:
            if not self.ready or self._quit:
                return []
            return [f"worker process {self.pid} {end} before it had given its jobs back; they will run again"]
        if untold := self._leaving.untold:
            jobs = count_text(untold, "job")
            return [f"worker process {self.pid} could not tell the ends of {jobs}; what was not told runs again"]
        return []

    def _end_it(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def _listen(self, on_ready: Callable[[], None]) -> None:
        while (message := await self._channel.receive()) is not None:
            match message:
                case Connecting(addresses, namespace, process, about):
                    if self.on_loaded is not None:
                        self.on_loaded(message)
                    name = self._work.name
                    heartbeat = Heartbeat(
                        Dialer(addresses), self._work.secret, namespace=namespace, name=name, ground=self._ground,
                        process=process, about=about,
                    )  # fmt: skip
                    self.heartbeats.append(heartbeat)
                case Ready():
                    # Its session is there to be beaten for, and no job has come yet that could block it.
                    try:
                        for heartbeat in self.heartbeats:
                            heartbeat.start()
                    except (OSError, RuntimeError) as trouble:
                        # Without beats its jobs would be given to others while it runs them.
                        _log.error("nobody can beat for worker process %d: %s", self.pid, trouble)
                        self._end_it()
                        return
                    self.ready = True
                    _log.info("worker process %d is ready", self.pid)
                    on_ready()
                case Leaving():
                    self._leaving = message
                    for heartbeat in self.heartbeats if not message.kept else ():
                        heartbeat.leaving()
                case Failed():
                    self.failure = message
                case Pulse():
                    for heartbeat in self.heartbeats:
                        heartbeat.feel(message)


def _command(descriptor: int) -> Sequence[str]:
    return sys.executable, "-m", "aioqueue.worker.child", str(descriptor)
