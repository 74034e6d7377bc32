"""Fixed worlds of the whole program, and random ones for its part of `AIOQUEUE_SIM_SECONDS`."""

from __future__ import annotations

import os
import secrets
import time

import pytest

from tests.simulator.checker import Violation
from tests.simulator.planted import Bug
from tests.simulator.retention import CUTTING_SEEDS
from tests.simulator.shells.planted import BUGS
from tests.simulator.shells.world import Outcome, simulate

FIXED_SEEDS = 30
SECONDS = float(os.environ.get("AIOQUEUE_SIM_SECONDS", "60")) / 3


def judge(seed: int) -> Outcome:
    """One world; a broken promise fails the test with what to type to see it again."""
    try:
        return simulate(seed)
    except Violation as violation:
        pytest.fail(f"seed {seed}: {violation}\n    python -m tests.simulator --level 2 --seed {seed} -v")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, FIXED_SEEDS, 10))
def test_no_fixed_seed_breaks_a_promise_of_the_whole_program(first: int) -> None:
    outcomes = [judge(seed) for seed in range(first, first + 10)]
    # A world in which nothing happens keeps every promise.
    assert sum(outcome.jobs for outcome in outcomes) > 200
    assert sum(outcome.steps for outcome in outcomes) > 20_000
    assert sum(outcome.crashes for outcome in outcomes) > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_world_whose_broker_cuts_its_log_breaks_a_promise() -> None:
    outcomes = [judge(seed) for seed in range(CUTTING_SEEDS + 1, CUTTING_SEEDS + 21, 2)]
    assert sum(outcome.jobs for outcome in outcomes) > 200


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 2 + 120)
def test_no_random_seed_breaks_a_promise_of_the_whole_program() -> None:
    seed = secrets.randbits(48)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        judge(seed)
        seed += 1


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_that_is_planted_in_the_program_is_found_and_only_it(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        bug.plant(patch)
        with pytest.raises(Violation) as found:
            simulate(bug.seed)
    assert str(found.value).startswith(bug.promise + ":")
    # The seed is an innocent one: without the bug its world keeps every promise.
    assert simulate(bug.seed).jobs > 0


def test_at_least_twelve_bugs_are_planted_in_the_program_each_under_its_own_name() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12
