"""Sizes: what people write, in bytes, and back."""

from __future__ import annotations

import pytest

from aioqueue.errors import BadOption
from aioqueue.model.sizes import count_text, size_text, to_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1_048_576),
        ("12 B", 12),
        ("256MiB", 268_435_456),
        ("2 GiB", 2_147_483_648),
        ("1.5kib", 1_536),
        ("500 MB", 500_000_000),
        (" 1TiB ", 1_099_511_627_776),
    ],
)
def test_a_size_is_read_as_people_write_it(text: str, size: int) -> None:
    assert to_bytes(text, option="size") == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1 XB", "1e9", "1,000", "nan", "1 GiB more"])
def test_what_is_no_size_names_its_option(text: str) -> None:
    with pytest.raises(BadOption) as refused:
        to_bytes(text, option="disk-reserve")
    assert refused.value.option == "disk-reserve"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (268_435_456, "256 MiB"), (5 << 40, "5 TiB")]
)
def test_a_size_is_told_as_people_read_it(size: int, text: str) -> None:
    assert size_text(size) == text


def test_one_is_told_in_the_singular() -> None:
    assert [count_text(count, "job") for count in (0, 1, 1_200)] == ["0 jobs", "1 job", "1,200 jobs"]
