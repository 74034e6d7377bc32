"""From what a watchdog saw to what a beat tells."""

from __future__ import annotations

import pytest

from aioqueue.limits import DEAF_NAMED_MAX
from aioqueue.model.views import Block
from aioqueue.protocol.messages import Beat
from aioqueue.worker.pulse import SILENT_MS, SILENT_PLACE, Pulse, Vitals

NS_A_MS = 1_000_000
NOW_NS = 1_000_000_000_000
BLOCK = Block(b"j" * 16, "shop.send", "shop.py:7 in send", 1_200)


@pytest.fixture
def vitals(monkeypatch: pytest.MonkeyPatch) -> Vitals:
    return Vitals(lambda: NOW_NS)


def test_before_the_first_pulse_a_beat_says_only_that_the_worker_lives(vitals: Vitals) -> None:
    assert vitals.beat(NOW_NS + 10 * SILENT_MS * NS_A_MS) == Beat()


def test_a_beat_tells_the_worst_lag_since_the_beat_before(vitals: Vitals) -> None:
    for lag_ms in (3, 40, 5):
        vitals.feel(Pulse(lag_ms))
    assert vitals.beat(NOW_NS) == Beat(40)
    assert vitals.beat(NOW_NS) == Beat(5)


def test_a_beat_tells_which_runs_heed_nothing_and_goes_on_with_it_when_the_worker_has_stopped(
    vitals: Vitals,
) -> None:
    jobs = [bytes([number]) * 16 for number in range(DEAF_NAMED_MAX + 1)]
    vitals.feel(Pulse(3, None, 2, jobs[:2]))
    assert vitals.beat(NOW_NS) == Beat(3, None, 2, jobs[:2])
    vitals.rest(jobs)
    assert vitals.beat(NOW_NS + 10 * SILENT_MS * NS_A_MS) == Beat(deaf=101, deaf_jobs=jobs[:100])


def test_the_beginning_and_the_end_of_a_block_are_news_and_nothing_else_is(vitals: Vitals) -> None:
    felt = [Pulse(0), Pulse(1_200, BLOCK), Pulse(1_400, BLOCK), Pulse(9), Pulse(1)]
    assert [vitals.feel(pulse) for pulse in felt] == [False, True, False, True, False]


def test_a_worker_whose_pulses_stop_is_told_as_standing_still_for_as_long(vitals: Vitals) -> None:
    vitals.feel(Pulse(2))
    assert vitals.beat(NOW_NS + SILENT_MS * NS_A_MS // 2) == Beat(2)
    beat = vitals.beat(NOW_NS + 10 * SILENT_MS * NS_A_MS)
    assert beat.blocked is not None
    assert (beat.blocked.job, beat.blocked.task, beat.blocked.place) == (b"", "", SILENT_PLACE)
    assert beat.blocked.for_ms >= 10 * SILENT_MS
    assert beat.lag_ms == beat.blocked.for_ms


def test_a_block_that_was_seen_keeps_its_place_when_the_pulses_stop(vitals: Vitals) -> None:
    vitals.feel(Pulse(1_200, BLOCK))
    beat = vitals.beat(NOW_NS + 2 * SILENT_MS * NS_A_MS)
    assert beat.blocked is not None
    assert (beat.blocked.job, beat.blocked.place) == (BLOCK.job, BLOCK.place)
    assert beat.blocked.for_ms >= BLOCK.for_ms + 2 * SILENT_MS
