"""Records that grow: what is newer is told from damage at any depth, and what is not used is not written."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import pytest

from aioqueue.model.growth import Shapes, shortened, used_fields


class Claim(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    key: str
    slots: int = 1


class Held(msgspec.Struct, array_like=True, tag=7, forbid_unknown_fields=True):
    name: str


class Gone(msgspec.Struct, array_like=True, tag=8, forbid_unknown_fields=True):
    name: str


class Control(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    group: str = ""
    claim: Claim | None = None
    claims: list[Claim] = []
    by_name: dict[str, Claim] = {}
    pair: tuple[int, Claim] | None = None
    end: Held | Gone | None = None


class Outer(msgspec.Struct, array_like=True, tag=1, forbid_unknown_fields=True):
    id: bytes
    control: Control | None = None


CLAIM: Any = ["gpu", 2]
SHAPES = Shapes(list[Outer | Held])


def control(**fields: Any) -> list[Any]:
    values = {"group": "a", "claim": CLAIM, "claims": [CLAIM], "by_name": {"x": CLAIM}, "pair": [1, CLAIM]}
    values |= {"end": [7, "n"], **fields}
    return list(values.values())


def newer_in(record: Any) -> str:
    return SHAPES.newer_in(msgpack.packb([[7, "before"], record]))


def test_what_is_known_is_not_newer() -> None:
    assert newer_in([1, b"id", control()]) == ""
    assert newer_in([1, b"id"]) == ""
    assert newer_in([1, b"id", None]) == ""


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ([9, b"id"], "a record of kind 9"),
        ([1, b"id", None, 0], "a record of kind 1 with 4 elements"),
        ([1, b"id", [*control(), 0]], "a record of kind 1 with 7 elements at place 2"),
        ([1, b"id", control(claim=[*CLAIM, 0])], "a record of kind 1 with 3 elements at place 2.1"),
        ([1, b"id", control(claims=[CLAIM, [*CLAIM, 0]])], "a record of kind 1 with 3 elements at place 2.2"),
        ([1, b"id", control(by_name={"x": [*CLAIM, 0]})], "a record of kind 1 with 3 elements at place 2.3"),
        ([1, b"id", control(pair=[1, [*CLAIM, 0]])], "a record of kind 1 with 3 elements at place 2.4"),
        ([1, b"id", control(end=[9, "n"])], "a record of kind 1 with kind 9 at place 2.5"),
        ([1, b"id", control(end=[8, "n", 0])], "a record of kind 1 with 3 elements at place 2.5"),
    ],
)
def test_a_field_or_kind_more_is_newer_at_any_depth(record: Any, told: str) -> None:
    assert newer_in(record) == told


@pytest.mark.parametrize(
    "record", [[1], ["1", b"id"], [], 7, "x", [1, 5], [1, b"id", control(claim=7)], [1, b"id", control(claims="no")]]
)
def test_what_is_only_wrong_is_not_newer(record: Any) -> None:
    assert newer_in(record) == ""


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x93\x01", b"\x91" * 10_000, b"\xdd\xff\xff\xff\xff"])
def test_what_cannot_be_read_is_not_newer(data: bytes) -> None:
    assert SHAPES.newer_in(data) == ""


FIRST: dict[type, int] = {Outer: 1, Control: 2, Claim: 1, Held: 1}


@pytest.mark.parametrize(
    ("record", "packed"),
    [
        (Outer(b"id"), [1, b"id"]),
        (Outer(b"id", Control()), [1, b"id", ["", None]]),
        (Outer(b"id", Control("a", Claim("gpu"))), [1, b"id", ["a", ["gpu"]]]),
        (Outer(b"id", Control("a", Claim("gpu", 2))), [1, b"id", ["a", ["gpu", 2]]]),
        (Outer(b"id", Control(claims=[Claim("x")])), [1, b"id", ["", None, [["x", 1]]]]),
        (Outer(b"id", Control(end=Held("n"))), [1, b"id", ["", None, [], {}, None, [7, "n"]]]),
    ],
)
def test_trailing_defaults_that_were_appended_are_not_packed(record: Outer, packed: Any) -> None:
    data = msgspec.msgpack.encode(shortened(record, FIRST))
    assert msgpack.unpackb(data) == packed
    assert msgspec.msgpack.decode(data, type=Outer) == record


def test_a_record_that_uses_all_it_has_is_packed_as_it_is() -> None:
    record = Outer(b"id", Control("a", Claim("gpu", 2), [], {}, None, Held("n")))
    assert shortened(record, FIRST) is record
    assert used_fields(record, FIRST) == 2


def test_a_type_that_did_not_grow_is_packed_whole() -> None:
    assert shortened(Claim("gpu"), {}) == Claim("gpu")
