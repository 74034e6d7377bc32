"""What a caller is told of one job."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from aioqueue.client.info import friendly
from aioqueue.model.states import JobState, State
from tests.support.examples import INFO


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.SUSPENDED])
def test_a_state_is_one_of_those_that_type_checkers_know(state: JobState) -> None:
    assert state.label in get_args(State)
    assert friendly(msgspec.structs.replace(INFO, state=state.label)).state == state.label


def test_a_state_that_only_a_newer_broker_has_is_unknown() -> None:
    assert friendly(msgspec.structs.replace(INFO, state="levitating")).state == "unknown"
