"""Fixed worlds of the whole program, and random ones for its part of `AIOQUEUE_SIM_SECONDS`."""

from __future__ import annotations

import os

import pytest

from tests.simulator.judging import assert_found, judge, random_seeds
from tests.simulator.planted import Bug
from tests.simulator.retention import CUTTING_SEEDS
from tests.simulator.shells.planted import BUGS
from tests.simulator.shells.world import simulate

FIXED_SEEDS = 30
SECONDS = float(os.environ.get("AIOQUEUE_SIM_SECONDS", "60")) / 3


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, FIXED_SEEDS, 10))
def test_no_fixed_seed_breaks_a_promise_of_the_whole_program(first: int) -> None:
    outcomes = judge(simulate, range(first, first + 10), level=2)
    # A world in which nothing happens keeps every promise.
    assert sum(outcome.jobs for outcome in outcomes) > 200
    assert sum(outcome.steps for outcome in outcomes) > 20_000
    assert sum(outcome.crashes for outcome in outcomes) > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_world_whose_broker_cuts_its_log_breaks_a_promise() -> None:
    outcomes = judge(simulate, range(CUTTING_SEEDS + 1, CUTTING_SEEDS + 21, 2), level=2)
    assert sum(outcome.jobs for outcome in outcomes) > 200


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 2 + 120)
def test_no_random_seed_breaks_a_promise_of_the_whole_program() -> None:
    outcomes = judge(simulate, random_seeds(SECONDS), level=2)
    assert sum(outcome.steps for outcome in outcomes) > 0


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_that_is_planted_in_the_program_is_found_and_only_it(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_found(bug, simulate, monkeypatch)


def test_at_least_twelve_bugs_are_planted_in_the_program_each_under_its_own_name() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12
