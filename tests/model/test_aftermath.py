"""What follows a failure, in words."""

from __future__ import annotations

import pytest

from aioqueue.model.aftermath import aftermath
from aioqueue.model.states import JobState


@pytest.mark.parametrize(
    ("state", "failures", "in_ms", "retry", "words"),
    [
        (JobState.SCHEDULED, 2, 2_149, True, "again in 2.1 s, attempt 3 of 5"),
        (JobState.SCHEDULED, 1, 299_000, True, "again in 5 min, attempt 2 of 5"),
        (JobState.SCHEDULED, 1, 5_400_000, True, "again in 1 h 30 min, attempt 2 of 5"),
        (JobState.READY, 4, 0, True, "again at once, attempt 5 of 5"),
        (JobState.RUNNING, 4, 0, True, "again at once, attempt 5 of 5"),
        (JobState.DEAD, 5, 0, True, "dead: out of attempts (5 of 5)"),
        (JobState.DEAD, 1, 0, False, "dead: it is not to be tried again after this error"),
        (JobState.DEAD, 1, 0, True, "dead: the next attempt could not begin before its deadline"),
        (JobState.CANCELLED, 1, 0, True, "cancelled"),
        (JobState.EXPIRED, 1, 0, True, "expired"),
    ],
)
def test_what_follows_is_said_with_its_reason(
    state: JobState, failures: int, in_ms: int, retry: bool, words: str
) -> None:
    assert aftermath(state, failures, 5, in_ms, retry=retry) == words
