"""Specs: the bytes by which they travel, and every option that no job may have."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import pytest

from aioqueue.errors import BadName, BadOption, MalformedFrame, PayloadTooLarge, Unsupported
from aioqueue.limits import DURATION_MS_MAX, SPEC_BYTES_MAX
from aioqueue.model.spec import RetryPolicy, Spec, check_spec, newer_spec, pack_spec, unpack_spec

SPEC = Spec("shop", "mail", "shop.mail.send", 8, 30_000, 0, RetryPolicy(3, "linear", 500, 1.5, 9_000, False))


def test_a_spec_comes_back_as_it_was_packed() -> None:
    assert unpack_spec(pack_spec(SPEC)) == SPEC


def test_a_spec_is_these_bytes_for_ever() -> None:
    assert msgpack.unpackb(pack_spec(SPEC)) == [
        "shop", "mail", "shop.mail.send", 8, 30_000, 0, [3, "linear", 500, 1.5, 9_000, False],
    ]  # fmt: skip
    assert (
        pack_spec(Spec("n", "q", "t")).hex()
        == "97a16ea171a1740500ff9605ab6578706f6e656e7469616ccd03e8cb4000000000000000ce000493e0c3"
    )


def test_what_a_spec_does_not_say_is_the_default() -> None:
    assert unpack_spec(msgpack.packb(["n", "q", "t"])) == Spec("n", "q", "t", 5, 0, -1, RetryPolicy())
    assert RetryPolicy() == RetryPolicy(5, "exponential", 1_000, 2.0, 300_000, True)


def test_equal_specs_are_equal_keys() -> None:
    assert len({Spec("n", "q", "t"), Spec("n", "q", "t"), Spec("n", "q", "t", priority=6)}) == 2


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"priority": -1}, "priority"),
        ({"priority": 10}, "priority"),
        ({"timeout_ms": -1}, "timeout"),
        ({"timeout_ms": DURATION_MS_MAX + 1}, "timeout"),
        ({"keep_ms": -2}, "keep"),
        ({"keep_ms": DURATION_MS_MAX + 1}, "keep"),
        ({"retry": RetryPolicy(attempts=0)}, "retry"),
        ({"retry": RetryPolicy(attempts=1_001)}, "retry"),
        ({"retry": RetryPolicy(backoff="")}, "retry"),
        ({"retry": RetryPolicy(backoff="quadratic")}, "retry"),
        ({"retry": RetryPolicy(base_ms=-1)}, "retry"),
        ({"retry": RetryPolicy(base_ms=DURATION_MS_MAX + 1)}, "retry"),
        ({"retry": RetryPolicy(cap_ms=-1)}, "retry"),
        ({"retry": RetryPolicy(cap_ms=DURATION_MS_MAX + 1)}, "retry"),
        ({"retry": RetryPolicy(factor=0.99)}, "retry"),
        ({"retry": RetryPolicy(factor=1_000.5)}, "retry"),
        ({"retry": RetryPolicy(factor=float("nan"))}, "retry"),
        ({"retry": RetryPolicy(factor=float("inf"))}, "retry"),
        ({"labels": tuple(f"label-{number}" for number in range(17))}, "labels"),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_name(change: dict[str, Any], option: str) -> None:
    spec = msgspec.structs.replace(SPEC, **change)
    with pytest.raises(BadOption) as refusal:
        check_spec(spec)
    assert refusal.value.option == option
    with pytest.raises(BadOption):
        unpack_spec(pack_spec(spec))


@pytest.mark.parametrize(
    "change",
    [
        {"priority": 0},
        {"priority": 9},
        {"timeout_ms": DURATION_MS_MAX},
        {"keep_ms": -1},
        {"keep_ms": DURATION_MS_MAX},
        {"retry": RetryPolicy(1, "constant", 0, 1.0, 0, True)},
        {"retry": RetryPolicy(1_000, "exponential", DURATION_MS_MAX, 1_000.0, DURATION_MS_MAX, False)},
    ],
)
def test_an_option_at_the_end_of_its_range_is_accepted(change: dict[str, Any]) -> None:
    spec = msgspec.structs.replace(SPEC, **change)
    assert unpack_spec(pack_spec(spec)) == spec


@pytest.mark.parametrize("field", ["namespace", "queue", "task"])
def test_a_spec_of_a_bad_name_is_refused(field: str) -> None:
    with pytest.raises(BadName) as refusal:
        unpack_spec(pack_spec(msgspec.structs.replace(SPEC, **{field: "a b"})))
    assert refusal.value.what == field


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\x91" * 500,
        pack_spec(SPEC)[:-1],
        pack_spec(SPEC) + b"\x00",
        msgpack.packb({"namespace": "n"}),
        msgpack.packb(["n", "q"]),
        msgpack.packb(["n", "q", 5]),
        msgpack.packb(["n", "q", "t", "5"]),
        msgpack.packb(["n", "q", "t", 5.5]),
        msgpack.packb(["n", "q", "t", 2**63]),
        msgpack.packb(["n", "q", "t", 5, 0, -1, ["five"]]),
        msgpack.packb(["n", "q", b"t"]),
        b"\x93\xa1n\xa1q\xa1\x80",
    ],
)
def test_bytes_that_are_no_spec_are_refused(data: bytes) -> None:
    with pytest.raises((MalformedFrame, BadOption)):
        unpack_spec(data)


def test_a_spec_over_its_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(PayloadTooLarge) as refusal:
        unpack_spec(b"\xc1" * (SPEC_BYTES_MAX + 1))
    assert (refusal.value.size, refusal.value.limit) == (SPEC_BYTES_MAX + 1, SPEC_BYTES_MAX)


def test_a_spec_of_the_longest_names_is_within_its_limit() -> None:
    longest = RetryPolicy(1_000, "exponential", DURATION_MS_MAX, 999.9, DURATION_MS_MAX, False)
    spec = Spec("n" * 128, "q" * 128, "t" * 128, 9, DURATION_MS_MAX, DURATION_MS_MAX, longest)
    assert unpack_spec(pack_spec(spec)) == spec


@pytest.mark.parametrize("place", [8, 6])
def test_a_spec_of_a_newer_version_is_unsupported_and_not_read_without_what_is_not_known(place: int) -> None:
    packed = msgpack.unpackb(pack_spec(msgspec.structs.replace(SPEC, labels=("gpu",))))
    (packed if place == 8 else packed[place]).append("gpu")
    with pytest.raises(Unsupported, match="all options in a job's spec"):
        unpack_spec(msgpack.packb(packed))
    assert newer_spec(msgpack.packb(packed))


def test_labels_come_back_and_without_any_a_spec_has_its_old_bytes() -> None:
    labelled = msgspec.structs.replace(SPEC, labels=("gpu", "eu-west"))
    assert unpack_spec(pack_spec(labelled)) == labelled
    assert len(msgpack.unpackb(pack_spec(SPEC))) == 7
    with pytest.raises(BadName, match="label"):
        check_spec(msgspec.structs.replace(SPEC, labels=("a b",)))


def test_a_spec_that_is_damaged_is_not_newer() -> None:
    assert newer_spec(pack_spec(SPEC)) == newer_spec(pack_spec(SPEC)[:-1]) == newer_spec(b"spec") == ""
