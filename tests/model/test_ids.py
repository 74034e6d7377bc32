"""Job ids: their layout, where they lead, and that a caller's own id never changes its meaning."""

from __future__ import annotations

import hashlib
import uuid
import zlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.errors import BadOption, JobNotFound
from aioqueue.model.ids import (
    generated_id,
    id_bytes,
    id_range,
    id_text,
    is_own_id,
    own_id,
    partition_of,
    route_in,
    route_of,
)

NAMES = st.text("abcXYZ019_.-", min_size=1, max_size=128)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
RANDOM = st.binary(min_size=8, max_size=8)
WALL_MS = st.integers(0, 2**48 - 1)


@given(NAMES, NAMES, WALL_MS, RANDOM)
def test_a_generated_id_is_a_uuid_of_version_7(namespace: str, queue: str, wall_ms: int, random: bytes) -> None:
    made = uuid.UUID(bytes=generated_id(namespace, queue, wall_ms, random))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


@given(NAMES, NAMES, TEXTS)
def test_a_callers_own_id_is_a_uuid_of_version_8(namespace: str, queue: str, text: str) -> None:
    made = uuid.UUID(bytes=own_id(namespace, queue, text))
    assert (made.version, made.variant) == (8, uuid.RFC_4122)


@given(NAMES, NAMES, WALL_MS, RANDOM)
def test_a_generated_id_begins_with_its_millisecond(namespace: str, queue: str, wall_ms: int, random: bytes) -> None:
    assert int.from_bytes(generated_id(namespace, queue, wall_ms, random)[:6], "big") == wall_ms


@given(NAMES, NAMES, WALL_MS, RANDOM)
def test_62_bits_of_an_id_are_those_of_chance(namespace: str, queue: str, wall_ms: int, random: bytes) -> None:
    low = int.from_bytes(generated_id(namespace, queue, wall_ms, random)[8:], "big")
    assert low & (1 << 62) - 1 == int.from_bytes(random, "big") & (1 << 62) - 1


@given(NAMES, NAMES, WALL_MS, RANDOM, TEXTS)
def test_both_kinds_of_ids_lead_to_the_queues_route(
    namespace: str, queue: str, wall_ms: int, random: bytes, text: str
) -> None:
    route = zlib.crc32(f"{namespace}/{queue}".encode()) & 0xFFF
    assert route_of(namespace, queue) == route
    for made in (generated_id(namespace, queue, wall_ms, random), own_id(namespace, queue, text)):
        assert route_in(made) == route
        assert made[6] & 0x0F == route >> 8
        assert made[7] == route & 0xFF


def test_ids_sort_by_the_time_they_were_made() -> None:
    made = [generated_id("default", "default", ms, b"\xff" * 8 if ms % 2 else b"\x00" * 8) for ms in range(2_000)]
    assert made == sorted(made)


def test_a_clock_beyond_48_bits_still_makes_an_id() -> None:
    assert len(generated_id("default", "default", 2**48 + 5, b"\x00" * 8)) == 16


# Computed from the specification with `msgpack` and `hashlib`, without this package.
@pytest.mark.parametrize(
    ("namespace", "queue", "text", "wanted"),
    [
        ("default", "default", "invoice-42", "d1e8ef811484800aa6ca002fbe767276"),
        ("shop", "mail.high", "a", "1c614d65b5c085508cb6c14611a2ad7b"),
        ("shop", "mail", "ö" * 200, "8bce4385a3218afcaa21dcd5c2fac5b7"),
        ("n" * 128, "q" * 128, "x" * 256, "ae09e2a8b61882c89d493ca8ee1c4068"),
    ],
)
def test_a_callers_own_id_is_the_same_for_ever(namespace: str, queue: str, text: str, wanted: str) -> None:
    assert own_id(namespace, queue, text).hex() == wanted


@given(NAMES, NAMES, TEXTS)
def test_a_callers_own_id_can_be_made_by_any_msgpack_and_sha_256(namespace: str, queue: str, text: str) -> None:
    digest = bytearray(hashlib.sha256(msgpack.packb([1, namespace, queue, text])).digest()[:14])
    route = zlib.crc32(f"{namespace}/{queue}".encode()) & 0xFFF
    wanted = bytearray(digest[:6] + (0x8000 | route).to_bytes(2, "big") + digest[6:])
    wanted[8] = wanted[8] & 0x3F | 0x80
    assert own_id(namespace, queue, text) == bytes(wanted)


def test_own_ids_differ_where_namespace_queue_or_text_do() -> None:
    # Were the names joined into one text, some of these would be one job.
    made = {own_id(*names) for names in (("a", "b", "c"), ("a", "bc", "d"), ("ab", "c", "d"), ("a", "b", "cd"))}
    assert len(made) == 4


@pytest.mark.parametrize("text", ["", "x" * 257, None, 42, b"invoice", ["a"]])
def test_an_own_id_that_is_no_short_text_is_refused(text: object) -> None:
    with pytest.raises(BadOption) as refusal:
        own_id("default", "default", text)  # type: ignore[arg-type]
    assert refusal.value.option == "id"


def test_an_own_id_that_utf_8_cannot_say_is_refused_in_words_that_can_be_printed() -> None:
    with pytest.raises(BadOption) as refusal:
        own_id("default", "default", "bad \ud800")
    str(refusal.value).encode()


@given(st.integers(0, 0xFFF), st.integers(1, 4_096))
def test_every_route_has_one_partition_and_neighbours_share_or_follow(route: int, partitions: int) -> None:
    def of(bits: int) -> int:
        return partition_of(bytes(6) + (0x7000 | bits).to_bytes(2, "big") + bytes(8), partitions)

    assert of(route) == route * partitions // 4_096
    assert 0 <= of(route) < partitions
    if route:
        assert of(route) - of(route - 1) in (0, 1)


@pytest.mark.parametrize("partitions", [1, 2, 3, 16, 4_096])
def test_every_partition_has_its_share_of_routes(partitions: int) -> None:
    ids = [bytes(6) + (0x7000 | route).to_bytes(2, "big") + bytes(8) for route in range(4_096)]
    shares = [0] * partitions
    for job_id in ids:
        shares[partition_of(job_id, partitions)] += 1
    assert max(shares) - min(shares) <= 1


def test_an_own_id_is_told_from_a_generated_one() -> None:
    assert is_own_id(own_id("default", "default", "a"))
    assert not is_own_id(generated_id("default", "default", 1_700_000_000_000, b"\xff" * 8))


@given(st.binary(min_size=16, max_size=16))
def test_a_printed_id_reads_back(job_id: bytes) -> None:
    assert id_bytes(id_text(job_id)) == job_id


@pytest.mark.parametrize("text", ["", "x", "12345678-1234-5678-1234-56781234567", "g" * 32, None, 5, b"\x00" * 16])
def test_what_is_no_id_is_no_job(text: object) -> None:
    with pytest.raises(JobNotFound):
        id_bytes(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("prefix", ["", "zz", "0" * 33, 5])
def test_what_no_id_begins_with_is_refused_in_a_search(prefix: object) -> None:
    with pytest.raises(BadOption, match="it must be the beginning of a job's id"):
        id_range(prefix)  # type: ignore[arg-type]


def test_the_beginning_of_an_id_is_told_how_the_whole_is_found() -> None:
    with pytest.raises(JobNotFound, match=r"no job '01A2-0' is known here; .* `aioqueue ls --id 01A2-0`") as caught:
        id_bytes("01A2-0")
    assert caught.value.fields == {"job": "'01A2-0'"}
