"""Amounts as people write them: bytes, and how many there are of something."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from aioqueue.errors import BadOption

_UNITS: Final = {
    "": 1, "b": 1,
    "kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4,
    "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4,
}  # fmt: skip
_TEXT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def to_bytes(value: str, *, option: str) -> int:
    """Bytes, rounded down, of text such as `"2GiB"`, `"500 MB"` or `"1048576"` (units B, KiB to TiB, kB to TB).

    Raises `BadOption`, naming `option`.
    """
    match = _TEXT.fullmatch(value.strip())
    unit = _UNITS.get(match[2].lower()) if match is not None else None
    if match is None or unit is None:
        raise BadOption(option=option, value=value, reason="a size is written like '256MiB', '2GiB' or '500 MB'")
    return int(Decimal(match[1]) * unit)


def count_text(count: int, what: str) -> str:
    """How many there are of something, for people: `"1 job"`, `"1,200 jobs"`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def size_text(size: int) -> str:
    """A size for people: `"256 MiB"`, `"1.5 GiB"`, `"12 B"`."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f}".removesuffix(".0") + f" {unit}"
