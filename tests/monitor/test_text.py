"""What reaches a terminal is text and nothing else; numbers and times read as they are meant."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.monitor.text import age, count, long_age, plain, rate, short


@given(st.text(st.characters()))
def test_no_control_character_survives(text: str) -> None:
    assert all(unicodedata.category(char)[0] != "C" for char in plain(text))
    assert "\n" not in plain(text)


@given(st.text(st.characters()))
def test_only_line_breaks_survive_in_many_lines(text: str) -> None:
    told = plain(text, lines=True)

    assert told.count("\n") == text.count("\n")
    assert all(unicodedata.category(char)[0] != "C" for char in told.replace("\n", ""))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain words, größer, 日本", "plain words, größer, 日本"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("one\ntwo\ttab", r"one\ntwo\ttab"),
        ("right \u202e to left", r"right \u202e to left"),
        ("[bold]markup stays as it is", "[bold]markup stays as it is"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_does_not_print_is_shown_as_an_escape(text: str, told: str) -> None:
    assert plain(text) == told


@pytest.mark.parametrize(
    ("ms", "told"),
    [(-5, "0ms"), (0, "0ms"), (999, "999ms"), (1_000, "1s"), (119_999, "1m"), (7_200_000, "2h"), (864_000_000, "10d")],
)
def test_an_age_is_its_largest_unit(ms: int, told: str) -> None:
    assert age(ms) == told


@pytest.mark.parametrize(
    ("ms", "told"), [(12, "12ms"), (5_000, "5s"), (200_000, "3m 20s"), (90_000_000, "1d 1h"), (3_600_000, "1h 0m")]
)
def test_a_long_age_is_its_two_largest_units(ms: int, told: str) -> None:
    assert long_age(ms) == told


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0"), (9_999, "9,999"), (10_000, "10.0k"), (123_456, "123k"), (1_500_000, "1.5M"), (2_000_000_000, "2.0G")],
)
def test_a_count_is_exact_while_it_is_small(number: int, told: str) -> None:
    assert count(number) == told


@pytest.mark.parametrize(
    ("per_second", "told"), [(None, "-"), (0.0, "0"), (0.25, "0.2"), (99.94, "99.9"), (12_345.6, "12.3k")]
)
def test_a_rate_is_a_dash_until_it_is_known(per_second: float | None, told: str) -> None:
    assert rate(per_second) == told


def test_what_is_cut_says_so() -> None:
    assert (short("abcdef", 4), short("abcd", 4)) == ("abc…", "abcd")
