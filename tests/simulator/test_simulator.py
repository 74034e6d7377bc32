"""200 fixed worlds, and random ones for two thirds of `AIOQUEUE_SIM_SECONDS`."""

from __future__ import annotations

import os

import pytest

from tests.simulator.judging import judge, random_seeds
from tests.simulator.retention import CUTTING_SEEDS
from tests.simulator.world import simulate

FIXED_SEEDS = 200
# The rest is for the simulator of the whole program.
SECONDS = float(os.environ.get("AIOQUEUE_SIM_SECONDS", "60")) * 2 / 3


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, FIXED_SEEDS, 20))
def test_no_fixed_seed_breaks_a_promise(first: int) -> None:
    outcomes = judge(simulate, range(first, first + 20), level=1)
    # A world in which nothing happens keeps every promise.
    assert sum(outcome.commands for outcome in outcomes) > 5_000
    assert sum(outcome.jobs for outcome in outcomes) > 1_000
    assert sum(outcome.crashes for outcome in outcomes) > 20


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(CUTTING_SEEDS + 1, CUTTING_SEEDS + 81, 20))
def test_no_world_in_which_the_log_is_cut_breaks_a_promise(first: int) -> None:
    outcomes = judge(simulate, range(first, first + 20, 2), level=1)
    assert sum(outcome.events for outcome in outcomes) > 5_000


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 2 + 120)
def test_no_random_seed_breaks_a_promise() -> None:
    outcomes = judge(simulate, random_seeds(SECONDS), level=1)
    assert sum(outcome.events for outcome in outcomes) > 0


def test_the_same_seed_gives_the_same_world() -> None:
    said: list[list[str]] = [[], []]
    outcomes = [simulate(7, 300, lines.append) for lines in said]
    assert outcomes[0] == outcomes[1]
    assert said[0] == said[1]
    assert len(said[0]) > 300
