"""A few failed handshakes are told in full, and the rest of a minute in one line."""

from __future__ import annotations

import pytest

from aioqueue.broker import complaints as complaints_module
from aioqueue.broker.complaints import PERIOD_MS, TOLD_IN_FULL, Complaints
from aioqueue.clock import ManualClock
from aioqueue.ground import Ground


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def complaints(clock: ManualClock) -> Complaints:
    return Complaints(Ground(clock))


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_each_kind_is_told_in_full_a_few_times(complaints: Complaints, caplog: pytest.LogCaptureFixture) -> None:
    for kind in ("frame_too_long", "peer_misbehaved"):
        for number in range(TOLD_IN_FULL + 3):
            complaints.add(kind, f"tcp://10.0.0.7:{number}", "it is wrong")
    assert len(lines(caplog)) == 2 * TOLD_IN_FULL
    assert lines(caplog)[0] == "tcp://10.0.0.7:0: it is wrong"


def test_the_rest_of_a_minute_is_one_line_with_counts_and_addresses(
    complaints: Complaints, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(TOLD_IN_FULL + 1_200):
        complaints.add("frame_too_long", f"tcp://10.0.0.{number % 2}:{number}", "it is wrong")
    complaints.look()
    caplog.clear()
    clock.advance(PERIOD_MS)
    for _ in range(3):
        complaints.look()
    [line] = lines(caplog)
    assert line.startswith("1200 more connections failed within 60 s before they were welcome: frame_too_long (1,200);")
    assert line.endswith("most of them from tcp://10.0.0.1 (600), tcp://10.0.0.0 (600)")
    complaints.add("frame_too_long", "tcp://10.0.0.7:1", "it is wrong")
    assert lines(caplog)[1:] == ["tcp://10.0.0.7:1: it is wrong"]


def test_a_quiet_minute_says_nothing(
    complaints: Complaints, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.advance(10 * PERIOD_MS)
    complaints.look()
    assert lines(caplog) == []


def test_addresses_that_somebody_invents_take_no_more_memory(
    complaints: Complaints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complaints_module, "ADDRESSES_MAX", 10)
    for number in range(1_000):
        complaints.add("peer_misbehaved", f"tcp://[fe80::{number:x}]:1", "it is wrong")
    assert len(complaints._addresses) == 10
    assert complaints._untold.total() == 1_000 - TOLD_IN_FULL
