"""200 fixed worlds, and random ones for two thirds of `AIOQUEUE_SIM_SECONDS`."""

from __future__ import annotations

import os
import secrets
import time

import pytest

from tests.simulator.checker import Violation
from tests.simulator.retention import CUTTING_SEEDS
from tests.simulator.world import Outcome, simulate

FIXED_SEEDS = 200
# The rest is for the simulator of the whole program.
SECONDS = float(os.environ.get("AIOQUEUE_SIM_SECONDS", "60")) * 2 / 3


def judge(seed: int) -> Outcome:
    """One world; a broken promise fails the test with what to type to see it again."""
    try:
        return simulate(seed)
    except Violation as violation:
        pytest.fail(f"seed {seed} broke a promise: {violation}\n    python -m tests.simulator --seed {seed} -v")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, FIXED_SEEDS, 20))
def test_no_fixed_seed_breaks_a_promise(first: int) -> None:
    outcomes = [judge(seed) for seed in range(first, first + 20)]
    # A world in which nothing happens keeps every promise.
    assert sum(outcome.commands for outcome in outcomes) > 5_000
    assert sum(outcome.jobs for outcome in outcomes) > 1_000
    assert sum(outcome.crashes for outcome in outcomes) > 20


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(CUTTING_SEEDS + 1, CUTTING_SEEDS + 81, 20))
def test_no_world_in_which_the_log_is_cut_breaks_a_promise(first: int) -> None:
    outcomes = [judge(seed) for seed in range(first, first + 20, 2)]
    assert sum(outcome.events for outcome in outcomes) > 5_000


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 2 + 120)
def test_no_random_seed_breaks_a_promise() -> None:
    seed = secrets.randbits(48)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        judge(seed)
        seed += 1


def test_the_same_seed_gives_the_same_world() -> None:
    said: list[list[str]] = [[], []]
    outcomes = [simulate(7, 300, lines.append) for lines in said]
    assert outcomes[0] == outcomes[1]
    assert said[0] == said[1]
    assert len(said[0]) > 300
