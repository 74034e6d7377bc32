"""The simulator is worth what it finds: each planted bug breaks its promise in a world whose seed is written down."""

from __future__ import annotations

import pytest

from tests.simulator.judging import assert_found
from tests.simulator.planted import Bug
from tests.simulator.planted_fits import BUGS
from tests.simulator.world import simulate


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found_and_only_it(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_found(bug, simulate, monkeypatch)


def test_at_least_twelve_bugs_are_planted_each_under_its_own_name() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12
