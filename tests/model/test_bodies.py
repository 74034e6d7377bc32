"""Bodies: bytes with a codec in front, and what is made of those that cannot be read."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.model.bodies import pack_body, pack_failure, pack_headers, unpack_body, unpack_failure, unpack_headers
from aioqueue.model.views import Failure

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)
DEEP = b"\x91" * 100_000 + b"\xc0"


@given(PLAIN)
def test_a_plain_value_comes_back_as_it_was(value: Any) -> None:
    assert unpack_body(pack_body(value)) == value


@given(PLAIN)
def test_a_body_is_its_codec_and_plain_msgpack(value: Any) -> None:
    body = pack_body(value)
    assert body[:1] == b"\x01"
    assert msgpack.unpackb(body[1:], strict_map_key=False) == value


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x02\xc0", b"\xc0"])
def test_a_codec_that_is_not_known_is_told(body: bytes) -> None:
    with pytest.raises(ValueError, match="codec"):
        unpack_body(body)


@pytest.mark.parametrize("rest", [b"", b"\xc1", b"\x92\xc0", b"\xc0\xc0", b"\xa1\xff", DEEP])
def test_bytes_that_their_codec_cannot_read_are_a_value_error(rest: bytes) -> None:
    with pytest.raises(ValueError):
        unpack_body(b"\x01" + rest)


@pytest.mark.parametrize("value", [object(), {"a": object()}, 2**64, -(2**63) - 1, "\ud800", lambda: 0])
def test_what_msgpack_cannot_say_is_a_type_or_value_error(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        pack_body(value)


@given(st.builds(Failure, *[st.text(st.characters(exclude_categories=["Cs"]))] * 3, st.booleans()))
def test_a_failure_comes_back_as_it_was(failure: Failure) -> None:
    assert unpack_failure(pack_failure(failure)) == failure


def test_a_failure_without_its_later_fields_reads_as_their_defaults() -> None:
    assert unpack_failure(b"\x01" + msgpack.packb(["KeyError", "'a'"])) == Failure("KeyError", "'a'", "", True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x01",
        b"\x01\xc1",
        b"\x01\xc0",
        b"\x01\x91\xa1E",
        b"\x01\x92\x01\x02",
        b"\x01\x92\xa1E\xa1\x80",
        b"\x01" + DEEP,
    ],
)
def test_a_failure_that_cannot_be_read_says_so_instead_of_hiding_the_job(body: bytes) -> None:
    assert unpack_failure(body).type == "UnreadableError"


@given(st.dictionaries(*[st.text(st.characters(exclude_categories=["Cs"]))] * 2))
def test_headers_come_back_as_they_were(headers: dict[str, str]) -> None:
    assert unpack_headers(pack_headers(headers)) == headers


def test_no_headers_are_no_bytes() -> None:
    assert pack_headers({}) == b""


@pytest.mark.parametrize("data", [b"\xc1", b"\x81\xa1a\x01", b"\x90", b"\x81\xa1a", b"\x81\xa1\x80\xa1a", DEEP])
def test_headers_that_cannot_be_read_are_none(data: bytes) -> None:
    assert unpack_headers(data) == {}
