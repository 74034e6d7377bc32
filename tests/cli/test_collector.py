"""What waits in a broker is kept out of the collector's sight, and given back to it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from aioqueue.cli.collector import JOBS_UNFROZEN_MAX, Frost, uncollected


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    # Another test of this process may have started a broker in it.
    gc.unfreeze()
    yield
    gc.enable()
    gc.unfreeze()


def test_a_start_is_not_collected_and_what_it_made_is_frozen() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_a_start_that_fails_leaves_the_collector_at_work() -> None:
    with pytest.raises(ValueError, match="no journal"), uncollected():
        raise ValueError("no journal")
    assert gc.isenabled()


def test_many_more_jobs_are_frozen_and_thawed_when_they_are_gone() -> None:
    frost = Frost(0)
    frost.look(JOBS_UNFROZEN_MAX)
    assert gc.get_freeze_count() == 0
    frost.look(JOBS_UNFROZEN_MAX + 1)
    assert gc.get_freeze_count() > 0
    frost.look(JOBS_UNFROZEN_MAX // 2)
    assert gc.get_freeze_count() > 0
    frost.look(JOBS_UNFROZEN_MAX // 2 - 1)
    assert gc.get_freeze_count() == 0
