"""Arguments and results: bound, packed, and given back as what their annotations say."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Never, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.client.context import Context
from aioqueue.client.signature import Signature, pack_arguments
from aioqueue.errors import (
    BadAnnotation,
    BadArguments,
    BadOption,
    BadResult,
    NotSerializable,
    PayloadTooLarge,
)
from aioqueue.limits import BODY_BYTES_MAX
from aioqueue.model.bodies import pack_body

if TYPE_CHECKING:
    from aioqueue.model.views import JobInfo as OnlyForCheckers


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


class Point(NamedTuple):
    x: int
    y: int


class Settings(TypedDict):
    depth: int


class Letter(msgspec.Struct):
    to: str


class Money(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    amount: Decimal
    paid: datetime
    seal: bytes = b"x"
    currency: str = pydantic.Field(default="EUR", alias="cur")


@dataclass
class Line:
    name: str
    path: Path
    price: Decimal


@dataclass
class Order:
    id: UUID
    lines: list[Line]
    due: datetime | None = None


ORDER = Order(UUID(int=7), [Line("ink", Path("/tmp/ink"), Decimal("1.10"))], datetime(2030, 1, 1, tzinfo=UTC))


def round_trip(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    signature = Signature.of(fn)
    return signature.unpack(signature.pack(args, kwargs))


# --- binding ------------------------------------------------------------------------------------------------------


def positional_only(a: Any, b: Any, /, c: Any = 1) -> None: ...
def keyword_only(a: Any, *, b: Any, c: Any = 1) -> None: ...
def everything(a: Any, /, b: Any, *rest: Any, c: Any, **more: Any) -> None: ...
def rest_only(*rest: Any) -> None: ...
def more_only(**more: Any) -> None: ...
def required_after_default(a: Any, *, b: Any = 1, c: Any) -> None: ...
def nothing() -> None: ...


FUNCTIONS = [
    positional_only,
    keyword_only,
    everything,
    rest_only,
    more_only,
    required_after_default,
    nothing,
]


@given(
    st.sampled_from(FUNCTIONS),
    st.lists(st.integers(0, 3), max_size=4),
    st.dictionaries(st.sampled_from("abcdx"), st.integers(0, 3)),
)
def test_arguments_are_refused_exactly_where_a_call_would_fail(
    fn: Callable[..., None], args: list[int], kwargs: dict[str, int]
) -> None:
    signature = Signature.of(fn)
    try:
        fn(*args, **kwargs)
    except TypeError:
        with pytest.raises(BadArguments):
            signature.bind(args, kwargs)
    else:
        assert signature.unpack(signature.pack(args, kwargs)) == (tuple(args), kwargs)


def test_a_refusal_says_what_is_missing_and_how_the_task_is_called() -> None:
    signature = Signature.of(keyword_only, "shop.send")
    with pytest.raises(BadArguments) as refused:
        signature.bind((1,), {})
    assert str(refused.value) == (
        "the arguments do not fit task shop.send: missing 1 required keyword-only argument: 'b'; "
        "it is shop.send(a: 'Any', *, b: 'Any', c: 'Any' = 1) -> 'None'"
    )


def test_an_option_among_the_arguments_is_told_where_it_belongs() -> None:
    signature = Signature.of(keyword_only, "shop.send")
    with pytest.raises(BadArguments, match=r"; delay is an option, given by task.options\(delay=...\)$"):
        signature.bind((1,), {"b": 2, "delay": 3})


def test_defaults_are_those_of_the_version_that_runs() -> None:
    assert round_trip(positional_only, 1, 2) == ((1, 2), {})


# --- types --------------------------------------------------------------------------------------------------------


def order(value: Order) -> None: ...
def path(value: Path) -> None: ...
def paths(value: dict[str, list[PurePosixPath]]) -> None: ...
def iterable(value: Iterable[Path]) -> None: ...
def sequence(value: Sequence[date]) -> None: ...
def numbers(value: set[int]) -> None: ...
def pair(value: tuple[int, Path]) -> None: ...
def frozen(value: frozenset[UUID]) -> None: ...
def colour(value: Colour) -> None: ...
def size(value: Size) -> None: ...
def point(value: Point) -> None: ...
def settings(value: Settings) -> None: ...
def letter(value: Letter) -> None: ...
def money(value: Money) -> None: ...
def monies(value: dict[str, list[Money]]) -> None: ...
def span(value: timedelta) -> None: ...
def naive(value: datetime) -> None: ...
def blob(value: bytes) -> None: ...
def choice(value: Literal["a", "b"]) -> None: ...
def either(value: int | str | None) -> None: ...
def maybe(value: Order | None) -> None: ...
def small(value: Annotated[int, msgspec.Meta(le=9)]) -> None: ...
def defaulted(value: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013 (many write it so)
def nested(value: object) -> None: ...
def bare(value): ...  # type: ignore[no-untyped-def]


MONEY = Money(amount=Decimal("1.10"), paid=datetime(2030, 1, 1, tzinfo=UTC), cur="USD")


@pytest.mark.parametrize(
    ("fn", "value"),
    [
        (order, ORDER),
        (path, Path("a/b")),
        (paths, {"a": [PurePosixPath("x"), PurePosixPath("y")]}),
        (iterable, [Path("a")]),
        (sequence, [date(2030, 1, 1)]),
        (numbers, {1, 2}),
        (pair, (1, Path("a"))),
        (frozen, frozenset({UUID(int=1)})),
        (colour, Colour.RED),
        (size, Size.LARGE),
        (point, Point(1, 2)),
        (settings, {"depth": 2}),
        (letter, Letter("ada")),
        (money, MONEY),
        (monies, {"a": [MONEY, MONEY]}),
        (span, timedelta(days=2, microseconds=5)),
        (naive, datetime(2030, 1, 1)),  # noqa: DTZ001 (naive is the subject)
        (naive, datetime(2030, 1, 1, tzinfo=UTC)),
        (blob, b"\x00\xff"),
        (choice, "b"),
        (either, None),
        (either, "x"),
        (maybe, None),
        (maybe, ORDER),
        (small, 9),
        (defaulted, None),
        (defaulted, 4),
        (nested, {"a": [1, b"x", None]}),
        (bare, {"a": [1, b"x", None]}),
    ],
)
@pytest.mark.parametrize("keyword", [False, True])
def test_a_value_comes_back_as_what_it_was(fn: Callable[..., Any], value: Any, keyword: bool) -> None:
    args, kwargs = round_trip(fn, value=value) if keyword else round_trip(fn, value)
    (found,) = kwargs.values() if keyword else args
    assert found == value
    assert type(found) is type(value)


def many(a: Path, b: set[int], /, *rest: Path, c: Colour, **more: UUID) -> None: ...


def test_every_kind_of_parameter_is_converted() -> None:
    args = (Path("a"), {1}, Path("b"), Path("c"))
    kwargs = {"c": Colour.RED, "d": UUID(int=1), "rest": UUID(int=2), "a": UUID(int=3)}
    assert round_trip(many, *args, **kwargs) == (args, kwargs)


def test_more_arguments_than_a_short_array_holds_are_converted() -> None:
    def paths(*values: Path) -> None: ...

    args = tuple(Path(str(index)) for index in range(40))
    assert round_trip(paths, *args) == (args, {})


def test_twenty_parameters_are_converted() -> None:
    names = ", ".join(f"p{index}: Path" for index in range(20))
    space: dict[str, Any] = {"Path": Path}
    exec(f"def wide({names}): ...", space)
    args = tuple(Path(str(index)) for index in range(20))
    assert round_trip(space["wide"], *args) == (args, {})


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False)
        | st.text()
        | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_plain_data_comes_back_equal_without_annotations(value: Any) -> None:
    assert round_trip(bare, value) == ((value,), {})


def test_an_integer_serves_where_a_float_is_asked() -> None:
    def scale(by: float) -> None: ...

    (by,), _ = round_trip(scale, 3)
    assert (by, type(by)) == (3.0, float)


# --- what does not fit --------------------------------------------------------------------------------------------


def typed(count: int, *, letter: Letter | None = None, **more: int) -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        (("three",), {}, "count: Expected `int`, got `str`"),
        ((1,), {"letter": {"too": "ada"}}, "letter: Object missing required field `to`"),
        ((1,), {"letter": {"to": 5}}, r"letter: Expected `str`, got `int` - at `\$.to`"),
        ((1,), {"n": "x"}, "more: Expected `int`, got `str`"),
        ((), {}, "missing 1 required positional argument"),
        ((1, 2), {}, "takes 1 positional argument but 2 were given"),
    ],
)
def test_arguments_of_another_version_are_refused_by_name(
    args: tuple[Any, ...], kwargs: dict[str, Any], reason: str
) -> None:
    body = pack_arguments("typed", args, kwargs)
    with pytest.raises(BadArguments, match=reason):
        Signature.of(typed).unpack(body)


@given(st.binary(max_size=40))
def test_any_bytes_are_arguments_or_refused(data: bytes) -> None:
    signature = Signature.of(everything)
    for body in (data, b"\x01" + data, b"\x01\x92" + data):
        try:
            args, kwargs = signature.unpack(body)
        except BadArguments:
            continue
        assert (type(args), type(kwargs)) == (tuple, dict)


def test_a_codec_that_is_not_known_is_said() -> None:
    signature = Signature.of(typed)
    with pytest.raises(BadArguments, match="codec"):
        signature.unpack(b"\x02\x92\x91\x01\x80")
    with pytest.raises(BadResult, match="codec"):
        signature.unpack_result(b"\x02\xc0")


def looped() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "value", [object(), 2**70, "\ud800", looped(), complex(1), print], ids=lambda v: type(v).__name__
)
def test_an_argument_that_cannot_be_packed_is_named(value: Any) -> None:
    signature = Signature.of(everything, "shop.send")
    with pytest.raises(NotSerializable, match=r"argument 2 of task shop\.send"):
        signature.pack((1, value), {"c": 1})
    with pytest.raises(NotSerializable, match=r"argument 'c' of task shop\.send"):
        signature.pack((1, 2), {"c": [value]})


def test_arguments_over_the_limit_are_refused_with_the_numbers() -> None:
    signature = Signature.of(rest_only)
    at_the_limit = BODY_BYTES_MAX - len(signature.pack((b"x" * 100_000,), {})) + 100_000
    assert len(signature.pack((b"x" * at_the_limit,), {})) == BODY_BYTES_MAX
    with pytest.raises(PayloadTooLarge) as refused:
        signature.pack((b"x" * (at_the_limit + 1),), {})
    assert (refused.value.size, refused.value.limit) == (BODY_BYTES_MAX + 1, BODY_BYTES_MAX)


# --- results ------------------------------------------------------------------------------------------------------


async def gives_order() -> Order: ...  # type: ignore[empty-body]
async def gives_paths() -> set[Path]: ...  # type: ignore[empty-body]
async def gives_none() -> None: ...
async def never_gives() -> Never: ...  # type: ignore[misc]
async def gives_anything(): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("fn", "value"),
    [(gives_order, ORDER), (gives_paths, {Path("a")}), (gives_none, None), (gives_anything, [1]), (never_gives, 1)],
)
def test_a_result_comes_back_as_what_it_was(fn: Callable[..., Any], value: Any) -> None:
    signature = Signature.of(fn)
    assert signature.unpack_result(signature.pack_result(value)) == value


def test_a_result_of_another_version_is_refused() -> None:
    with pytest.raises(BadResult, match="gives_paths"):
        Signature.of(gives_paths).unpack_result(pack_body(5))


def test_a_result_that_cannot_be_packed_says_so() -> None:
    with pytest.raises(NotSerializable, match="the result of task shop"):
        Signature.of(gives_anything, "shop").pack_result(object())
    with pytest.raises(PayloadTooLarge, match="the result of task shop"):
        Signature.of(gives_anything, "shop").pack_result(b"x" * BODY_BYTES_MAX)


# --- annotations --------------------------------------------------------------------------------------------------


def forward(value: Later) -> Later: ...  # type: ignore[empty-body]


FORWARD = Signature.of(forward)


@dataclass
class Later:
    path: Path


def test_an_annotation_may_name_what_is_defined_further_down() -> None:
    value = Later(Path("a"))
    assert FORWARD.unpack(FORWARD.pack((value,), {})) == ((value,), {})
    assert FORWARD.unpack_result(FORWARD.pack_result(value)) == value


def unknowable(value: OnlyForCheckers) -> None: ...
def result_unknowable(value: Path) -> OnlyForCheckers: ...  # type: ignore[empty-body]


def test_an_annotation_that_is_not_there_when_a_job_comes_is_said() -> None:
    signature = Signature.of(unknowable)
    body = signature.pack((1,), {})
    with pytest.raises(BadAnnotation, match=r"parameter value .*'OnlyForCheckers'.*top level") as refused:
        signature.unpack(body)
    assert refused.value.code == "bad_annotation"


def test_a_result_whose_type_is_not_there_does_not_stand_in_the_way_of_the_arguments() -> None:
    signature = Signature.of(result_unknowable)
    assert signature.unpack(signature.pack((Path("a"),), {})) == ((Path("a"),), {})
    with pytest.raises(BadAnnotation, match="the result"):
        signature.unpack_result(pack_body(1))


def test_a_local_type_that_the_function_uses_is_found() -> None:
    @dataclass
    class Local:
        path: Path

    def use(value: Local) -> Any:
        return Local

    value = Local(Path("a"))
    signature = Signature.of(use, "use")
    assert signature.unpack(signature.pack((value,), {})) == ((value,), {})


def ambiguous(value: Order | Line) -> None: ...


def test_types_that_bytes_cannot_tell_apart_are_refused_at_the_declaration() -> None:
    with pytest.raises(BadAnnotation, match="parameter value of task ambiguous is annotated with") as refused:
        Signature.of(ambiguous)
    assert "Any takes the value as it comes" in str(refused.value)


def test_the_annotations_below_a_decorator_and_a_partial_count() -> None:
    @functools.wraps(pair)
    def wrapped(*args: Any, **kwargs: Any) -> Any: ...

    def two(first: int, second: Path) -> None: ...

    assert round_trip(wrapped, (1, Path("a"))) == (((1, Path("a")),), {})
    assert round_trip(functools.partial(two, 1), Path("a")) == ((Path("a"),), {})


# --- the context --------------------------------------------------------------------------------------------------


def with_context(context: Context, value: Path) -> None: ...
def with_quoted_context(context: "Context", value: "Path") -> None: ...  # noqa: UP037 (quoted is the subject)
def without(context: Any, value: Path) -> None: ...
def misplaced(value: Path, context: Context) -> None: ...
def doubled(context: Context, other: Context) -> None: ...


@pytest.mark.parametrize("fn", [with_context, with_quoted_context])
def test_a_first_parameter_annotated_context_is_hidden_from_callers(fn: Callable[..., None]) -> None:
    signature = Signature.of(fn)
    assert (signature.takes_context, list(signature.visible.parameters)) == (True, ["value"])
    assert signature.unpack(signature.pack((Path("a"),), {})) == ((Path("a"),), {})
    with pytest.raises(BadArguments, match="takes 1 positional argument but 2 were given"):
        signature.bind((1, 2), {})


def test_a_context_that_is_imported_for_checkers_only_is_known_by_its_name() -> None:
    def task(context: Context, value: int) -> None: ...

    task.__annotations__["context"] = "missing.Context"
    assert Signature.of(task).takes_context


def test_a_parameter_of_another_type_is_an_argument() -> None:
    assert not Signature.of(without).takes_context
    assert not Signature.of(rest_only).takes_context


@pytest.mark.parametrize("fn", [misplaced, doubled])
def test_a_context_elsewhere_than_first_is_refused(fn: Callable[..., None]) -> None:
    with pytest.raises(BadOption, match="first parameter"):
        Signature.of(fn)
