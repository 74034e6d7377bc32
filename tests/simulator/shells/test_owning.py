"""Worlds of users with ids of their own, fixed ones and some that are new with every change."""

from __future__ import annotations

import pytest

from tests.simulator.judging import assert_found, judge, new_seeds, new_worlds
from tests.simulator.planted import Bug
from tests.simulator.shells.owning import simulate_owning
from tests.simulator.shells.planted_owning import BUGS

# Of each part.
NEW_WORLDS = new_worlds(8)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, 20, 10))
def test_no_fixed_seed_uses_an_id_for_two_jobs_at_a_time(first: int) -> None:
    outcomes = judge(simulate_owning, range(first, first + 10), level=4)
    assert sum(outcome.events for outcome in outcomes) > 200


@pytest.mark.slow
@pytest.mark.timeout(300 + 10 * NEW_WORLDS)
@pytest.mark.parametrize("part", range(2))
def test_no_new_seed_uses_an_id_for_two_jobs_at_a_time(part: int) -> None:
    judge(simulate_owning, new_seeds(NEW_WORLDS, part), level=4)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_of_ids_that_are_used_again_is_found_and_only_it(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_found(bug, simulate_owning, monkeypatch)
