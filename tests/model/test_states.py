"""States: numbers and words that are on the wire, on disk and in people's scripts."""

from __future__ import annotations

from aioqueue.model.states import TERMINAL, JobState


def test_the_number_and_word_of_a_state_never_change() -> None:
    assert {state.label: state.value for state in JobState} == {
        "scheduled": 1,
        "blocked": 2,
        "ready": 3,
        "running": 4,
        "stopping": 5,
        "suspended": 6,
        "succeeded": 7,
        "dead": 8,
        "cancelled": 9,
        "expired": 10,
    }


def test_four_states_are_an_end() -> None:
    assert {state.label for state in TERMINAL} == {"succeeded", "dead", "cancelled", "expired"}
