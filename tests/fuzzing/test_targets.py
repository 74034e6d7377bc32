"""Every target of the fuzzers, with noise and with damaged known bytes; `nox -s fuzz` looks for much longer."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing.seeds import SEEDS
from tests.fuzzing.targets import TARGETS
from tests.transport.test_fuzz import a_damaged_payload

pytestmark = pytest.mark.fuzz

ROUNDS = int(os.environ.get("AIOQUEUE_FUZZ_ROUNDS", "300"))


@pytest.mark.parametrize("name", TARGETS)
def test_known_bytes_are_read(name: str) -> None:
    """Damage done to bytes that are refused anyway would prove nothing."""
    read = [TARGETS[name](seed) for seed in SEEDS[name]]
    assert any(read)


@pytest.mark.parametrize("name", TARGETS)
def test_known_bytes_that_were_damaged_are_read_or_refused(name: str) -> None:
    chance = random.Random(name)
    read = []
    for _ in range(ROUNDS if len(SEEDS[name][0]) < 4_000 else ROUNDS // 20):
        data = a_damaged_payload(chance, SEEDS[name])
        try:
            read.append(TARGETS[name](data))
        except Exception as error:
            raise AssertionError(f"{name}: {data[:2_000].hex()}") from error
    assert not all(read)


@pytest.mark.parametrize("name", ["client_messages", "broker_messages", "records", "replay", "archive_rows", "nouns"])
def test_a_tower_without_a_top_in_a_field_of_a_later_version_is_refused(name: str) -> None:
    towers = 0
    for seed in SEEDS[name]:
        for place in (0, 1):
            longer = bytearray(seed)
            if len(seed) > 2 and 0x90 <= seed[place] < 0x9F:
                longer[place] += 1
                assert not TARGETS[name](bytes(longer) + b"\x91" * 20_000)
                towers += 1
    assert towers > 0


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=300))
def test_any_noise_is_read_or_refused(name: str, data: bytes) -> None:
    assert TARGETS[name](data) in {True, False}
