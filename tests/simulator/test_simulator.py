"""200 fixed worlds, and 280 that are new with every change (times `AIOQUEUE_SIM_WORLDS`)."""

from __future__ import annotations

import pytest

from tests.simulator.declaring import DECLARING_SEEDS
from tests.simulator.judging import judge, new_seeds, new_worlds
from tests.simulator.owners import OWNERS_SEEDS
from tests.simulator.releases import FITS_SEEDS, has_fits
from tests.simulator.retention import CUTTING_SEEDS
from tests.simulator.world import simulate

FIXED_SEEDS = 200
# Of each part.
NEW_WORLDS = new_worlds(70)
# They broke a promise once: a bulk was given up though a part of it had just been said again.
ONCE_BROKEN = (42_283_884_873_046,)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, FIXED_SEEDS, 20))
def test_no_fixed_seed_breaks_a_promise(first: int) -> None:
    outcomes = judge(simulate, range(first, first + 20), level=1)
    # A world in which nothing happens keeps every promise.
    assert sum(outcome.commands for outcome in outcomes) > 5_000
    assert sum(outcome.jobs for outcome in outcomes) > 1_000
    assert sum(outcome.crashes for outcome in outcomes) > 20


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(CUTTING_SEEDS + 1, CUTTING_SEEDS + 81, 20))
def test_no_world_in_which_the_log_is_cut_breaks_a_promise(first: int) -> None:
    outcomes = judge(simulate, range(first, first + 20, 2), level=1)
    assert sum(outcome.events for outcome in outcomes) > 5_000


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(DECLARING_SEEDS + 1, DECLARING_SEEDS + 121, 40))
def test_no_world_in_which_tasks_are_declared_breaks_a_promise(first: int) -> None:
    outcomes = judge(simulate, range(first, first + 40, 4), level=1)
    assert sum(outcome.events for outcome in outcomes) > 5_000


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(OWNERS_SEEDS + 3, OWNERS_SEEDS + 483, 160))
def test_no_world_in_which_ids_are_used_again_breaks_a_promise(first: int) -> None:
    outcomes = judge(simulate, range(first, first + 160, 8), level=1)
    assert sum(outcome.events for outcome in outcomes) > 5_000


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(FITS_SEEDS, FITS_SEEDS + 120, 40))
def test_no_world_of_two_releases_breaks_a_promise(first: int) -> None:
    outcomes = judge(simulate, filter(has_fits, range(first, first + 40)), level=1)
    assert sum(outcome.events for outcome in outcomes) > 5_000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_seed_that_once_broke_a_promise_does_so_again() -> None:
    judge(simulate, ONCE_BROKEN, level=1)


@pytest.mark.slow
@pytest.mark.timeout(300 + 3 * NEW_WORLDS)
@pytest.mark.parametrize("part", range(4))
def test_no_new_seed_breaks_a_promise(part: int) -> None:
    outcomes = judge(simulate, new_seeds(NEW_WORLDS, part), level=1)
    assert sum(outcome.events for outcome in outcomes) > 0


def test_the_same_seed_gives_the_same_world() -> None:
    said: list[list[str]] = [[], []]
    outcomes = [simulate(7, 300, lines.append) for lines in said]
    assert outcomes[0] == outcomes[1]
    assert said[0] == said[1]
    assert len(said[0]) > 300
