"""Whatever is raised becomes bounded data."""

from __future__ import annotations

import pytest

from aioqueue.limits import ERROR_BYTES_MAX, FAILURE_TEXT_BYTES_MAX
from aioqueue.model.bodies import unpack_failure
from aioqueue.model.views import Failure
from aioqueue.worker.failures import bounded, failure_body, failure_of, line_of, text_of, type_of


class OutOfStock(Exception):
    pass


class Rude(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


def caught(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:
        return raised


def endless() -> None:
    endless()


def told(error: BaseException) -> Failure:
    body = failure_body(failure_of(error, retry=True))
    assert len(body) <= ERROR_BYTES_MAX
    return unpack_failure(body)


def test_a_builtin_exception_is_named_without_its_module() -> None:
    assert type_of(ValueError()) == "ValueError"


def test_an_exception_of_an_app_is_named_with_its_module() -> None:
    assert type_of(OutOfStock()) == f"{__name__}.OutOfStock"


def test_a_failure_holds_text_and_traceback() -> None:
    failure = told(caught(OutOfStock("of shoes")))
    assert failure.text == "of shoes"
    assert "in caught\n    raise error" in failure.traceback
    assert failure.traceback.endswith("OutOfStock: of shoes\n")


def test_an_exception_whose_text_fails_is_told_as_such() -> None:
    assert text_of(Rude()) == "<its text cannot be read: SystemExit>"
    assert told(caught(Rude())).type.endswith("Rude")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x" * 10_000_000),
        ValueError("\ud800 half a character" + "ü" * 50_000),
        ExceptionGroup("many", [ValueError("y" * 5_000) for _ in range(1_000)]),
        type("N" * 100_000, (Exception,), {})("long name"),
        type("Unnamed", (Exception,), {"__module__": None})("no module"),
    ],
    ids=["huge text", "broken text", "a large group", "a long name", "no module"],
)
def test_a_failure_is_bounded_whatever_was_raised(error: Exception) -> None:
    failure = told(caught(error))
    assert len(failure.text.encode()) <= FAILURE_TEXT_BYTES_MAX


def test_endless_recursion_becomes_a_failure() -> None:
    with pytest.raises(RecursionError) as raised:
        endless()
    failure = told(raised.value)
    assert failure.type == "RecursionError"
    assert failure.traceback.count("in endless") < 10


def test_the_exceptions_of_a_group_are_told() -> None:
    failure = told(caught(ExceptionGroup("two", [ValueError("first"), OutOfStock("second")])))
    assert "ValueError: first" in failure.traceback
    assert "OutOfStock: second" in failure.traceback


def test_the_cause_of_an_exception_is_told() -> None:
    error = OutOfStock("outer")
    error.__cause__ = caught(KeyError("inner"))
    assert "KeyError: 'inner'" in told(caught(error)).traceback


def test_a_text_that_is_too_long_loses_its_middle() -> None:
    text = bounded("a" * 500 + "b" * 500, 100)
    assert len(text) == 100
    assert text.startswith("aaaa")
    assert text.endswith("bbbb")
    assert "1000 bytes in all" in text


def test_a_text_is_not_cut_inside_a_character() -> None:
    for size in range(60, 70):
        text = bounded("ü" * 500, size)
        assert len(text.encode()) <= size
        assert "\ufffd" not in text


def test_a_text_for_a_log_is_one_line() -> None:
    assert line_of(ValueError("one\n  two\r\nthree")) == "one two three"
