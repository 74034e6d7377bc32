"""Plain functions as something to await: each call runs in a thread of the worker's own pool.

A call's exception comes back as it was raised, `SystemExit` and `StopIteration` included, none of which may pass
through a future. A call cannot be stopped: whoever stops waiting for it leaves its thread to finish alone, and its
outcome is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any

_Outcome = tuple[Any, BaseException | None]


class Threads:
    """At most `threads` calls at once; more wait for a free thread. No thread is started before the first call."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    async def call(self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The function's value, or what it raised; it sees a copy of the caller's context variables."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="aioqueue-job")
        loop = asyncio.get_running_loop()
        value, error = await loop.run_in_executor(self._pool, _outcome, copy_context(), fn, args, kwargs)
        if error is not None:
            try:
                raise error
            finally:
                # The exception holds this frame by its traceback, and the frame the exception.
                del error
        return value

    def close(self) -> None:
        """Take no further calls. Threads that still run are left to end by themselves."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def _outcome(context: Context, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Outcome:
    try:
        return context.run(fn, *args, **kwargs), None
    except BaseException as error:
        return None, error
