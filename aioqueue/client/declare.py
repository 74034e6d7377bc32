"""`@queue.task`: how functions become tasks, and how type checkers see it.

A first parameter annotated `Context` is given by the worker, so it is taken out of what callers have to pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from datetime import datetime
from typing import Any, Concatenate, Never, ParamSpec, Protocol, TypeVar, Unpack, overload

from aioqueue.client.context import Context, alone
from aioqueue.client.options import Executor, Priority, Retry, TaskOptions, default_options, merged, task_options
from aioqueue.client.task import Task, TaskRegistry
from aioqueue.model.durations import Duration

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator(Protocol):
    """What `@queue.task(...)` with options is."""

    @overload
    def __call__(self, fn: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]: ...


class Declares:
    """The declaring side of a queue: a mixin, so that it works without a connection.

    `defaults` are the options of its tasks that do not say otherwise. Raises `BadOption` or `BadName` for them.
    """

    def __init__(self, **defaults: Unpack[TaskOptions]) -> None:
        self.tasks: TaskRegistry = TaskRegistry()
        self._defaults = default_options(defaults)

    @overload
    def task(
        self, fn: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /, **options: Unpack[TaskOptions]
    ) -> Task[P, R]: ...
    @overload
    def task(self, fn: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[TaskOptions]) -> Task[P, R]: ...
    @overload
    def task(self, fn: Callable[Concatenate[Context, P], R], /, **options: Unpack[TaskOptions]) -> Task[P, R]: ...
    @overload
    def task(self, fn: Callable[P, R], /, **options: Unpack[TaskOptions]) -> Task[P, R]: ...
    # The options once more, one by one: so that a checker says the name of one that is unknown.
    @overload
    def task(
        self,
        fn: None = None,
        /,
        *,
        name: str | None = ...,
        queue: str | None = ...,
        priority: Priority | None = ...,
        delay: Duration | None = ...,
        retry: Retry | int = ...,
        timeout: Duration | None = ...,
        deadline: Duration | datetime | None = ...,
        expires: Duration | datetime | None = ...,
        inherit: bool | None = ...,
        executor: Executor | None = ...,
        keep: Duration | None = ...,
        headers: Mapping[str, str] | None = ...,
        labels: Collection[str] | None = ...,
        **unknown: Never,
    ) -> TaskDecorator: ...
    def task(self, fn: Any = None, /, **options: Any) -> Any:
        """Declare a task: `@queue.task`, `@queue.task(retry=3)` or `queue.task(fn, name="shop.send")`.

        Raises `BadOption`, `BadName`, `BadAnnotation`, `Unstoppable` or `TaskExists`.
        """
        layer = merged(task_options(options), self._defaults)

        def declare(fn: Any) -> Task[Any, Any]:
            task: Task[Any, Any] = Task(fn, layer, alone)
            self.tasks.add(task)
            return task

        return declare if fn is None else declare(fn)

    def include(self, other: Declares) -> None:
        """Take the tasks that `other` has declared until now. Raises `TaskExists` and takes none if a name is taken."""
        self.tasks.include(other.tasks)
