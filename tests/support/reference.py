"""The rows that docs/reference/protocol.md must have, made from the declared messages."""

from __future__ import annotations

import re
from enum import EnumMeta
from typing import Any, Final

import msgspec
from msgspec import inspect

from aioqueue.limits import NUMBER_MAX

_PLAIN: Final[dict[type[inspect.Type], str]] = {
    inspect.BoolType: "bool", inspect.FloatType: "float", inspect.NoneType: "nil",
}  # fmt: skip


def type_text(kind: inspect.Type) -> str:
    """A declared type, as the reference writes it."""
    match kind:
        case inspect.IntType(ge=least, le=most):
            return "int" if least is None else "uint" if most == NUMBER_MAX else f"uint ≤ {most}"
        case inspect.StrType(max_length=most):
            return "str" if most is None else f"str ≤ {most}"
        case inspect.BytesType(min_length=least, max_length=most):
            return "bin" if most is None else f"bin = {most}" if least == most else f"bin ≤ {most}"
        case inspect.EnumType(cls=cls) | inspect.StructType(cls=cls):
            return cls.__name__
        case inspect.ListType(item_type=item, max_length=most):
            return f"list ≤ {most} of {type_text(item)}"
        case inspect.TupleType(item_types=items):
            return f"[{', '.join(type_text(item) for item in items)}]"
        case inspect.VarTupleType(item_type=item):
            return f"list of {type_text(item)}"
        case inspect.DictType(key_type=key, value_type=value, max_length=most):
            bound = "" if most is None else f" ≤ {most}"
            return f"map{bound} of {type_text(key)} to {type_text(value)}"
        case inspect.UnionType(types=types):
            order = sorted(types, key=lambda each: isinstance(each, inspect.NoneType))
            return " or ".join(type_text(each) for each in order)
    return _PLAIN[type(kind)]


def default_text(field: inspect.Field) -> str:
    """What a missing field means, or that it must be there."""
    if field.default is not msgspec.NODEFAULT:
        value = field.default
        if value is None:
            return "nil"
        return {True: "true", False: "false"}[value] if isinstance(value, bool) else _literal(value)
    if field.default_factory is not msgspec.NODEFAULT:
        return "empty"
    return "required"


def _literal(value: Any) -> str:
    if isinstance(value, msgspec.Struct):
        return "its defaults"
    if isinstance(value, tuple) and value:
        return str(list(value))
    return "empty" if value in ("", b"", ()) else f'"{value}"' if isinstance(value, str) else str(value)


def rows_of(cls: type[Any]) -> list[tuple[str, str, str, str]]:
    """Index, name, type and default of each field; a message's own kind stands at index 0."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    first = 0 if info.tag is None else 1
    return [
        (str(index), f"`{field.name}`", type_text(field.type), default_text(field))
        for index, field in enumerate(info.fields, start=first)
    ]


def structs_within(kind: inspect.Type, found: dict[str, type[Any]], enums: dict[str, EnumMeta]) -> None:
    """Collect the records and enums that a type is made of."""
    match kind:
        case inspect.StructType(cls=cls, fields=fields):
            found[cls.__name__] = cls
            for field in fields:
                structs_within(field.type, found, enums)
        case inspect.EnumType(cls=cls):
            enums[cls.__name__] = cls
        case inspect.ListType(item_type=item):
            structs_within(item, found, enums)
        case inspect.UnionType(types=types):
            for each in types:
                structs_within(each, found, enums)


_SECTION: Final = re.compile(r"^#{3,4} `?(\w+)`?[^\n]*\n(.*?)(?=^#{2,4} |\Z)", re.MULTILINE | re.DOTALL)


def sections_of(text: str) -> dict[str, str]:
    """The sections of a page of which each describes one record, by its name."""
    return dict(_SECTION.findall(text))


def table_of(section: str) -> list[tuple[str, ...]]:
    """The rows of a section's first table, without its head."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]
