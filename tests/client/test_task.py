"""Tasks and their registry."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aioqueue.client.context import Context, alone
from aioqueue.client.declare import Declares
from aioqueue.client.options import Options, Retry
from aioqueue.client.task import Task, TaskRegistry, default_name
from aioqueue.errors import BadArguments, BadName, BadOption, TaskExists, UnknownTask, Unstoppable


async def send(to: str, copies: int = 1) -> str:
    """Send a letter."""
    return f"{to} x{copies}"


def fold(sheet: str) -> tuple[str, int]:
    return sheet, threading.get_ident()


async def stamp(context: Context, letter: str) -> tuple[str, str, int]:
    return letter, context.task, context.attempt


def fold_with_context(context: Context, letter: str) -> tuple[str, str]:
    return letter, context.queue


def counting() -> Iterator[int]:
    yield 1


async def counting_too() -> AsyncIterator[int]:
    yield 1


def task_of(fn: Callable[..., Any], options: Options) -> Task[..., Any]:
    return Task(fn, options, alone)


# --- calling here -------------------------------------------------------------------------------------------------


async def test_calling_a_task_runs_it_here() -> None:
    assert await task_of(send, {})("ada", copies=2) == "ada x2"


async def test_calling_a_plain_function_runs_it_in_a_thread() -> None:
    sheet, thread = await task_of(fold, {})("a4")
    assert (sheet, thread != threading.get_ident()) == ("a4", True)


async def test_a_task_that_is_called_directly_is_given_a_context() -> None:
    assert await task_of(stamp, {"name": "post.stamp"})("x") == ("x", "post.stamp", 1)
    assert await task_of(fold_with_context, {"queue": "mail"})("x") == ("x", "mail")


async def test_a_direct_call_that_does_not_fit_fails_as_any_call() -> None:
    with pytest.raises(TypeError):
        await task_of(send, {})()  # type: ignore[call-arg]


async def test_partials_and_callable_objects_can_be_tasks() -> None:
    class Sender:
        async def __call__(self, to: str) -> str:
            return f"object to {to}"

    partial = task_of(functools.partial(send, copies=3), {"name": "partial"})
    made = task_of(Sender(), {"name": "object"})
    assert (partial.is_async, made.is_async) == (True, True)
    assert (await partial("ada"), await made("ada")) == ("ada x3", "object to ada")


# --- submitting there ---------------------------------------------------------------------------------------------


def test_a_call_whose_arguments_do_not_fit_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(BadArguments, match="missing 1 required positional argument: 'to'"):
        task_of(send, {}).call()  # type: ignore[call-arg]


def test_a_call_packs_what_a_run_unpacks() -> None:
    task = task_of(send, {})
    body = task.call("ada", copies=3).pack()
    assert task.signature.unpack(body) == (("ada",), {"copies": 3})


def test_a_plan_is_packed_once_for_a_namespace() -> None:
    task = task_of(send, {})
    assert task.plan("shop") is task.plan("shop")
    assert task.plan("other").spec.namespace == "other"


def test_options_of_one_submit_leave_the_task_alone() -> None:
    task = task_of(send, {"queue": "mail", "priority": 7})
    before = task.plan("shop")
    changed = task.options(delay=5, id="a", priority="low", retry=1)
    assert (changed.plan("shop").delay_ms, changed.plan("shop").spec.priority) == (5_000, 2)
    assert (changed.name, changed.fn, changed.queue, changed.retry.attempts) == (task.name, task.fn, "mail", 1)
    assert task.plan("shop") is before
    assert before.delay_ms == 0


def test_options_can_be_given_in_turns() -> None:
    plan = task_of(send, {}).options(delay=5).options(id="a").plan("shop")
    assert (plan.delay_ms, plan.own_id) == (5_000, "a")


def test_a_task_is_judged_by_the_retry_it_was_declared_with() -> None:
    declared = Retry(never=(ValueError,))
    assert task_of(send, {"retry": declared}).retry is declared
    assert task_of(send, {}).retry == Retry()


def test_a_task_looks_like_its_function_without_the_context() -> None:
    task = task_of(stamp, {})
    assert str(task.__signature__) == "(letter: 'str') -> 'tuple[str, str, int]'"
    assert task_of(send, {}).__doc__ == "Send a letter."


# --- what cannot be a task ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fn", "reason"),
    [
        (counting, "generator"),
        (counting_too, "generator"),
        (dict, "class"),
        ("send", "function"),
        (None, "function"),
        (lambda: 1, "lambda"),
        (functools.partial(send, "ada"), "name="),
        (task_of(send, {}), "already"),
    ],
)
def test_what_cannot_be_a_task_is_refused_with_its_reason(fn: Any, reason: str) -> None:
    with pytest.raises(BadOption, match=reason):
        task_of(fn, {})


def test_a_lambda_can_be_a_task_under_a_name() -> None:
    assert task_of(lambda x: x, {"name": "same"}).name == "same"


def test_a_plain_function_with_a_timeout_is_refused_since_a_thread_cannot_be_stopped() -> None:
    with pytest.raises(Unstoppable):
        task_of(fold, {"timeout": 5_000})
    with pytest.raises(Unstoppable):
        task_of(fold, {}).options(timeout=5)
    assert task_of(send, {}).options(timeout=5).plan("shop").spec.timeout_ms == 5_000


@pytest.mark.parametrize("name", ["delay", "apply_async", "s", "si", "send", "enqueue", "kiq", "defer"])
def test_what_other_queues_call_a_submit_is_answered_with_what_to_write(name: str) -> None:
    task = task_of(send, {})
    with pytest.raises(AttributeError, match=rf"no '{name}'; write `await queue.submit\(send, …\)`"):
        getattr(task, name)
    assert not hasattr(task, name)
    with pytest.raises(AttributeError, match="has no attribute 'other'"):
        task.other  # type: ignore[attr-defined]  # noqa: B018 - it is what raises


# --- names --------------------------------------------------------------------------------------------------------


def test_a_task_is_named_after_its_module_and_function() -> None:
    assert task_of(send, {}).name == f"{__name__}.send"


def test_a_local_function_has_a_name_without_brackets() -> None:
    async def inner() -> None: ...

    assert default_name(inner) == f"{__name__}.test_a_local_function_has_a_name_without_brackets.inner"


def test_a_name_outside_the_alphabet_asks_for_another() -> None:
    async def größe() -> None: ...

    with pytest.raises(BadName, match="give the task another one by name="):
        task_of(größe, {})
    assert task_of(größe, {"name": "shop.size"}).name == "shop.size"


PROGRAM = """
from aioqueue.client.task import default_name
async def send(): ...

