"""Types that msgpack does not know, made plain and back again.

`msgspec` itself carries dataclasses, `datetime`, `UUID`, `Decimal`, `Enum`, sets and tuples. These two hooks add paths
and, where the program uses pydantic, its models. What was made plain comes back as what the annotation says; without
an annotation it stays plain. Nothing is ever imported, or chosen, by what the bytes say.
"""

from __future__ import annotations

import sys
import typing
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from math import isfinite
from pathlib import PurePath
from types import AsyncGeneratorType, GeneratorType
from typing import Any, ClassVar, Final

import msgspec


class _Stands(type):
    def __instancecheck__(cls, value: Any) -> bool:
        # msgspec looks at what was made for it, and pydantic has looked already.
        return True


class Adapted(metaclass=_Stands):
    """Stands for a type that pydantic makes; there is a subclass for each, which is never instantiated."""

    adapter: ClassVar[Any]

    @classmethod
    def made_of(cls, value: Any) -> Any:
        """Raises `ValueError` where it does not fit."""
        # Models were dumped as JSON, and strict ones read nothing else. Bytes are something else in JSON.
        if _is_json(value):
            return cls.adapter.validate_json(msgspec.json.encode(value))
        return cls.adapter.validate_python(value)


def to_plain(value: Any) -> Any:
    """A value that msgpack can say, for one that it cannot; `TypeError` where there is none."""
    if isinstance(value, PurePath):
        return str(value)
    if _is_pydantic_model(type(value)):
        return value.model_dump(mode="json", by_alias=True, round_trip=True)
    if isinstance(value, deque):
        return list(value)
    if isinstance(value, GeneratorType | AsyncGeneratorType):
        raise TypeError(f"{value.__qualname__} is a generator; return a list of what it yields")
    raise TypeError(f"objects of type {type(value).__qualname__} cannot be sent; send their data instead")


def from_plain(kind: Any, value: Any) -> Any:
    """The value of type `kind` that `to_plain` made plain; `TypeError` or `ValueError` where it does not fit."""
    if kind is object:
        return value
    origin: Any = typing.get_origin(kind) or kind
    if origin in _COLLECTIONS:
        return _COLLECTIONS[origin](typing.get_args(kind), value)
    if isinstance(origin, type):
        if issubclass(origin, Adapted):
            return origin.made_of(value)
        if issubclass(origin, PurePath) and isinstance(value, str):
            return origin(value)
        if _is_pydantic_model(origin):
            # The dump above is JSON, and only its JSON mode reads that back for strict models and bytes as well.
            model: Any = origin
            return model.model_validate_json(msgspec.json.encode(value))
    raise TypeError(f"{getattr(kind, '__qualname__', kind)} cannot be made of plain data")


def can_make(kind: Any) -> bool:
    """Whether `from_plain` makes values of this type, of plain values that fit."""
    origin: Any = typing.get_origin(kind) or kind
    if kind is object or origin in _COLLECTIONS:
        return True
    return isinstance(origin, type) and (issubclass(origin, PurePath | Adapted) or _is_pydantic_model(origin))


def _is_json(value: Any) -> bool:
    """Whether a plain value means the same in JSON."""
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    return isfinite(value) if isinstance(value, float) else isinstance(value, str | int | None)


def _list_of(kinds: tuple[Any, ...], value: Any) -> Any:
    items: Any = list[kinds or (Any,)]  # type: ignore[misc]
    return msgspec.convert(value, items, dec_hook=from_plain)


def _dict_of(kinds: tuple[Any, ...], value: Any) -> dict[Any, Any]:
    items: Any = dict[kinds or (Any, Any)]  # type: ignore[misc]
    # A key of another type came as text or a number, and is that type again.
    found: dict[Any, Any] = msgspec.convert(value, items, dec_hook=from_plain)
    return found


def _defaults_of(kinds: tuple[Any, ...], value: Any) -> Any:
    kind: Any = typing.get_origin(kinds[1]) or kinds[1] if kinds else None
    return defaultdict(kind if kind in _MADE_EMPTY else None, _dict_of(kinds, value))


# What a `defaultdict` of that kind of value makes for a key that is not there.
_MADE_EMPTY: Final = (list, dict, set, int, float, str, bool, bytes)
_COLLECTIONS: Final[dict[Any, Callable[[tuple[Any, ...], Any], Any]]] = {
    Iterable: _list_of,
    deque: lambda kinds, value: deque(_list_of(kinds, value)),
    Counter: lambda kinds, value: Counter(_dict_of((*kinds, int) if kinds else (), value)),
    OrderedDict: lambda kinds, value: OrderedDict(_dict_of(kinds, value)),
    defaultdict: _defaults_of,
}


def _is_pydantic_model(kind: type) -> bool:
    pydantic = sys.modules.get("pydantic")  # a program that has models has imported it
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)
