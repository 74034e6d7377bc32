"""Damaged records claim any size and any depth; reading them costs little more than their bytes."""

from __future__ import annotations

import tracemalloc

import pytest

from aioqueue.core.records import decode_events
from aioqueue.errors import JournalDamaged, JournalNewer
from aioqueue.limits import KIB

LYING_ARRAY = b"\xdd\x00\x7f\xff\xff"
MANY = 20_000


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xdd\xff\xff\xff\xff", id="a lying number of records"),
        pytest.param(LYING_ARRAY * 300, id="a tower of lying arrays"),
        pytest.param(b"\x92\x92\x7f\x01\x92\x7f" + LYING_ARRAY * 300, id="such a tower behind an unknown kind"),
        pytest.param(b"\x91\x9f\x01" + LYING_ARRAY * 200, id="such a tower in a known field"),
        pytest.param(b"\x91\xdf\xff\xff\xff\xff", id="a lying map"),
        pytest.param(b"\x91\xc9\xff\xff\xff\xff\x01", id="a lying extension"),
        pytest.param(b"\x91\xc6\xff\xff\xff\xff", id="lying bytes"),
        pytest.param(b"\x91" * MANY, id="a tower of arrays"),
        pytest.param(b"\x81\x01" * MANY, id="a tower of maps"),
        pytest.param(b"\xdd" + MANY.to_bytes(4, "big") + b"\x80" * MANY, id="very many empty maps"),
        pytest.param(b"\xdd" + MANY.to_bytes(4, "big") + b"\x90" * MANY, id="very many empty arrays"),
        pytest.param(b"\xdd" + MANY.to_bytes(4, "big") + b"\x92\x01\x01" * MANY, id="very many short records"),
    ],
)
def test_reading_damaged_records_costs_little_more_than_their_bytes(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((JournalDamaged, JournalNewer)):
            decode_events(data, "j.db")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(data) + 256 * KIB
