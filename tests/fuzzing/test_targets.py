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
def test_known_bytes_are_borne(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_known_bytes_that_were_damaged_do_nothing_else(name: str) -> None:
    chance = random.Random(name)
    for _ in range(ROUNDS if len(SEEDS[name][0]) < 4_000 else ROUNDS // 20):
        data = a_damaged_payload(chance, SEEDS[name])
        try:
            TARGETS[name](data)
        except Exception as error:
            raise AssertionError(f"{name}: {data[:2_000].hex()}") from error


@pytest.mark.parametrize("name", TARGETS)
def test_a_tower_in_a_field_of_a_later_version_does_nothing_else(name: str) -> None:
    """What is not known is passed over, however deep it is."""
    for seed in SEEDS[name]:
        for place in (0, 1):
            longer = bytearray(seed)
            if len(seed) > 2 and 0x90 <= seed[place] < 0x9F:
                longer[place] += 1
                TARGETS[name](bytes(longer) + b"\x91" * 20_000)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=300))
def test_no_noise_does_anything_else(name: str, data: bytes) -> None:
    TARGETS[name](data)
