"""Types that msgpack does not know, made plain and back again.

`msgspec` itself carries dataclasses, `datetime`, `UUID`, `Decimal`, `Enum`, sets and tuples. These two hooks add paths
and, where the program uses pydantic, its models. What was made plain comes back as what the annotation says; without
an annotation it stays plain. Nothing is ever imported, or chosen, by what the bytes say.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterable
from pathlib import PurePath
from types import AsyncGeneratorType, GeneratorType
from typing import Any

import msgspec


def to_plain(value: Any) -> Any:
    """A value that msgpack can say, for one that it cannot; `TypeError` where there is none."""
    if isinstance(value, PurePath):
        return str(value)
    if _is_pydantic_model(type(value)):
        return value.model_dump(mode="json", by_alias=True, round_trip=True)
    if isinstance(value, GeneratorType | AsyncGeneratorType):
        raise TypeError(f"{value.__qualname__} is a generator; return a list of what it yields")
    raise TypeError(f"objects of type {type(value).__qualname__} cannot be sent; send their data instead")


def from_plain(kind: Any, value: Any) -> Any:
    """The value of type `kind` that `to_plain` made plain; `TypeError` or `ValueError` where it does not fit."""
    if kind is object:
        return value
    origin: Any = typing.get_origin(kind) or kind
    if origin is Iterable:
        items: Any = list[typing.get_args(kind) or (Any,)]  # type: ignore[misc]
        return msgspec.convert(value, items, dec_hook=from_plain)
    if isinstance(origin, type):
        if issubclass(origin, PurePath) and isinstance(value, str):
            return origin(value)
        if _is_pydantic_model(origin):
            # The dump above is JSON, and only its JSON mode reads that back for strict models and bytes as well.
            model: Any = origin
            return model.model_validate_json(msgspec.json.encode(value))
    raise TypeError(f"{getattr(kind, '__qualname__', kind)} cannot be made of plain data")


def _is_pydantic_model(kind: type) -> bool:
    pydantic = sys.modules.get("pydantic")  # a program that has models has imported it
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)
