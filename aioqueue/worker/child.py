"""One worker process: `python -m aioqueue.worker.child FD`, started by the supervisor and by nobody else.

It learns from its channel what to do, loads the app, works until it is told to stop, and ends itself when the
supervisor is gone: nobody beats for it then. SIGTERM stops it in good order; SIGINT is the supervisor's to answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from aioqueue.client.identity import THIS_PROCESS
from aioqueue.client.queue import Queue
from aioqueue.errors import AioqueueError, BadUrl, BrokerUnavailable
from aioqueue.logs import log_early, log_to_stderr
from aioqueue.transport.address import TcpAddress
from aioqueue.worker import signals
from aioqueue.worker.channel import LINE_BYTES_MAX, ChildEnd, Connecting, Failed, Leaving, Ready, Stop, Work
from aioqueue.worker.failures import bounded
from aioqueue.worker.loading import load_queue
from aioqueue.worker.wiring import Wiring
from aioqueue.worker.worker import Worker

# Not by `__name__`, for this is the main module of its process.
_log = logging.getLogger("aioqueue.worker.child")

# After the goodbye this long is left for the app's own exit handlers, and for threads that never end none.
EXIT_SECONDS: Final = 5.0
# An app may have thousands of tasks.
_NAMES_SHOWN: Final = 20


def main() -> None:
    """Be a worker process until the end."""
    channel = ChildEnd(socket.socket(fileno=int(sys.argv[1])))
    work = channel.receive()
    if not isinstance(work, Work):
        return
    code = 0
    try:
        log_early()
        queue = load_queue(work.options.target)
        log_to_stderr(work.options.log_level, [work.options.target.partition(".")[0].partition(":")[0]])
        _run(Child(work, queue, channel))
    except AioqueueError as error:
        channel.send(Failed(error.code, bounded(str(error), LINE_BYTES_MAX // 8)))
        code = 1
    channel.leave_open()
    _exit_after(EXIT_SECONDS, code)
    sys.exit(code)


def _run(child: Child) -> None:
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        runner.run(child.run())


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where the platform has it: 20 to 40 % less CPU (DESIGN 10)."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _exit_after(seconds: float, code: int) -> None:
    """End this process by then, whatever tasks and threads of the app still run."""
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()


def serves(queues: Sequence[str] | None, tasks: Sequence[str]) -> str:
    """What a worker does, for people: `all queues; tasks shop.add, shop.send`."""
    return f"{'all queues' if queues is None else _named('queue', queues)}; {_named('task', tasks)}"


def _named(what: str, names: Sequence[str]) -> str:
    if not names:
        return f"no {what}s"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{what}{'' if len(names) == 1 else 's'} {', '.join(names[:_NAMES_SHOWN])}{more}"


class Child:
    """A queue, a worker on it, and who may stop it."""

    def __init__(self, work: Work, queue: Queue, channel: ChildEnd) -> None:
        options = work.options
        if options.url:
            queue.url = options.url
        self._address = queue.address
        if not isinstance(self._address, TcpAddress):
            reason = "the app that names it runs its jobs itself"
            raise BadUrl(
                f"{queue.url!r} cannot be used here: {reason}; for workers beside it run `aioqueue serve` on the same "
                "journal, and give its --url, such as tcp://127.0.0.1:7411",
                url=queue.url, reason=reason,
            )  # fmt: skip
        queue.worker = False
        self._queue = queue
        self._queues = options.queues
        self._channel = channel
        self._cancel_grace_ms = options.cancel_grace_ms
        self._worker = Worker(
            queue,
            queues=options.queues,
            concurrency=options.concurrency,
            threads=options.threads,
            job_processes=options.job_processes,
            grace=options.grace_ms / 1000,
            cancel_grace=options.cancel_grace_ms / 1000,
            on_partition=options.on_partition,
            labels=options.labels,
            name=work.name,
            wiring=Wiring(
                secret=work.secret,
                began_ms=work.began_ms,
                on_pulse=channel.send,
                on_ready=lambda: channel.send(Ready()),
                on_leaving=lambda untold, kept: channel.send(Leaving(untold, kept)),
            ),
        )
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Connect and work until stopped. Raises what no waiting can heal."""
        loop = asyncio.get_running_loop()
        signals.handle_in_loop(loop, signal.SIGTERM, partial(self._stop, False))
        # Some process managers send it to every process; the supervisor's word is what counts.
        signals.handle_in_loop(loop, signal.SIGINT, lambda: None)
        threading.Thread(target=self._listen, args=[loop], name="aioqueue supervisor", daemon=True).start()
        assert isinstance(self._address, TcpAddress)
        self._channel.send(
            Connecting(
                [self._address], self._queue.namespace, THIS_PROCESS.id, THIS_PROCESS.about,
                serves(self._queues, sorted(task.name for task in self._queue.tasks)),
            )
        )  # fmt: skip
        async with AsyncExitStack() as stack:
            if await self._connect(stack):
                await self._worker.run()
            else:
                # Nothing was begun, so there is nothing to tell of its end.
                self._channel.send(Leaving(0))
        # Jobs that heed no cancellation would keep the event loop from closing.
        _exit_after(EXIT_SECONDS, 0)

    async def _connect(self, stack: AsyncExitStack) -> bool:
        """Enter the queue, so that tasks can submit; False if it was stopped before a broker answered."""
        stopping = asyncio.create_task(self._stopping.wait())
        told = ""
        try:
            while not stopping.done():
                entering = asyncio.create_task(stack.enter_async_context(self._queue))
                await asyncio.wait({entering, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not entering.done():
                    entering.cancel()
                    await asyncio.wait({entering})
                    return False
                try:
                    entering.result()
                except BrokerUnavailable as error:
                    # Each few seconds for as long as it takes: what was said is not said again.
                    if str(error) != told:
                        told = str(error)
                        _log.warning("%s; trying again", told)
                else:
                    return True
            return False
        finally:
            stopping.cancel()

    def _stop(self, hurry: bool) -> None:
        # A second SIGTERM is not a hurry: process managers send one to every process, the supervisor included.
        if hurry or not self._stopping.is_set():
            self._worker.stop(hurry=hurry)
        self._stopping.set()

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: do what the supervisor says, until it is gone."""
        while isinstance(message := self._channel.receive(), Stop):
            self._stop_from_afar(loop, message.hurry)
        # Nobody beats for this session now. The event loop may be blocked, so the process ends with or without it.
        _exit_after(2 * self._cancel_grace_ms / 1000 + EXIT_SECONDS, 1)
        self._stop_from_afar(loop, True)

    def _stop_from_afar(self, loop: asyncio.AbstractEventLoop, hurry: bool) -> None:
        # The loop may be closed by now: then nothing runs that could be stopped.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._stop, hurry)


if __name__ == "__main__":
    main()
