"""From a delivered run to the coroutine that does it: one `TaskCall` a task, made when its first job comes.

What can be decided once a task (is it a coroutine function, does it take a `Context`, how are its results packed) is
decided here, so that a run costs little more than its own call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aioqueue.client.context import Context, ask_to_stop
from aioqueue.client.task import Task, TaskRegistry
from aioqueue.client.ties import Ties
from aioqueue.model.bodies import unpack_headers
from aioqueue.protocol.messages import DeliverItem
from aioqueue.worker.processes import Processes, allows, deadline_of
from aioqueue.worker.stacks import place_of, place_of_task
from aioqueue.worker.threads import Threads

AnyTask = Task[..., Any]


class TaskCall:
    """How runs of one task are done.

    `start` gives what to await for a run, and raises `BadArguments`; `pack` raises `NotSerializable` and
    `PayloadTooLarge`; `retries` says whether another attempt may help after an exception. Where a run has to wait for
    something before it begins, `admit` is to be awaited instead of calling `start`, and gives the same.
    """

    __slots__ = ("admit", "pack", "retries", "start")

    def __init__(self, task: AnyTask, threads: Threads, processes: Processes, ties: Ties | None) -> None:
        self.admit: Callable[[DeliverItem], Awaitable[Awaitable[Any]]] | None = None
        self.retries: Callable[[BaseException], bool] = task.retry.allows
        self.pack: Callable[[Any], bytes] = task.signature.pack_result
        if task.executor == "process":
            self.admit = processes.starter(task)
            self.retries = partial(allows, task)
            # The process has packed it.
            self.pack = bytes
        else:
            self.start: Callable[[DeliverItem], Awaitable[Any]] = _starter(task, threads, ties)


class Calls(dict[str, TaskCall]):
    """Task name to `TaskCall`; `calls[name]` raises `UnknownTask` for a name that the app does not register.

    A dictionary, because one that is found must cost no more than a look-up.
    """

    def __init__(
        self, registry: TaskRegistry, threads: Threads, processes: Processes, ties: Ties | None = None
    ) -> None:
        super().__init__()
        self._registry = registry
        self._threads = threads
        self._processes = processes
        self._ties = ties

    @property
    def left(self) -> list[bytes]:
        """The jobs whose threads do what nobody waits for any more."""
        return self._threads.left

    def place_of(self, task: asyncio.Task[Any]) -> str:
        """Where the run is that this task does: file, line and function, or nothing that its author would know."""
        thread = self._threads.ident_of(task)
        return place_of_task(task) if thread is None else place_of(thread)

    def __missing__(self, name: str) -> TaskCall:
        task = self._registry.get(name)
        call = self[name] = TaskCall(task, self._threads, self._processes, self._ties)
        return call


def _starter(task: AnyTask, threads: Threads, ties: Ties | None) -> Callable[[DeliverItem], Awaitable[Any]]:
    unpack = task.signature.unpack
    fn: Callable[..., Any] = task.call_in_loop if task.is_async else task.fn
    if not task.signature.takes_context:
        if not task.is_async:
            return lambda item: threads.call(fn, *unpack(item.args), job=item.job)

        def start(item: DeliverItem) -> Awaitable[Any]:
            args, kwargs = unpack(item.args)
            made: Awaitable[Any] = fn(*args, **kwargs)
            return made

        return start

    def start_with_context(item: DeliverItem) -> Awaitable[Any]:
        args, kwargs = unpack(item.args)
        made: Awaitable[Any] = fn(context_of(item, ties), *args, **kwargs)
        return made

    def start_in_thread_with_context(item: DeliverItem) -> Awaitable[Any]:
        args, kwargs = unpack(item.args)
        context = context_of(item, ties)
        return threads.call(fn, (context, *args), kwargs, partial(ask_to_stop, context), item.job)

    return start_with_context if task.is_async else start_in_thread_with_context


def context_of(item: DeliverItem, ties: Ties | None) -> Context:
    """What a task that asks for it is told of its run."""
    return Context(
        item.job,
        task=item.task,
        queue=item.queue,
        attempt=item.attempt,
        crashes=item.crashes,
        headers=unpack_headers(item.headers),
        deadline_ms=deadline_of(item),
        ties=ties,
    )
