"""Limits that only make sense together."""

from __future__ import annotations

from aioqueue import limits


def test_every_limit_is_a_positive_number() -> None:
    values = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert len(values) > 30
    assert [name for name, value in values.items() if not isinstance(value, int | float) or value <= 0] == []


def test_the_largest_job_fits_into_a_frame() -> None:
    job = limits.BODY_BYTES_MAX + limits.HEADERS_BYTES_MAX + limits.SPEC_BYTES_MAX + limits.OWN_ID_CHARACTERS_MAX * 4
    assert job + limits.KIB < limits.FRAME_BYTES_MAX


def test_the_largest_atomic_submit_fits_into_a_frame_and_a_batch() -> None:
    assert limits.ATOMIC_BYTES_MAX < limits.FRAME_BYTES_MAX
    # A batch holds the bodies, and one record of less than 300 bytes for each job.
    assert limits.ATOMIC_BYTES_MAX + limits.ATOMIC_JOBS_MAX * 300 < limits.BATCH_BYTES_MAX


def test_a_stranger_gets_less_than_a_friend() -> None:
    assert limits.STRANGER_FRAME_BYTES_MAX < limits.FRAME_BYTES_TARGET < limits.FRAME_BYTES_MAX


def test_the_shortest_session_still_holds_its_heartbeats() -> None:
    assert limits.SESSION_TTL_MS_MIN // limits.HEARTBEATS_A_TTL >= 50
    assert limits.SESSION_TTL_MS_MIN <= limits.SESSION_TTL_MS


def test_a_resend_ends_long_before_what_it_is_compared_with_is_forgotten() -> None:
    assert limits.RESEND_SECONDS * 1_000 < limits.TOMBSTONE_MS
    assert limits.RESEND_SECONDS * 1_000 < limits.KEEP_SUCCEEDED_MS
    assert limits.RESEND_SECONDS * 1_000 <= limits.OWN_ID_FREED_MS < limits.TOMBSTONE_MS
