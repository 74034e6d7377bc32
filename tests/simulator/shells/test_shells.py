"""Fixed worlds of the whole program, and 36 that are new with every change (times `AIOQUEUE_SIM_WORLDS`)."""

from __future__ import annotations

import traceback

import pytest

from tests.simulator.checker import Violation
from tests.simulator.judging import assert_found, judge, new_seeds, new_worlds
from tests.simulator.planted import Bug
from tests.simulator.retention import CUTTING_SEEDS
from tests.simulator.shells.planted import BUGS
from tests.simulator.shells.world import simulate

FIXED_SEEDS = 30
# Of each part.
NEW_WORLDS = new_worlds(18)
# They broke a promise once: a child that inherits its parent's deadline may die of it; the last append of a storm may
# fail when all else is over.
ONCE_BROKEN = (165_556_370_407_442, 73_231_220_736_070)
# Their judge was wrong once: about jobs that are over before they begin, about a broker that dies slowly,
# about calms that take their time, and about an archive that cannot be written by who is to look into it.
ONCE_MISJUDGED = (
    19_199_228_513_194, 19_199_228_516_461, 19_199_228_511_746, 19_199_228_514_833, 19_199_228_510_947,
    19_199_228_518_798, 51_195_804_057_760,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, FIXED_SEEDS, 10))
def test_no_fixed_seed_breaks_a_promise_of_the_whole_program(first: int) -> None:
    outcomes = judge(simulate, range(first, first + 10), level=2)
    # A world in which nothing happens keeps every promise.
    assert sum(outcome.jobs for outcome in outcomes) > 200
    assert sum(outcome.steps for outcome in outcomes) > 20_000
    assert sum(outcome.crashes for outcome in outcomes) > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_world_whose_broker_cuts_its_log_breaks_a_promise() -> None:
    outcomes = judge(simulate, range(CUTTING_SEEDS + 1, CUTTING_SEEDS + 21, 2), level=2)
    assert sum(outcome.jobs for outcome in outcomes) > 200


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_seed_that_once_broke_a_promise_of_the_whole_program_does_so_again() -> None:
    judge(simulate, ONCE_BROKEN, level=2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_seed_whose_judge_was_wrong_is_called_broken_again() -> None:
    judge(simulate, ONCE_MISJUDGED, level=2)


@pytest.mark.slow
@pytest.mark.timeout(300 + 10 * NEW_WORLDS)
@pytest.mark.parametrize("part", range(2))
def test_no_new_seed_breaks_a_promise_of_the_whole_program(part: int) -> None:
    outcomes = judge(simulate, new_seeds(NEW_WORLDS, part), level=2)
    assert sum(outcome.steps for outcome in outcomes) > 0


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_that_is_planted_in_the_program_is_found_and_only_it(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_found(bug, simulate, monkeypatch)


def test_an_error_that_ends_a_world_is_the_cause_of_its_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = next(bug for bug in BUGS if bug.name == "every_fourth_submit_raises")
    bug.plant(monkeypatch)
    with pytest.raises(Violation, match=r"^defect: Users\._user of client\d\.\d ended with RuntimeError") as found:
        simulate(bug.seed)
    cause = found.value.__cause__
    assert isinstance(cause, RuntimeError)
    assert [place.name for place in traceback.extract_tb(cause.__traceback__)][-1] == "submit"


def test_at_least_twelve_bugs_are_planted_in_the_program_each_under_its_own_name() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12
