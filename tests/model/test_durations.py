"""Durations and instants: what people write, in milliseconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.errors import BadOption
from aioqueue.limits import DURATION_MS_MAX
from aioqueue.model.durations import to_instant_ms, to_ms


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (0, 0),
        (2, 2_000),
        (1.5, 1_500),
        (2.007, 2_007),
        (0.0001, 1),
        (1.0001, 1_001),
        (timedelta(days=1), 86_400_000),
        (timedelta(microseconds=1), 1),
        (timedelta(milliseconds=3, microseconds=1), 4),
        ("250ms", 250),
        ("10m", 600_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("7d", 604_800_000),
        ("2w", 1_209_600_000),
        ("1.5s", 1_500),
        ("0.1ms", 1),
        ("90", 90_000),
        (DURATION_MS_MAX // 1_000, DURATION_MS_MAX),
    ],
)
def test_a_duration_is_read_as_it_is_written(value: Any, ms: int) -> None:
    assert to_ms(value, option="delay") == ms


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        -1,
        -0.001,
        timedelta(seconds=-1),
        "",
        " ",
        "soon",
        "-5s",
        "5x",
        "5m1h",
        "5m5m",
        "1e3s",
        "٣s" + "x",
        True,
        None,
        b"5s",
        [5],
        DURATION_MS_MAX // 1_000 + 1,
        1e300,
        "36501d",
        timedelta.max,
    ],
)
def test_what_is_no_duration_is_refused_by_the_name_of_its_option(value: Any) -> None:
    with pytest.raises(BadOption) as refused:
        to_ms(value, option="delay")
    assert refused.value.option == "delay"


@given(st.integers(min_value=0, max_value=10**12))
def test_a_duration_is_never_shortened_by_rounding(microseconds: int) -> None:
    ms = to_ms(timedelta(microseconds=microseconds), option="delay")
    assert 0 <= ms * 1_000 - microseconds < 1_000


@given(st.integers(min_value=0, max_value=10**9))
def test_whole_milliseconds_as_a_float_stay_what_they_are(ms: int) -> None:
    assert to_ms(ms / 1_000, option="delay") == ms


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        ms = to_ms(text, option="delay")
    except BadOption:
        return
    assert 0 <= ms <= DURATION_MS_MAX


def test_an_instant_is_the_same_from_every_time_zone() -> None:
    utc = datetime(2030, 5, 1, 12, tzinfo=UTC)
    tokyo = utc.astimezone(timezone(timedelta(hours=9)))
    assert to_instant_ms(utc, option="at") == to_instant_ms(tokyo, option="at") == 1_903_867_200_000


def test_an_instant_is_rounded_up() -> None:
    assert to_instant_ms(datetime(2030, 5, 1, 12, 0, 0, 1, tzinfo=UTC), option="at") == 1_903_867_200_001


def test_an_instant_in_milliseconds_is_itself() -> None:
    assert to_instant_ms(1_903_867_200_123, option="at") == 1_903_867_200_123


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (datetime(2030, 5, 1, 12), "time zone"),  # noqa: DTZ001 (naive is the subject)
        (datetime(1969, 5, 1, tzinfo=UTC), "1973"),
        (1_903_867_200, "milliseconds"),
        (-1, "1973"),
        (10**15, "9999"),
        (1_903_867_200_123.0, "datetime"),
        ("2030-05-01", "datetime"),
        (True, "datetime"),
    ],
)
def test_what_is_no_instant_is_refused_with_its_reason(value: Any, reason: str) -> None:
    with pytest.raises(BadOption, match=reason):
        to_instant_ms(value, option="at")
