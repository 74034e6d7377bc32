"""Text that is safe to put on a terminal, and times and numbers as people read them.

Whatever a job brought along (names, errors, results) was written by somebody else: it may hold escape sequences that
move the cursor, or characters that turn the line around. Pure.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

_UNITS_MS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))
_THOUSANDS: Final = ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k"))


def plain(text: str, *, lines: bool = False) -> str:
    """The text with every character that does not print written as an escape, on one line.

    With `lines` its own line breaks stay, and tabs become four spaces.
    """
    if text.isprintable():
        return text
    if lines:
        return "\n".join(plain(line.replace("\t", "    ")) for line in text.split("\n"))
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def short(text: str, width: int) -> str:
    """The text in at most `width` characters, an ellipsis where it was cut."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def age(ms: int) -> str:
    """A length of time as `250ms`, `42s`, `3m`, `5h` or `12d`, rounded down."""
    for unit, unit_ms in _UNITS_MS:
        if ms >= unit_ms:
            return f"{ms // unit_ms}{unit}"
    return f"{max(0, ms)}ms"


def long_age(ms: int) -> str:
    """A length of time in its two largest units, as `3m 20s`."""
    for (unit, unit_ms), (smaller, smaller_ms) in pairwise(_UNITS_MS):
        if ms >= unit_ms:
            return f"{ms // unit_ms}{unit} {ms % unit_ms // smaller_ms}{smaller}"
    return age(ms)


def count(number: int) -> str:
    """A number of jobs: exact up to 9,999, then in thousands, millions or more."""
    for size, letter in _THOUSANDS:
        if number >= size:
            unit = 1_000 if letter == "k" else size
            return f"{number / unit:.1f}{letter}" if number < 100 * unit else f"{number // unit}{letter}"
    return f"{number:,}"


def rate(per_second: float | None) -> str:
    """A rate, or a dash where none is known yet."""
    if per_second is None:
        return "-"
    if per_second == 0:
        return "0"
    return f"{per_second:.1f}" if per_second < 100 else count(round(per_second))
