from __future__ import annotations

from typing import Any

import pytest

from aioqueue import Context, Retry
from aioqueue.client.declare import Declares
from aioqueue.client.described import Described, describe, description_of
from aioqueue.client.options import plan_for
from aioqueue.errors import BadArguments, MalformedFrame
from aioqueue.model.registry import Passing, TaskDescription, TaskParameter, digest_of, unpack_description

tasks = Declares(keep="7d")


@tasks.task(
    name="shop.send", queue="mail", priority="high", retry=Retry(attempts=3, base="250ms", cap="7s", jitter=False),
    timeout="30s", delay="5s", deadline="10m", expires="1m", inherit=True, headers={"trace": "a1"},
)  # fmt: skip
async def send(
    ctx: Context, to: str, subject: str | None = None, *parts: bytes, urgent: bool = False, **more: Any
) -> int:
    """Send a letter.

    The rest is of no interest to the registry.
    """
    return 0


@tasks.task(name="shop.plain", retry=1)
def plain(a, /, b): ...  # type: ignore[no-untyped-def]


def test_a_description_says_all_that_the_declaration_does() -> None:
    assert description_of(send) == TaskDescription(
        "mail", 8, Retry(attempts=3, base=0.25, cap=7, jitter=False).policy(), 30_000, 604_800_000, "async", (), 5_000,
        (600_000, 0), (60_000, 0), True, {"trace": "a1"},
        (
            TaskParameter("to", "str"),
            TaskParameter("subject", "str | None", False),
            TaskParameter("parts", "bytes", False, Passing.MORE_POSITIONAL),
            TaskParameter("urgent", "bool", False, Passing.KEYWORD_ONLY),
            TaskParameter("more", "Any", False, Passing.MORE_KEYWORDS),
        ),
        "int", "Send a letter.",
    )  # fmt: skip


def test_a_worker_says_the_digest_of_the_very_body() -> None:
    digest, body = describe(plain)
    assert digest == digest_of(body)
    assert unpack_description(plain.name, body) == description_of(plain)
    assert description_of(plain).executor == "thread"


def test_a_submit_by_the_description_is_planned_as_one_by_the_task() -> None:
    for task in (send, plain):
        planned = plan_for(task.name, Described(task.name, description_of(task)).options, "shop")
        assert planned == task.plan("shop")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1,), {}), ((1, 2, 3), {}), ((1, 2), {"c": 3}), ((), {"a": 1, "b": 2}), ((1, 2), {"b": 2})],
)
def test_arguments_that_do_not_fit_are_refused_with_what_does(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(BadArguments, match=r"shop\.plain\(a, /, b\)"):
        Described(plain.name, description_of(plain)).bind(args, kwargs)


def test_arguments_that_fit_are_accepted() -> None:
    Described(plain.name, description_of(plain)).bind((1,), {"b": 2})
    described = Described(send.name, description_of(send))
    described.bind(("ada", None, b"1", b"2"), {"urgent": True, "cc": "grace"})
    described.bind((), {"to": "ada"})
    with pytest.raises(
        BadArguments, match=r"to: str, subject: str \| None = \.\.\., \*parts: bytes, urgent: bool = \."
    ):
        described.bind((), {})


def test_parameters_that_no_function_has_are_refused() -> None:
    for parameters in (
        (TaskParameter("a"), TaskParameter("a")),
        (TaskParameter("a", "", False), TaskParameter("b")),
        (TaskParameter("a", passing=Passing.KEYWORD_ONLY), TaskParameter("b")),
    ):
        with pytest.raises(MalformedFrame, match="task t"):
            Described("t", TaskDescription("default", parameters=parameters))