print(default_name(send))
"""


@pytest.mark.parametrize(
    ("path", "arguments", "name"),
    [
        ("shop.py", ["shop.py"], "shop.send"),
        ("shop.py", ["-m", "shop"], "shop.send"),
        ("store/jobs.py", ["-m", "store.jobs"], "store.jobs.send"),
        ("store/__main__.py", ["-m", "store"], "store.send"),
        ("shop.py", ["-c", "import shop"], "shop.send"),
        ("my shop.py", ["my shop.py"], "my_shop.send"),
        ("my shop.py", ["-c", "import importlib; importlib.import_module('my shop')"], "my_shop.send"),
        ("store/__main__.py", ["-c", "import store.__main__"], "store.send"),
        ("store/__main__.py", ["store"], "main.send"),
        ("shop.py", ["-m", "cProfile", "-o", "profile", "shop.py"], "shop.send"),
        ("shop.py", ["-c", PROGRAM], "main.send"),
        (
            "shop.py",
            ["-c", "import multiprocessing.spawn as s; s._fixup_main_from_path('shop.py')"],
            "shop.send",
        ),
    ],
)
def test_a_program_names_its_tasks_as_an_importing_worker_would(
    path: str, arguments: list[str], name: str, tmp_path: Path
) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(PROGRAM)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), root])}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == name


@pytest.mark.parametrize("arguments", [["-"], ["-m", "asyncio"], ["-m", "code"], ["-i", "-q"]])
def test_a_task_of_a_console_or_of_standard_input_is_one_of_main(arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, *arguments], input=PROGRAM, env=environment, capture_output=True, text=True, check=True
    )
    assert "main.send" in done.stdout.split(), done.stderr


# --- the registry -------------------------------------------------------------------------------------------------


def test_a_task_is_found_by_its_name() -> None:
    registry = TaskRegistry()
    task = task_of(send, {"name": "post.send"})
    registry.add(task)
    assert registry.get("post.send") is task
    assert ("post.send" in registry, len(registry), registry.names()) == (True, 1, ["post.send"])


def test_an_unknown_task_is_refused_and_the_known_ones_are_named() -> None:
    registry = TaskRegistry()
    with pytest.raises(UnknownTask, match="none"):
        registry.get("send")
    registry.add(task_of(send, {"name": "post.send"}))
    with pytest.raises(UnknownTask, match=r"post\.send"):
        registry.get("send")


def test_two_functions_cannot_share_a_name() -> None:
    registry = TaskRegistry()
    registry.add(task_of(send, {"name": "post.send"}))
    with pytest.raises(TaskExists, match=rf"{__name__}\.send"):
        registry.add(task_of(stamp, {"name": "post.send"}))
    assert registry.get("post.send").fn is send


def test_tasks_of_another_registry_are_taken_all_or_none() -> None:
    mine, theirs = TaskRegistry(), TaskRegistry()
    mine.add(task_of(send, {"name": "a"}))
    theirs.add(task_of(stamp, {"name": "b"}))
    theirs.add(task_of(stamp, {"name": "a"}))
    with pytest.raises(TaskExists):
        mine.include(theirs)
    assert mine.names() == ["a"]


def test_including_the_same_tasks_twice_changes_nothing() -> None:
    mine, theirs = TaskRegistry(), TaskRegistry()
    theirs.add(task_of(send, {"name": "a"}))
    mine.include(theirs)
    mine.include(theirs)
    assert [task.fn for task in mine] == [send]


# --- declaring ----------------------------------------------------------------------------------------------------


def test_a_decorator_works_with_and_without_options() -> None:
    queue = Declares()
    bare = queue.task(send)
    named = queue.task(name="post.send", priority="high")(send)
    direct = queue.task(send, name="direct")
    assert queue.tasks.names() == sorted([bare.name, "post.send", "direct"])
    assert (named.plan("shop").spec.priority, direct.plan("shop").spec.priority) == (8, 5)


def test_the_defaults_of_a_queue_are_those_of_its_tasks() -> None:
    queue = Declares(queue="slow", keep="7d")
    assert queue.task(send).plan("shop").spec.keep_ms == 604_800_000
    assert queue.task(stamp, queue="fast").queue == "fast"


def test_a_refused_declaration_leaves_no_task_behind() -> None:
    queue = Declares()
    with pytest.raises(Unstoppable):
        queue.task(fold, timeout=5)
    assert queue.tasks.names() == []


def test_an_included_queue_brings_its_tasks() -> None:
    mine, theirs = Declares(), Declares()
    task = theirs.task(send)
    mine.include(theirs)
    assert mine.tasks.get(task.name) is task
