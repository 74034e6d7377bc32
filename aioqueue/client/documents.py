"""What is told of jobs and brokers, as JSON objects: the names are those of the fields in `model.views`, and stay.

On the wire these records are arrays. Here every record is an object, an `id` its UUID as text, a time a number of
milliseconds. Fields may be added; none is renamed or changes its meaning. Every `--json` of the command line is made
here, and so will be whatever else shows records to other programs. Pure.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from aioqueue.model.convert import to_plain
from aioqueue.model.ids import id_text

# The end of ASCII and the C1 block, which JSON leaves as they are and terminals obey; and the marks that reverse text.
_UNSAFE: Final = {
    code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *range(0x200B, 0x2010), *range(0x2028, 0x202F), 0x2066,
                                        0x2067, 0x2068, 0x2069, 0xFEFF)
}  # fmt: skip


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
    """A document as JSON; values that JSON does not have are written as msgspec does, and else as their `repr`.

    Nothing is left in it that a terminal would obey; it means the same.
    """
    data = msgspec.json.encode(value, enc_hook=_other)
    text = msgspec.json.format(data, indent=indent) if indent else data
    return text.decode().translate(_UNSAFE)


def _other(value: Any) -> Any:
    try:
        return to_plain(value)
    except TypeError:
        return repr(value)
