from __future__ import annotations

import uuid

import pytest

from aioqueue.client.ids import JobIds
from aioqueue.clock import ManualClock
from aioqueue.model.ids import route_in, route_of


def test_no_two_ids_are_the_same_within_a_millisecond() -> None:
    ids = JobIds(ManualClock())
    assert len({ids.next("default", "mail") for _ in range(10_000)}) == 10_000


def test_ids_rise_in_the_order_of_their_submits() -> None:
    clock = ManualClock()
    ids = JobIds(clock, bytes)
    made = []
    for _ in range(5):
        made += [ids.next("default", "mail") for _ in range(3)]
        clock.advance(1)
    assert made == sorted(made)


def test_chance_is_asked_anew_when_the_clock_was_set_back() -> None:
    clock = ManualClock()
    answers = iter([bytes(8), b"\x01" * 8, b"\x02" * 8])
    ids = JobIds(clock, lambda size: next(answers))
    first = ids.next("default", "mail")
    clock.advance(1)
    ids.next("default", "mail")
    clock.jump(-1)
    assert ids.next("default", "mail") != first


def test_a_forked_process_does_not_repeat_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([bytes(8), b"\x01" * 8])
    ids = JobIds(ManualClock(), lambda size: next(answers))
    ids.next("default", "mail")
    low = ids._low
    monkeypatch.setattr("os.getpid", lambda: -1)
    ids.next("default", "mail")
    assert ids._low != low + 1


def test_counting_past_the_last_random_number_begins_at_0() -> None:
    ids = JobIds(ManualClock(), lambda size: b"\xff" * size)
    assert uuid.UUID(bytes=ids.next("default", "mail")).version == 7


def test_an_id_leads_to_its_queue() -> None:
    made = JobIds(ManualClock()).next("default", "mail")
    assert route_in(made) == route_of("default", "mail")
    assert uuid.UUID(bytes=made).version == 7
