"""A task: a function that can be called here, or submitted to run elsewhere.

Calling a `Task` runs its function here and now, without a broker, so it can be tested as any coroutine. A `Task` does
not know a broker: it gives a queue what a submit needs, its packed arguments and its `Plan`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, Protocol, TypeVar, Unpack

import anyio.to_thread
import msgspec

from aioqueue.client.callables import awaiting, innermost, is_awaitable, kind_of
from aioqueue.client.given import GiveAlone
from aioqueue.client.options import (
    DEFAULT_QUEUE,
    Executor,
    Options,
    Plan,
    Retry,
    SubmitOptions,
    merged,
    plan_for,
    submit_options,
)
from aioqueue.client.signature import Signature
from aioqueue.errors import BadName, BadOption, TaskExists, UnknownTask, Unstoppable
from aioqueue.model.names import check_name

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)

# How a submit is called by other queues. What is asked of a task by one of them is told what it is called here.
_SUBMITS_ELSEWHERE: Final = frozenset(
    ("apply_async", "defer", "delay", "enqueue", "kiq", "s", "send", "send_with_options", "si")
)


class Task(Generic[P, R_co]):
    """A function with a name and options. Made by `@queue.task`, which says what a direct call is given.

    `fn` is the function itself, `is_async` whether it is a coroutine function, perhaps behind a plain decorator, and
    `executor` where a worker runs it. What a plain function returns is awaited too, where it can be awaited.
    `retry` is what the worker judges its exceptions by.

    Example::

        @queue.task(name="shop.resize", timeout="30s", retry=3)
        async def resize(path: str, width: int = 320) -> str:
            return f"{path}@{width}"

        assert await resize("cat.png") == "cat.png@320"  # runs here
        assert await queue.run(resize, "cat.png", width=64) == "cat.png@64"  # runs in a worker

    Raises `BadOption` or `BadName` for what cannot be a task or its options, `Unstoppable` for a plain function with
    a timeout, and `BadAnnotation` for types that no bytes can be told apart as.
    """

    def __init__(self, fn: Callable[..., Any], options: Options, give: GiveAlone) -> None:
        _check_function(fn)
        self.fn = fn
        self.name: str = options.get("name") or default_name(fn)
        kind = kind_of(fn)
        # In a thread, where it was asked for, a decorator may run the coroutine itself.
        self.is_async: bool = kind == "async" or (kind == "hidden" and options.get("executor") != "thread")
        self.call_in_loop: Callable[..., Any] = awaiting(fn) if kind == "hidden" else fn
        self.executor: Executor = _executor(fn, options.get("executor"), is_async=self.is_async)
        self.signature: Signature = Signature.of(fn, self.name)
        self.__signature__: inspect.Signature = self.signature.visible
        self.__name__: str = self.name.rpartition(".")[2]
        self.__doc__ = getattr(fn, "__doc__", None)
        self._give = give
        self._options = options
        self._plan: Plan | None = None
        self._use(options)

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function here: a coroutine function in this task, a plain function in a thread."""
        fn = self.call_in_loop if self.is_async else self.fn
        call = partial(fn, self._give(self.name, self.queue)) if self.takes_context else fn
        if self.is_async:
            found: R_co = await call(*args, **kwargs)
            return found
        made = await anyio.to_thread.run_sync(partial(call, *args, **kwargs))
        return await made if is_awaitable(made) else made  # type: ignore[no-any-return]

    # A method that never returns would have type checkers take the rest of the caller for unreachable.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in _SUBMITS_ELSEWHERE:
                reason = f"a task has no {name!r}; write `await queue.submit({self.__name__}, …)`"
                raise AttributeError(reason, name=name, obj=self)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def options(self, **options: Unpack[SubmitOptions]) -> Task[P, R_co]:
        """The same task with other options, for one submit or more; the registered task is not changed.

        Example::

            soon = send.options(delay="10m", priority="high", id="welcome-42", headers={"trace": "a1"})
            await queue.submit(soon, "ada@example.com")

        Raises `BadOption`, `BadName` or `Unstoppable`.
        """
        changed: Task[P, R_co] = object.__new__(Task)
        changed.__dict__.update(self.__dict__)
        changed._use(merged(submit_options(options), self._options))
        return changed

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        """A submit as a value, for `submit_many`: `send.call("ada@example.com")`.

        Raises `BadArguments` where a call would raise `TypeError`.
        """
        self.signature.bind(args, kwargs)
        return Call(self, args, kwargs)

    @property
    def queue(self) -> str:
        """The lane its jobs wait in."""
        return self._options.get("queue", DEFAULT_QUEUE)

    @property
    def retry(self) -> Retry:
        """When a failed attempt is followed by another."""
        return self._options.get("retry", _DEFAULT_RETRY)

    @property
    def takes_context(self) -> bool:
        """Whether the function's first parameter is a `Context`."""
        return self.signature.takes_context

    def plan(self, namespace: str) -> Plan:
        """What a submit of this task needs besides its arguments; packed once."""
        if self._plan is None or self._plan.spec.namespace != namespace:
            self._plan = plan_for(self.name, self._options, namespace)
        return self._plan

    def pack(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """The arguments as a body. Raises `BadArguments`, `NotSerializable` or `PayloadTooLarge`."""
        return self.signature.pack(args, kwargs)

    def _use(self, options: Options) -> None:
        if options.get("timeout") and self.executor == "thread":
            raise Unstoppable(task=self.name)
        self._options = options
        self._plan = None

    def __repr__(self) -> str:
        return f"<Task {self.name}{self.signature.visible}>"


def options_of(task: Task[..., Any]) -> Options:
    """The options of a task, as they were declared or changed."""
    return task._options


class OfOne(Protocol[T_contra, R_co]):
    """A task that can be called with one argument, whatever else has a default: what `Queue.map` takes."""

    @property
    def executor(self) -> Executor: ...
    def __call__(self, item: T_contra, /) -> Coroutine[Any, Any, R_co]: ...


class Callee(Protocol):
    """What can be submitted: a `Task`, or a `NamedTask`. `signature` reads its results."""

    @property
    def name(self) -> str: ...
    @property
    def signature(self) -> Any: ...
    def plan(self, namespace: str) -> Plan: ...
    def pack(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes: ...


class Call(msgspec.Struct, Generic[R_co], frozen=True):
    """One submit that has not been sent: a task and arguments that fit it. Made by `Task.call` and `NamedTask.call`."""

    task: Callee
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def pack(self) -> bytes:
        """The arguments as a body. Raises `NotSerializable` or `PayloadTooLarge`."""
        return self.task.pack(self.args, self.kwargs)


class TaskRegistry:
    """The tasks of one queue, by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[..., Any]] = {}
        # Who tells a broker of them, and of those that come later.
        self._listeners: list[Callable[[], None]] = []

    def listen(self, changed: Callable[[], None]) -> None:
        """Call this, in the thread that declares it, whenever there is another task, until `unlisten`."""
        self._listeners.append(changed)

    def unlisten(self, changed: Callable[[], None]) -> None:
        """Call it no more."""
        self._listeners.remove(changed)

    def _changed(self) -> None:
        for changed in list(self._listeners):
            changed()

    def add(self, task: Task[..., Any]) -> None:
        """Raises `TaskExists` if another function has the name."""
        known = self._tasks.setdefault(task.name, task)
        if known.fn is not task.fn:
            owner = f"{getattr(known.fn, '__module__', '?')}.{getattr(known.fn, '__qualname__', known.fn)}"
            raise TaskExists(task=task.name, owner=owner)
        if self._listeners and known is task:
            self._changed()

    def get(self, name: str) -> Task[..., Any]:
        """Raises `UnknownTask`, which names the known ones."""
        try:
            return self._tasks[name]
        except KeyError:
            raise UnknownTask(task=name, known=", ".join(self.names()) or "none") from None

    def names(self) -> list[str]:
        """Sorted."""
        return sorted(self._tasks)

    def include(self, other: TaskRegistry) -> None:
        """Take all tasks that `other` has now, or none: `TaskExists` if one of the names is taken."""
        merged = TaskRegistry()
        for task in (*self, *other):
            merged.add(task)
        self._tasks = merged._tasks
        self._changed()

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def __iter__(self) -> Iterator[Task[..., Any]]:
        return iter(list(self._tasks.values()))

    def __len__(self) -> int:
        return len(self._tasks)


def default_name(fn: Callable[..., Any]) -> str:
    """`module.function`: as an importing worker would call it, also where the module runs as a program.

    Raises `BadOption` for a function without a name of its own, `BadName` for one that cannot be a task's.
    """
    qualname = getattr(fn, "__qualname__", None)
    if not isinstance(qualname, str):
        raise BadOption(option="fn", value=fn, reason="it has no name of its own; give name=")
    if "<lambda>" in qualname:
        raise BadOption(option="fn", value=fn, reason="a lambda has no name; give name=, or write a def")
    module = getattr(fn, "__module__", None) or ""
    if module in _PROGRAMS:
        module = _main_module(fn)
    # A file's name may have spaces; `pkg.__main__` is `pkg` to `python -m pkg`, and so to a worker that imports it.
    module = module.replace(" ", "_").removesuffix(".__main__")
    try:
        return check_name("task", f"{module}.{qualname.replace('<locals>.', '')}".lstrip("."))
    except BadName as error:
        raise BadName(f"{error}; give the task another one by name=", **error.fields) from None


def _main_module(fn: Callable[..., Any]) -> str:
    """What the program that holds `fn` is called when it is imported: by `python -m`, its own name; else that of its
    file. What is typed into a console, or read from a pipe, is `main`: nobody can import it.
    """
    inner = innermost(fn)
    # Of a console or a profiler `__main__` is that program, and not the module of the function.
    holder = getattr(inner, "__globals__", None) or vars(sys.modules["__main__"])
    code = getattr(inner, "__code__", None)
    if code is not None and code.co_filename.startswith("<"):
        return _CONSOLE
    spec, file = holder.get("__spec__"), holder.get("__file__")
    name = str(spec.name) if spec is not None else Path(file).stem if file else _CONSOLE
    return _CONSOLE if name == "__main__" else name


def _check_function(fn: Any) -> None:
    reason = ""
    if isinstance(fn, Task):
        reason = "it is a task already"
    elif isinstance(fn, type):
        reason = "it is a class; a task is a function"
    elif not callable(fn):
        reason = "a task is a function: `async def`, or a plain one that runs in a thread"
    elif kind_of(fn) == "generator":
        reason = "it is a generator; a task returns one result"
    if reason:
        raise BadOption(option="fn", value=fn, reason=reason)


def _executor(fn: Any, wanted: str | None, *, is_async: bool) -> Executor:
    natural: Executor = "async" if is_async else "thread"
    if not wanted or wanted == natural:
        return natural
    reason = ""
    if wanted == "async":
        reason = "it is a plain function; make it `async def`, or leave the option out for a thread"
    elif wanted == "thread":
        reason = "it is a coroutine function; leave the option out, or say process"
    elif inspect.ismethod(fn) and not isinstance(fn.__self__, type):
        reason = "it is bound to an object, which another process does not have; declare a function"
    elif "<" in getattr(fn, "__qualname__", "<"):
        reason = "another process finds a function by its module and name; write it with def at the top of a module"
    if reason:
        raise BadOption(option="executor", value=wanted, reason=reason)
    return "process"


_DEFAULT_RETRY = Retry()
_CONSOLE: Final = "main"
# How modules are called that are programs: by Python, to the processes of multiprocessing, and by `python -m code`.
_PROGRAMS: Final = ("__main__", "__mp_main__", "__console__")
