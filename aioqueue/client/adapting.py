"""Types that msgspec cannot make by itself: which of them pydantic makes, and which are refused at the declaration.

Whatever can be packed must come back as what its annotation says. So every class in an annotation is looked at before
the first job: msgspec knows it, `from_plain` does, or pydantic, where the program has imported that. A constraint of
pydantic in `Annotated` is pydantic's to check. Asked by `client.annotations`.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec

from aioqueue.model.convert import Adapted, can_make, from_plain

# What is abstract there cannot be made of anything, though pydantic has a schema for it.
_ABSTRACT: Final = ("builtins", "collections.abc", "typing")
_PYDANTIC: Final = ("pydantic", "pydantic_core", "annotated_types")


def adapted(kind: Any) -> Any:
    """The type itself, or one in its place that pydantic makes.

    Raises `TypeError` with the reason for what nobody can make, and `NameError` for what is not defined yet.
    """
    try:
        strange = _strange_in(kind)
    except (TypeError, ValueError, RecursionError):
        if not _is_told_apart(kind):
            raise
        return _by_pydantic(kind)
    if strange:
        if any(getattr(each, "__module__", "") in _ABSTRACT for each in strange):
            raise TypeError(f"{_name_of(strange[0])} cannot be made of plain data")
        return _by_pydantic(kind)
    if "pydantic" in sys.modules and any(map(_is_constraint, _walk(kind))):
        return _by_pydantic(kind)
    return kind


def _strange_in(kind: Any) -> list[Any]:
    """The classes in a type that neither msgspec nor `from_plain` makes. Raises as a decoder of it would."""
    msgspec.msgpack.Decoder(kind, dec_hook=from_plain)
    found: list[Any] = []
    seen: set[int] = set()
    ahead: list[Any] = [msgspec.inspect.type_info(kind)]
    while ahead:
        one = ahead.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, msgspec.inspect.CustomType):
            if not can_make(one.cls):
                found.append(typing.get_origin(one.cls) or one.cls)
        elif isinstance(one, msgspec.Struct):
            ahead.extend(getattr(one, name) for name in one.__struct_fields__)
        elif isinstance(one, tuple):
            ahead.extend(one)
    return found


def _by_pydantic(kind: Any) -> Any:
    pydantic = sys.modules.get("pydantic")
    if pydantic is None:
        raise TypeError(f"{_name_of(kind)} cannot be made of plain data; pydantic may know how, once it is imported")
    try:
        adapter = pydantic.TypeAdapter(kind)
    except pydantic.errors.PydanticUndefinedAnnotation as error:
        raise NameError(str(error)) from None
    except pydantic.errors.PydanticUserError as error:
        reason = str(error).partition("\n")[0]
        raise TypeError(f"{_name_of(kind)} cannot be made of plain data: {reason}") from None
    return types.new_class(_name_of(kind), (Adapted,), exec_body=lambda names: names.update(adapter=adapter))


def _is_told_apart(kind: Any) -> bool:
    """Whether all that msgspec minds is that models of pydantic stand in a union, which it tells apart.

    What is one string, or one array, for several types is nobody's to tell apart.
    """
    mended = False
    for one in _walk(kind):
        if typing.get_origin(one) not in (typing.Union, types.UnionType):
            continue
        members = [each for each in typing.get_args(one) if each is not type(None)]
        others = [each for each in members if not _is_object(each)]
        if not any(map(_is_model, members)):
            continue
        if any(_is_mapping(each) for each in others):
            return False
        try:
            if others and _strange_in(typing.Union[tuple(others)]):  # noqa: UP007 - of what is known at run time only
                return False
        except (TypeError, ValueError, RecursionError):
            return False
        mended = True
    return mended


def _walk(kind: Any) -> Iterator[Any]:
    """A type, and all that stands in its brackets."""
    yield kind
    if typing.get_origin(kind) is typing.Literal:
        return
    for each in typing.get_args(kind):
        yield from _walk(each)


def _is_constraint(kind: Any) -> bool:
    if typing.get_origin(kind) is not Annotated:
        return False
    return any(type(each).__module__.partition(".")[0] in _PYDANTIC for each in kind.__metadata__)


def _is_object(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return _is_model(origin) or (isinstance(origin, type) and dataclasses.is_dataclass(origin))


def _is_model(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return isinstance(origin, type) and hasattr(origin, "model_validate")


def _is_mapping(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return typing.is_typeddict(origin) or (isinstance(origin, type) and issubclass(origin, Mapping))


def _name_of(kind: Any) -> str:
    return getattr(kind, "__qualname__", None) or str(kind)
