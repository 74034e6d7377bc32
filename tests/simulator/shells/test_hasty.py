"""Worlds of users who do not wait, fixed ones and some that are new with every change."""

from __future__ import annotations

import pytest

from tests.simulator.checker import Violation
from tests.simulator.judging import judge, new_seeds, new_worlds
from tests.simulator.planted import Bug
from tests.simulator.shells.hasty import simulate_hasty
from tests.simulator.shells.planted_hasty import BUGS

# Of each part.
NEW_WORLDS = new_worlds(8)
# The rarest of them shows in every tenth world or so.
WORLDS_A_BUG = 60


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, 20, 10))
def test_no_fixed_seed_lets_a_job_come_that_was_said_not_to(first: int) -> None:
    outcomes = judge(simulate_hasty, range(first, first + 10), level=3)
    assert sum(outcome.jobs for outcome in outcomes) > 200


@pytest.mark.slow
@pytest.mark.timeout(300 + 10 * NEW_WORLDS)
@pytest.mark.parametrize("part", range(2))
def test_no_new_seed_lets_a_job_come_that_was_said_not_to(part: int) -> None:
    judge(simulate_hasty, new_seeds(NEW_WORLDS, part), level=3)


# A world that ends in the midst of things may leave a connection that nobody came to attend to.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_of_those_who_leave_is_found_and_only_it(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its world, or where that is another one by now, in one of those that follow."""
    for seed in range(bug.seed, bug.seed + WORLDS_A_BUG):
        with monkeypatch.context() as patch:
            bug.plant(patch)
            try:
                simulate_hasty(seed)
            except Violation as violation:
                if str(violation).startswith(bug.promise + ":"):
                    break
    else:
        pytest.fail(f"nobody noticed in {WORLDS_A_BUG} worlds")
    assert simulate_hasty(seed).jobs > 0
