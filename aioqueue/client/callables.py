"""What a task's function is below its decorators: `wraps`, `partial`, methods and objects hide coroutine functions.

Asked where a task is declared, and by who calls it in another process. Nothing is called here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal

# "async": calling it gives what is to be awaited. "hidden": a plain function wraps such a one, so it probably does.
Kind = Literal["async", "hidden", "generator", "plain"]


def kind_of(fn: Any) -> Kind:
    """What calling `fn` gives, as far as one can see."""
    sure = True
    while True:
        if inspect.iscoroutinefunction(fn):
            return "async" if sure else "hidden"
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            # A plain wrapper may well make a list of it.
            return "generator" if sure else "plain"
        inner = _called_by(fn)
        if inner is None:
            inner, sure = getattr(fn, "__wrapped__", None), False
        if inner is None:
            return "plain"
        fn = inner


def innermost(fn: Callable[..., Any]) -> Any:
    """The plain function that holds the annotations, below `partial`, `wraps`, bound methods and objects."""
    while (inner := getattr(fn, "__wrapped__", None) or _called_by(fn)) is not None:
        fn = inner
    return fn


def is_awaitable(value: Any) -> bool:
    """Whether `await` takes it."""
    return hasattr(type(value), "__await__")


def awaiting(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A coroutine function for one that is `hidden`: it is called in the event loop, and what it gives is awaited."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        made = fn(*args, **kwargs)
        return await made if is_awaitable(made) else made

    return call


def _called_by(fn: Any) -> Any:
    """What a call of `fn` is, without any code in between, a call of; None for a function."""
    if isinstance(fn, functools.partial):
        return fn.func
    if isinstance(fn, staticmethod) or inspect.ismethod(fn):
        return fn.__func__
    if not hasattr(fn, "__code__") and not isinstance(fn, type):
        # The method of an object that can be called, unless it is one of C.
        method = getattr(type(fn), "__call__", None)  # noqa: B004
        return method if hasattr(method, "__code__") or hasattr(method, "__wrapped__") else None
    return None
