"""Rates between two views of a broker."""

from __future__ import annotations

from aioqueue.monitor.rates import WINDOW_MS_MIN, Rates, Window, rates, window_ms
from tests.support.statistics import NOW_MS, queue, statistics


def test_a_rate_is_the_difference_over_the_time_between() -> None:
    before = statistics(queue(submitted=100, succeeded=90, failed=5), at_ms=NOW_MS)
    now = statistics(queue(submitted=300, succeeded=100, failed=5), at_ms=NOW_MS + 2_000)

    assert rates(now, before) == {("default", "mail"): Rates(100.0, 5.0, 0.0)}


def test_one_view_alone_has_no_rates() -> None:
    assert rates(statistics(queue(submitted=100)), None) == {}


def test_a_broker_that_was_started_again_gives_no_negative_rates() -> None:
    before = statistics(queue(submitted=100), started_ms=1, at_ms=NOW_MS)
    now = statistics(queue(submitted=3), started_ms=2, at_ms=NOW_MS + 1_000)

    assert rates(now, before) == {}


def test_a_clock_that_stood_still_or_went_back_divides_nothing() -> None:
    before = statistics(queue(submitted=100), at_ms=NOW_MS)

    assert rates(statistics(queue(submitted=101), at_ms=NOW_MS), before) == {}
    assert rates(statistics(queue(submitted=101), at_ms=NOW_MS - 5), before) == {}


def test_a_queue_that_is_new_counts_from_zero() -> None:
    before = statistics(at_ms=NOW_MS)
    now = statistics(queue(submitted=4, succeeded=2), at_ms=NOW_MS + 2_000)

    assert rates(now, before) == {("default", "mail"): Rates(2.0, 1.0, 0.0)}


def test_views_a_moment_apart_give_no_rate_and_the_window_is_told() -> None:
    window = Window()
    assert (window.latest, window.before) == (None, None)
    views = [statistics(at_ms=NOW_MS + ms) for ms in (0, 30, 1_030, 2_030, 2_090)]
    before = []
    for view in views:
        window.take(view)
        before.append(window.before)

    assert window.latest is views[-1]
    assert before == [None, None, views[1], views[2], views[2]]
    assert [window_ms(view, other) for view, other in zip(views, before, strict=True)] == [0, 0, 1_000, 1_000, 1_060]
    assert WINDOW_MS_MIN <= 1_000


def test_a_broker_that_was_started_again_and_a_clock_that_was_set_back_begin_a_new_window() -> None:
    window = Window()
    for view in (
        statistics(at_ms=NOW_MS),
        statistics(at_ms=NOW_MS + 1_000, started_ms=NOW_MS + 500),
        statistics(at_ms=NOW_MS - 9_000, started_ms=NOW_MS + 500),
    ):
        window.take(view)
        assert window.before is None
