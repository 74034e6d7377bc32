"""Plain functions as something to await: each call runs in a thread of the worker's own.

A call's exception comes back as it was raised, `SystemExit` and `StopIteration` included, none of which may pass
through a future. A call cannot be stopped. So it is waited for when its caller is cancelled, and once more when it is
cancelled again; a third time its thread is left to finish alone, its outcome is dropped, and another thread may take
its place.

Only the event loop's thread changes anything here: threads take their calls from an inbox of their own and hand the
outcome to the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, Final

from aioqueue.client.callables import is_awaitable
from aioqueue.forked import in_child

_Outcome = tuple[Any, BaseException | None]
_Work = Callable[[], _Outcome]
# Cancellations that a call is waited for after.
_PATIENCE: Final = 2


class Threads:
    """At most `threads` calls at once, not counting those that were left; more wait for a free thread.

    No thread is started before the first call.
    """

    def __init__(self, threads: int) -> None:
        self._threads_max = threads
        self._threads = 0
        # Calls that nobody waits for, and that their threads are still in: each as what it was made for.
        self._left: dict[asyncio.Future[_Outcome], bytes] = {}
        self._free: list[_Thread] = []
        self._waiting: deque[asyncio.Future[_Thread]] = deque()
        self._busy: dict[asyncio.Task[Any] | None, _Thread] = {}
        self._closed = False

    async def call(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        on_cancel: Callable[[], None] | None = None,
        job: bytes = b"",
    ) -> Any:
        """The function's value, awaited where it can be, or what it raised.

        It sees a copy of the caller's context variables.

        `on_cancel` is called at the first cancellation while it runs. `job` is what the call is made for.
        """
        context = copy_context()
        thread = await self._take()
        task = asyncio.current_task()
        self._busy[task] = thread
        try:
            value, error = await self._outcome(thread, lambda: _outcome(context, fn, args, kwargs), on_cancel, job)
        finally:
            del self._busy[task]
        if error is not None:
            try:
                raise error
            finally:
                # The exception holds this frame by its traceback, and the frame the exception.
                del error
        # A plain function may return what is to be awaited, and no thread has a loop.
        return await value if is_awaitable(value) else value

    @property
    def left(self) -> list[bytes]:
        """The jobs of calls that go on, and that nobody waits for. Any thread may ask."""
        return list(self._left.values())

    def ident_of(self, task: asyncio.Task[Any]) -> int | None:
        """The thread that a task waits for."""
        thread = self._busy.get(task)
        return None if thread is None else thread.ident

    def close(self) -> None:
        """Take no further calls. Threads that still run are left to end by themselves."""
        self._closed = True
        for thread in self._free:
            thread.end()
        self._free.clear()

    async def _outcome(
        self, thread: _Thread, work: _Work, on_cancel: Callable[[], None] | None, job: bytes
    ) -> _Outcome:
        future = thread.do(work)
        cancelled = 0
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                cancelled += 1
                if cancelled == 1 and on_cancel is not None:
                    on_cancel()
                if cancelled > _PATIENCE:
                    self._leave(thread, future, job)
                    raise
        self._give_back(thread)
        return future.result()

    async def _take(self) -> _Thread:
        if self._free:
            return self._free.pop()
        if self._threads < self._threads_max:
            return self._new()
        waiter: asyncio.Future[_Thread] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._give_back(waiter.result())
            raise

    def _new(self) -> _Thread:
        self._threads += 1
        thread = _Thread(asyncio.get_running_loop())
        thread.start()
        return thread

    def _give_back(self, thread: _Thread) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(thread)
                return
        if self._closed:
            thread.end()
        else:
            self._free.append(thread)

    def _leave(self, thread: _Thread, future: asyncio.Future[_Outcome], job: bytes) -> None:
        self._threads -= 1
        self._left[future] = job
        future.add_done_callback(self._left.pop)
        thread.end()
        if any(not waiter.done() for waiter in self._waiting):
            self._give_back(self._new())


class _Thread(threading.Thread):
    """One thread, which does one call after another until it is told to end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # A program that ends must not wait for a call that nobody waits for.
        super().__init__(name="aioqueue job", daemon=True)
        self._loop = loop
        self._in_loop: Callable[..., object] = loop.call_soon_threadsafe
        self._inbox: SimpleQueue[tuple[_Work, asyncio.Future[_Outcome]] | None] = SimpleQueue()
        in_child(self, _Thread._end_what_comes_back)

    def do(self, work: _Work) -> asyncio.Future[_Outcome]:
        """Begin a call; called in the event loop, one at a time."""
        future: asyncio.Future[_Outcome] = self._loop.create_future()
        self._inbox.put((work, future))
        return future

    def end(self) -> None:
        """End after the call that it does."""
        self._inbox.put(None)

    def _end_what_comes_back(self) -> None:
        """In a forked child: one that returns from the call as if it were the job ends there."""
        self._in_loop = lambda *outcome: os._exit(0)

    def run(self) -> None:
        while (call := self._inbox.get()) is not None:
            work, future = call
            outcome = work()
            # The loop may be closed by now: then nobody waits for the outcome.
            with contextlib.suppress(RuntimeError):
                self._in_loop(future.set_result, outcome)
            # An idle thread must not keep the last call's arguments and result alive.
            del call, work, future, outcome


def _outcome(context: Context, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Outcome:
    try:
        return context.run(fn, *args, **kwargs), None
    except BaseException as error:
        return None, error
