"""Tables that must be total: whoever adds an event finds here, by name, each row that is still missing.

An event without a row is a silent loss somewhere: at a start, in a rescue, or where nobody judges it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from aioqueue.core import events as e
from aioqueue.core.apply import APPLY
from aioqueue.core.invariants import History
from aioqueue.core.invariants.history import _JUDGE
from aioqueue.core.machine import NEXT_STATE, NO_CHANGE
from aioqueue.core.partition import Partition
from aioqueue.core.salvage import _TAKE, Rescue
from aioqueue.core.unheard import PASSED_OVER


def forgotten(kinds: Iterable[type[Any]], tables: dict[str, Collection[type[Any]]]) -> list[str]:
    """The rows that are missing."""
    return [
        f"{kind.__name__}: no row in {table}" for kind in kinds for table, rows in tables.items() if kind not in rows
    ]


# --- the journal ---------------------------------------------------------------------------------------------------

EVENTS: tuple[type[e.JournaledEvent], ...] = e.JournaledEvent.__args__

EVENT_TABLES: dict[str, Collection[type[Any]]] = {
    "core/apply, APPLY (what it makes so)": APPLY,
    "core/machine.py, NEXT_STATE or NO_CHANGE (what it makes of a job)": {kind for _, kind in NEXT_STATE} | NO_CHANGE,
    "core/unheard.py, PASSED_OVER (replay from a base)": PASSED_OVER,
    "core/salvage.py, _TAKE (behind a gap)": _TAKE,
    "core/invariants/history.py, _JUDGE (the judges of a history)": _JUDGE,
    "core/events, CARRIED_BY (what a carried record tells of it)": e.CARRIED_BY,
}


class JobDozed(Struct, array_like=True, tag=99, gc=False):
    """An event that nobody has written any row for."""

    id: bytes
    body_offset: int = 0


def test_every_journaled_event_has_a_row_in_every_table() -> None:
    assert forgotten(EVENTS, EVENT_TABLES) == []


def test_a_forgotten_row_is_named() -> None:
    missing = forgotten((*EVENTS, JobDozed), EVENT_TABLES)
    assert missing == [f"JobDozed: no row in {table}" for table in EVENT_TABLES]
    for table, rows in EVENT_TABLES.items():
        without = {kind for kind in rows if kind is not e.JobDue}
        assert forgotten(EVENTS, EVENT_TABLES | {table: without}) == [f"JobDue: no row in {table}"]


def test_what_runs_without_a_row_fails_by_its_name_and_passes_nothing_by() -> None:
    event: Any = JobDozed(b"i" * 16)
    from_base = Partition()
    from_base.start_at(2)
    for without_row in (
        lambda: Partition().replay([event], b"", 1, 0),
        lambda: from_base.replay([event], b"", 2, 0),
        lambda: Rescue(Partition()).take([event], b"", 0),
        lambda: History().observe([event], 0, 1),
    ):
        with pytest.raises(KeyError, match="JobDozed"):
            without_row()


def test_no_table_has_a_row_of_what_is_not_journaled() -> None:
    for table, rows in EVENT_TABLES.items():
        others = set(rows) - set(EVENTS) - (e.NOT_JOURNALED if rows is APPLY else frozenset())
        assert not others, table


def test_an_event_is_about_the_state_of_a_job_or_not() -> None:
    assert not {kind for _, kind in NEXT_STATE} & NO_CHANGE


def test_whatever_refers_to_a_body_is_replayed_with_it() -> None:
    assert set(e.WITH_BODY) == {kind for kind in EVENTS if "body_offset" in kind.__struct_fields__}


def test_a_carried_record_is_carried_by_its_like() -> None:
    records = {record for record in e.CARRIED_BY.values() if record is not None}
    assert records == {e.JobCarried, e.SessionCarried, e.BulkCarried}
    assert {record: e.CARRIED_BY[record] for record in records} == {record: record for record in records}


def test_every_journaled_event_stands_in_the_reference() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "journal.md").read_text()
    assert [kind.__name__ for kind in EVENTS if f"| `{kind.__name__}` |" not in page] == []
