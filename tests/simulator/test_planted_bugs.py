"""The simulator is worth what it finds: each planted bug breaks its promise in a world whose seed is written down."""

from __future__ import annotations

import pytest

from tests.simulator.checker import Violation
from tests.simulator.planted import Bug
from tests.simulator.planted_log import BUGS
from tests.simulator.world import simulate


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found_and_only_it(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        bug.plant(patch)
        with pytest.raises(Violation) as found:
            simulate(bug.seed)
    assert str(found.value).startswith(bug.promise + ":")
    # The seed is an innocent one: without the bug its world keeps every promise.
    assert simulate(bug.seed).jobs > 0


def test_at_least_twelve_bugs_are_planted_each_under_its_own_name() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12
