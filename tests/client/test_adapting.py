"""Annotations: what can be packed comes back as what it was, or the annotation is refused at the declaration."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Generator, Hashable, Iterator
from dataclasses import dataclass
from enum import Enum, Flag
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, PositiveInt

from aioqueue import BadAnnotation, BadArguments, BadResult
from aioqueue.client.signature import Signature
from tests.support.commands import ROOT, environment

T = TypeVar("T")
Number = NewType("Number", int)


@dataclass
class Point:
    x: int = 0


@dataclass
class Box(Generic[T]):
    inside: T


class Cat(BaseModel):
    lives: int = 9


class Dog(BaseModel):
    name: str = "Rex"


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    at: UUID


class Pair(NamedTuple):
    left: int
    right: Cat


class Row(TypedDict, total=False):
    path: Path


class Colour(Enum):
    RED = "red"


class Marks(Flag):
    A = 1
    B = 2


class Opaque: ...


KEPT: list[tuple[Any, Any]] = [
    (Counter, Counter("aab")),
    (Counter[str], Counter("aab")),
    (OrderedDict[str, int], OrderedDict(b=1, a=2)),
    (defaultdict[str, list[int]], defaultdict(list, a=[1])),
    (defaultdict[str, Cat], defaultdict(None, a=Cat())),
    (deque[int], deque([1, 2])),
    (dict[str, Counter[str]], {"a": Counter("aa")}),
    (frozenset[int], frozenset([1])),
    (Cat | Dog, Dog()),
    (Cat | Dog, Cat(lives=3)),
    (Cat | int, Cat()),
    (Cat | int, 5),
    (Cat | Dog | None, None),
    (list[Cat | Dog], [Cat(), Dog(name="Bo")]),
    (Point | Dog, Point(4)),
    (Strict | Dog, Strict(at=UUID(int=5))),
    (Strict | Dog, Dog()),
    (Point | None, Point()),
    (Annotated[int, Field(gt=0)], 5),
    (PositiveInt, 5),
    (Annotated[bytes, Field(max_length=5)], b"\xff"),
    (Annotated[dict[int, float], Field(max_length=5)], {1: float("inf")}),
    (list[PositiveInt], [5]),
    (Annotated[list[Cat], Field(min_length=1)], [Cat()]),
    (Annotated[int, "any text"], 5),
    (Pair, Pair(1, Cat())),
    (Row, {"path": Path("a")}),
    (Literal["a", 1], 1),
    (Number, 5),
    (Colour, Colour.RED),
    (Marks, Marks.A | Marks.B),
    (Box[Cat], Box(Cat())),
]


def signature_of(kind: Any, **more: Any) -> Signature:
    def task(it: Any) -> Any: ...

    task.__annotations__ = {"it": kind, "return": kind}
    return Signature.of(task, "task")


@pytest.mark.parametrize(("kind", "value"), KEPT, ids=lambda it: str(it)[:50])
def test_what_was_sent_comes_back_as_it_was(kind: Any, value: Any) -> None:
    signature = signature_of(kind)
    for given in ({"it": value}, ()):
        args, kwargs = ((), given) if given else ((value,), {})
        found_args, found_kwargs = signature.unpack(signature.pack(args, kwargs))
        [found] = [*found_args, *found_kwargs.values()]
        assert found == value
        assert type(found) is type(value)
    assert signature.unpack_result(signature.pack_result(value)) == value


def test_a_default_of_none_allows_none_beside_what_pydantic_makes() -> None:
    def task(it: Cat | Dog = None, count: PositiveInt = None) -> None: ...  # type: ignore[assignment]

    signature = Signature.of(task, "task")
    assert signature.unpack(signature.pack((None, None), {}))[0] == (None, None)


def test_a_default_dict_makes_what_its_annotation_says() -> None:
    signature = signature_of(defaultdict[str, list[int]])
    [found] = signature.unpack(signature.pack((defaultdict(list, a=[1]),), {}))[0]
    assert found["b"] == []


@pytest.mark.parametrize(
    ("kind", "value"), [(Annotated[int, Field(gt=0)], -5), (PositiveInt, 0), (Cat | Dog, 5), (Counter[str], {"a": "b"})]
)
def test_what_does_not_fit_is_told_by_the_name_of_its_parameter(kind: Any, value: Any) -> None:
    signature = signature_of(kind)
    with pytest.raises(BadArguments, match="it: "):
        signature.unpack(signature.pack((value,), {}))
    with pytest.raises(BadResult):
        signature.unpack_result(signature.pack_result(value))


@pytest.mark.parametrize(
    "kind",
    [Opaque, list[Opaque], Box[Opaque], Iterator[int], Generator[int, None, None], AsyncIterator[int],
     Callable[[int], int], type[int], Hashable, complex, ValueError, Path | str, str | UUID, str | bytes,
     set[int] | list[int], Point | Box[int], Cat | dict[str, int], Cat | Path | str],
    ids=str,
)  # fmt: skip
def test_what_nobody_can_make_is_refused_where_the_task_is_declared(kind: Any) -> None:
    with pytest.raises(BadAnnotation, match=r"parameter it of task task .* Any takes the value as it comes"):
        signature_of(kind)


def test_a_type_of_pydantic_s_own_is_made_of_text() -> None:
    signature = signature_of(HttpUrl)
    assert signature.unpack(signature.pack(("https://a.b/",), {}))[0] == (HttpUrl("https://a.b/"),)


WITHOUT_PYDANTIC = """
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Annotated
from aioqueue import BadAnnotation, Queue

@dataclass
class Cat:
    name: str = ""
class Url: ...

queue = Queue("memory:")
@queue.task
def counts(it: Counter[str], at: Annotated[int, "text"]) -> None: ...
try:
    @queue.task
    def either(it: Cat | Url) -> None: ...
except BadAnnotation as error:
    print(error)
assert "pydantic" not in sys.modules
"""


def test_without_pydantic_what_only_it_could_make_is_refused_at_the_declaration() -> None:
    command = [sys.executable, "-c", WITHOUT_PYDANTIC]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment())
    assert "parameter it of task main.either" in done.stdout
    assert "may not contain" in done.stdout or "cannot be made" in done.stdout
