"""Lengths and points of time as people write them, made whole milliseconds.

Everything below the public face counts integer milliseconds. What a caller gives is rounded **up**, so that nothing
ever happens earlier than was asked.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from aioqueue.errors import BadOption
from aioqueue.limits import DURATION_MS_MAX, INSTANT_MS_MAX

# A number counts seconds; a string counts what its letters say, and seconds without any.
Duration = float | timedelta | str

_UNIT_MS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_TEXT: Final = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in _UNIT_MS))
_BARE: Final = re.compile(r"\d+(?:\.\d+)?")
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Smaller numbers are seconds since 1970 given by mistake; no job was ever due before 1973.
_INSTANT_MS_MIN: Final = 100_000_000_000


def to_ms(value: Duration, *, option: str) -> int:
    """A duration in milliseconds, rounded up.

    `value` is seconds as a number, a `timedelta`, or text such as `"250ms"`, `"10m"`, `"1h30m"`, `"7d"` (units w, d,
    h, m, s, ms, larger ones first, each at most once).

    Raises `BadOption`, naming `option`, for what is none of these, NaN, negative, or over 100 years.
    """
    if isinstance(value, bool):
        raise BadOption(option=option, value=value, reason="a duration is seconds, a timedelta, or text like '10m'")
    if isinstance(value, int):
        ms = value * 1_000
    elif isinstance(value, float):
        ms = _float_ms(value, option)
    elif isinstance(value, timedelta):
        ms = -(-(value // _MICROSECOND) // 1_000)
    elif isinstance(value, str):
        ms = _text_ms(value, option)
    else:
        raise BadOption(option=option, value=value, reason="a duration is seconds, a timedelta, or text like '10m'")
    if ms < 0:
        raise BadOption(option=option, value=value, reason="a duration cannot be negative")
    if ms > DURATION_MS_MAX:
        raise BadOption(option=option, value=value, reason="it is over 100 years; a number counts seconds")
    return ms


def to_instant_ms(value: datetime | int, *, option: str) -> int:
    """A point of time as milliseconds UTC, rounded up; an `int` is such milliseconds already.

    Raises `BadOption`, naming `option`, for a naive datetime, another type, or what lies before 1973 or after 9999.
    """
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise BadOption(
                option=option, value=value, reason="it has no time zone; give it one, for example tzinfo=datetime.UTC"
            )
        ms = -(-((value - _EPOCH) // _MICROSECOND) // 1_000)
    elif isinstance(value, int) and not isinstance(value, bool):
        ms = value
    else:
        raise BadOption(option=option, value=value, reason="it must be a datetime with a time zone, or milliseconds")
    if not _INSTANT_MS_MIN <= ms <= INSTANT_MS_MAX:
        raise BadOption(
            option=option, value=value, reason="it must lie between 1973 and 9999; a number counts milliseconds UTC"
        )
    return ms


def past_ms(value: datetime | Duration, now_ms: int, *, option: str) -> int:
    """A point of time as milliseconds UTC. Raises `BadOption`, naming `option`.

    `value` is a `datetime` or ISO 8601 text with a time zone, or a duration before `now_ms`.
    """
    if isinstance(value, str):
        return _past_text_ms(value, now_ms, option)
    if isinstance(value, datetime):
        return to_instant_ms(value, option=option)
    return now_ms - to_ms(value, option=option)


def _past_text_ms(value: str, now_ms: int, option: str) -> int:
    try:
        if "-" not in value:
            return now_ms - to_ms(value, option=option)
        moment = datetime.fromisoformat(value.strip())
    except (BadOption, ValueError):
        reason = "a point of time is written like '2026-03-01T08:00:00Z', or as how long ago, like '2h'"
        raise BadOption(option=option, value=value, reason=reason) from None
    if moment.utcoffset() is None:
        reason = "it has no time zone; write it like '2026-03-01T08:00:00Z', or with '+01:00' at its end"
        raise BadOption(option=option, value=value, reason=reason)
    return to_instant_ms(moment, option=option)


def _float_ms(value: float, option: str) -> int:
    if not math.isfinite(value):
        raise BadOption(option=option, value=value, reason="a duration must be a finite number of seconds")
    # By way of the decimal that a person reads: 2.007 s is 2007 ms, though its nearest float is a little more.
    return math.ceil(Decimal(repr(value)) * 1_000)


def _text_ms(value: str, option: str) -> int:
    text = value.replace(" ", "")
    if _BARE.fullmatch(text):
        return math.ceil(Decimal(text) * 1_000)
    match = _TEXT.fullmatch(text)
    if match is None or not text:
        raise BadOption(option=option, value=value, reason="a duration is written like '250ms', '10m', '1h30m' or '7d'")
    units = zip(match.groups(), _UNIT_MS.values(), strict=True)
    return math.ceil(sum((Decimal(number) * unit_ms for number, unit_ms in units if number), Decimal()))
