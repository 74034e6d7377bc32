"""The pause before another attempt: exact without jitter, bounded with it, and the same each time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.core.backoff import backoff_ms
from aioqueue.model.spec import BACKOFFS, RetryPolicy
from tests.support.scene import job_id


@pytest.mark.parametrize(
    ("policy", "pauses"),
    [
        (RetryPolicy(jitter=False), [1_000, 2_000, 4_000, 8_000]),
        (RetryPolicy(base_ms=100, factor=3.0, cap_ms=1_000, jitter=False), [100, 300, 900, 1_000]),
        (RetryPolicy(base_ms=3, factor=1.5, jitter=False), [3, 5, 7, 11]),
        (RetryPolicy(backoff="linear", base_ms=70, cap_ms=200, jitter=False), [70, 140, 200, 200]),
        (RetryPolicy(backoff="constant", base_ms=70, jitter=False), [70, 70, 70, 70]),
        (RetryPolicy(backoff="constant", base_ms=70, cap_ms=50, jitter=False), [50, 50, 50, 50]),
        (RetryPolicy(base_ms=0), [0, 0, 0, 0]),
        (RetryPolicy(cap_ms=0), [0, 0, 0, 0]),
    ],
    ids=["default", "cap", "rounded up", "linear", "constant", "constant above cap", "no base", "no cap"],
)
def test_a_pause_is_what_its_formula_says(policy: RetryPolicy, pauses: list[int]) -> None:
    assert [backoff_ms(policy, job_id(1), failures) for failures in (1, 2, 3, 4)] == pauses


def test_a_pause_too_large_for_a_float_is_the_cap() -> None:
    assert backoff_ms(RetryPolicy(factor=1_000.0, jitter=False), job_id(1), 999) == 300_000


def test_no_pause_grows_to_no_pause() -> None:
    assert backoff_ms(RetryPolicy(base_ms=0, factor=1_000.0, jitter=False), job_id(1), 999) == 0


@given(st.sampled_from(BACKOFFS), st.integers(0, 10**9), st.floats(1, 1_000), st.integers(0, 10**9),
       st.integers(1, 1_000), st.integers(0, 10**6))  # fmt: skip
def test_jitter_stays_within_a_tenth(
    backoff: str, base_ms: int, factor: float, cap_ms: int, failures: int, number: int
) -> None:
    policy = RetryPolicy(backoff=backoff, base_ms=base_ms, factor=factor, cap_ms=cap_ms, jitter=False)
    exact = backoff_ms(policy, job_id(number), failures)
    spread = backoff_ms(RetryPolicy(1, backoff, base_ms, factor, cap_ms, True), job_id(number), failures)
    assert 0 <= exact <= cap_ms
    assert exact * 0.9 - 1 <= spread <= exact * 1.1 + 1


def test_the_same_failure_of_the_same_job_always_pauses_alike() -> None:
    policy = RetryPolicy(base_ms=100_000)
    pauses = [backoff_ms(policy, job_id(number), 1) for number in range(50)]
    assert pauses == [backoff_ms(policy, job_id(number), 1) for number in range(50)]
    # Not a herd: fifty jobs that failed together part.
    assert len(set(pauses)) > 25
    # A journal may hold what a formula gave, but a changed formula must be a decision and not an accident.
    assert pauses[:3] == [100_600, 102_800, 95_600]
