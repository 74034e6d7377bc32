"""Records that grow: fields are only appended, and two releases read each other's bytes for as long as that is honest.

Two questions, asked by whoever packs or reads records (`core.records`, `model.spec`, the archive's rows):

* `Shapes.newer_in`: does something that did not read hold more than this version knows? Then it is newer, not damaged.
* `shortened`: which trailing fields say nothing? They are not written, so what does not use a field keeps its bytes.

Nothing is unpacked but the few numbers that tell: what is damaged may claim any size and any depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import msgpack
import msgspec
from msgspec import inspect

# The format level of a log that states none; see `core.levels`.
LEVEL_FIRST: Final = 1

# How a whole number begins in msgpack, and how an array and a map do.
_NUMBERS: Final = frozenset((*range(0x80), *range(0xCC, 0xD4), *range(0xE0, 0x100)))
_ARRAYS: Final = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))
_MAPS: Final = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))


class _Shape(NamedTuple):
    """One record: how many elements it has at most, its tag included, and which of them hold records again."""

    elements: int
    within: dict[int, _Node]


class _Node:
    """What may stand in one place: a record by its tag (None for one without), or many of something."""

    __slots__ = ("items", "places", "records", "values")

    def __init__(self) -> None:
        self.records: dict[int | str | None, _Shape] = {}
        self.items: _Node | None = None
        self.places: dict[int, _Node] = {}
        self.values: _Node | None = None

    @property
    def is_plain(self) -> bool:
        """Nothing in this place can be newer."""
        return not (self.records or self.items or self.places or self.values)


class Shapes:
    """The records of one type, with all that they hold at any depth."""

    def __init__(self, kind: Any) -> None:
        self._known: dict[type, _Shape] = {}
        self._node = self._of(inspect.type_info(kind))

    def newer_in(self, data: bytes) -> str:
        """What of these bytes is of a newer version; empty where nothing is, or where nothing can be made out."""
        values = msgpack.Unpacker(read_size=max(1, len(data)), max_buffer_size=max(1, len(data)))
        try:
            values.feed(data)
            return _newer(values, data, self._node, "a record", "")
        except (ValueError, IndexError, RecursionError, msgpack.exceptions.UnpackException):
            return ""

    def _of(self, found: inspect.Type) -> _Node:
        node = _Node()
        for each in found.types if isinstance(found, inspect.UnionType) else (found,):
            if isinstance(each, inspect.StructType):
                node.records[each.tag] = self._record(each)
            elif isinstance(each, inspect.CollectionType):
                node.items = self._unless_plain(each.item_type)
            elif isinstance(each, inspect.TupleType):
                node.places = {
                    place: inner
                    for place, item in enumerate(each.item_types)
                    if (inner := self._unless_plain(item)) is not None
                }
            elif isinstance(each, inspect.DictType):
                node.values = self._unless_plain(each.value_type)
        return node

    def _record(self, found: inspect.StructType) -> _Shape:
        known = self._known.get(found.cls)
        if known is None:
            first = int(found.tag is not None)
            known = self._known[found.cls] = _Shape(first + len(found.fields), {})
            for place, field in enumerate(found.fields, first):
                inner = self._unless_plain(field.type)
                if inner is not None:
                    known.within[place] = inner
        return known

    def _unless_plain(self, found: inspect.Type) -> _Node | None:
        node = self._of(found)
        return None if node.is_plain else node


def _newer(values: msgpack.Unpacker, data: bytes, node: _Node, what: str, place: str) -> str:
    """What is newer of the next value, which is read over."""
    head = data[values.tell()]
    if node.records and head in _ARRAYS:
        return _newer_record(values, data, node, what, place)
    if head in _ARRAYS and (node.items or node.places):
        for index in range(values.read_array_header()):
            inner = node.items or node.places.get(index)
            newer = _newer(values, data, inner, what, place) if inner else values.skip()
            if newer:
                return newer
    elif head in _MAPS and node.values:
        for _ in range(values.read_map_header()):
            values.skip()
            if newer := _newer(values, data, node.values, what, place):
                return newer
    else:
        values.skip()
    return ""


def _newer_record(values: msgpack.Unpacker, data: bytes, node: _Node, what: str, place: str) -> str:
    at = f" at place {place}" if place else ""
    elements = values.read_array_header()
    first, tag = 0, None
    if None not in node.records:
        if data[values.tell()] not in _NUMBERS:
            raise ValueError("the kind of a record is no number")
        first, tag = 1, values.unpack()
        if tag not in node.records:
            return f"{what} of kind {tag}{at}" if not place else f"{what} with kind {tag}{at}"
        what = what if place else f"{what} of kind {tag}"
    shape = node.records[tag]
    if elements > shape.elements:
        return f"{what} with {elements} elements{at}"
    for index in range(first, elements):
        inner = shape.within.get(index)
        newer = _newer(values, data, inner, what, f"{place}.{index}".lstrip(".")) if inner else values.skip()
        if newer:
            return newer
    return ""


def shortened(record: msgspec.Struct, first: Mapping[type, int]) -> Any:
    """What to pack for the record: without trailing fields that were appended later and have their default.

    `first` is how many fields a type had when it was first written; those are written always. The same for records
    within. The record itself where it is packed whole, else the elements of its array.
    """
    kind = type(record)
    values = [getattr(record, name) for name in kind.__struct_fields__]
    cut = False
    for place in _inner_places(kind):
        if isinstance(inner := values[place], msgspec.Struct):
            values[place] = shortened(inner, first)
            cut |= values[place] is not inner
    length = used_fields(record, first)
    if not cut and length == len(values):
        return record
    tag = kind.__struct_config__.tag
    return [*(() if tag is None else (tag,)), *values[:length]]


def used_fields(record: msgspec.Struct, first: Mapping[type, int]) -> int:
    """How many fields of the record are written, its trailing defaults left out."""
    kind = type(record)
    names, defaults = kind.__struct_fields__, _defaults(kind)
    length, least = len(names), first.get(kind, len(names))
    while length > least and getattr(record, names[length - 1]) == defaults[length - 1]:
        length -= 1
    return length


@cache
def _inner_places(kind: type[msgspec.Struct]) -> tuple[int, ...]:
    """Which fields may hold a record."""
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)
    return tuple(place for place, field in enumerate(found.fields) if inner_records(field.type))


def inner_records(found: inspect.Type) -> list[inspect.StructType]:
    """The records that a field of this type may be; those in a list are not meant."""
    types = found.types if isinstance(found, inspect.UnionType) else (found,)
    return [each for each in types if isinstance(each, inspect.StructType)]


@cache
def _defaults(kind: type[msgspec.Struct]) -> tuple[Any, ...]:
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)
    return tuple(
        field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        for field in found.fields
    )
