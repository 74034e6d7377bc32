"""The table of event records for docs/reference/journal.md, made from the declared events.

`python -m tests.support.record_table` prints it.
"""

from __future__ import annotations

import msgspec
from msgspec import inspect

from aioqueue.core import events as e

_KINDS = {kind.__name__: kind for kind in e.JournaledEvent.__args__}


def table() -> str:
    """One row for each kind: its number, its fields in order with their types, and what it says."""
    rows = ["| kind | name | fields, in order | what is so |", "|---|---|---|---|"]
    for name, kind in _KINDS.items():
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        fields = ", ".join(_field(field) for field in info.fields)
        said = " ".join((kind.__doc__ or "").split())
        rows.append(f"| {info.tag} | `{name}` | {fields} | {said} |")
    return "\n".join(rows) + "\n"


def _field(field: inspect.Field) -> str:
    default = "" if field.default is msgspec.NODEFAULT else f" = {_words(field.default)}"
    return f"`{field.encode_name}` {_type(field.type)}{default}"


def _words(value: object) -> str:
    return {"": '""', None: "nil", (): "[]"}.get(value, str(value))  # type: ignore[call-overload, no-any-return]


def _type(kind: inspect.Type) -> str:
    match kind:
        case inspect.IntType():
            return "int"
        case inspect.BytesType():
            return "bin"
        case inspect.StrType():
            return "str"
        case inspect.EnumType(cls=cls):
            return cls.__name__
        case inspect.UnionType(types=kinds):
            return " or ".join(_type(inner) for inner in kinds)
        case inspect.NoneType():
            return "nil"
        case inspect.StructType(cls=cls):
            return cls.__name__
        case inspect.TupleType(item_types=kinds):
            return f"[{', '.join(_type(inner) for inner in kinds)}]"
        case inspect.VarTupleType(item_type=inner):
            return f"list of {_type(inner)}"
    raise TypeError(f"no word for {kind!r}")


if __name__ == "__main__":
    print(table(), end="")
