"""The examples in the docstrings of public names: they are there, and run as they are printed."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import textwrap
from types import FunctionType
from typing import Any

import pytest

import aioqueue
from aioqueue import Context, Job, JobFailed, JobInfo, Queue, Retry, Task, Worker

_EXAMPLE = re.compile(r"Example::\n\n((?:(?:    .*)?\n)+)")
EXPLAINED = [
    *(Queue, Task, Job, JobInfo, Context, Retry, Worker),
    *(Queue.submit, Queue.submit_many, Queue.map, Queue.get, Queue.find, Queue.statistics, Task.options),
]


def example_of(what: Any) -> str:
    found = _EXAMPLE.search(f"{inspect.getdoc(what)}\n\n")
    return textwrap.dedent(found[1]) if found else ""


@pytest.mark.parametrize("what", EXPLAINED, ids=lambda what: what.__qualname__)
async def test_the_example_of_a_docstring_does_what_it_says(what: Any) -> None:
    program = compile(example_of(what), what.__qualname__, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    queue = Queue("memory:")

    @queue.task
    async def send(address: str) -> str:
        return "sent"

    names = {name: getattr(aioqueue, name) for name in ("Queue", "Context", "Retry", "Worker")}
    async with asyncio.timeout(50), queue:
        job = await queue.submit(send, "grace@example.com")
        ended = FunctionType(program, {**names, "JobFailed": JobFailed, "queue": queue, "send": send, "job": job})()
        if inspect.iscoroutine(ended):
            await ended


@pytest.mark.parametrize("what", EXPLAINED, ids=lambda what: what.__qualname__)
def test_a_public_name_has_an_example(what: Any) -> None:
    assert example_of(what)


@pytest.mark.parametrize("kind", [Queue, Task, Job, Context, Retry, Worker], ids=lambda kind: kind.__name__)
def test_a_public_method_says_what_it_does(kind: type) -> None:
    public = [name for name in vars(kind) if not name.startswith("_") and callable(getattr(kind, name))]
    assert [name for name in public if not inspect.getdoc(getattr(kind, name))] == []
