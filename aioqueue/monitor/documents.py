"""What is told of jobs and brokers, as JSON objects: the names are those of the fields in `model.views`, and stay.

On the wire these records are arrays. Here every record is an object, an `id` its UUID as text, a time a number of
milliseconds. Fields may be added; none is renamed or changes its meaning.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aioqueue.model.convert import to_plain
from aioqueue.model.ids import id_text
from aioqueue.monitor.text import safe_json


def document(value: Any) -> Any:
    """A record, or a list of such, as dicts and lists."""
    if isinstance(value, msgspec.Struct):
        return {name: _field(name, getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list | tuple):
        return [document(item) for item in value]
    return value


def _field(name: str, value: Any) -> Any:
    if name in ("id", "job") and isinstance(value, bytes):
        # A job that is not known has no id, and no text of one.
        return id_text(value) if value else ""
    return document(value)


def json_text(value: Any, *, indent: int = 0) -> str:
    """A document as JSON; values that JSON does not have are written as msgspec does, and else as their `repr`."""
    data = msgspec.json.encode(value, enc_hook=_other)
    return safe_json(msgspec.json.format(data, indent=indent) if indent else data)


def _other(value: Any) -> Any:
    try:
        return to_plain(value)
    except TypeError:
        return repr(value)
