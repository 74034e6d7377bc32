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
from aioqueue.core.apply import APPLY, bulks, jobs, journal, runs, sessions
from aioqueue.core.invariants import History
from aioqueue.core.invariants.history import _JUDGE
from aioqueue.core.machine import NEXT_STATE
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
    "core/machine.py, NEXT_STATE, and moves no job by its rule": {kind for _, kind in NEXT_STATE}
    | {kind for kind, rules in e.RULES.items() if not rules.moves},
    "core/events, RULES (a base, a gap, what carries it on)": e.RULES,
    "core/unheard.py, PASSED_OVER (made of RULES)": PASSED_OVER,
    "core/salvage.py, _TAKE (made of RULES)": _TAKE,
    "core/invariants/history.py, _JUDGE (the judges of a history)": _JUDGE,
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


def test_no_event_is_applied_by_two_files() -> None:
    rooms = (bulks, jobs, journal, runs, sessions)
    assert sum(len(room.ROWS) for room in rooms) == len(APPLY)


def test_an_event_moves_a_job_by_its_rule_and_by_the_table_of_states_or_by_neither() -> None:
    assert {kind for _, kind in NEXT_STATE} == {kind for kind, rules in e.RULES.items() if rules.moves}


def test_an_event_has_the_name_that_its_number_was_given() -> None:
    tags = {kind.__struct_config__.tag: kind.__name__ for kind in EVENTS}
    assert {tag: name for tag, name in tags.items() if e.SPOKEN_FOR.get(tag, name) != name} == {}
    assert e.RESERVED_KINDS.keys() == e.SPOKEN_FOR.keys() - tags.keys()


def test_whatever_refers_to_a_body_is_replayed_with_it() -> None:
    assert set(e.WITH_BODY) == {kind for kind in EVENTS if "body_offset" in kind.__struct_fields__}


def test_a_carried_record_is_carried_by_its_like() -> None:
    records = {rules.carried for rules in e.RULES.values() if rules.carried is not None}
    assert records == {e.JobCarried, e.SessionCarried, e.BulkCarried}
    assert {record: e.RULES[record].carried for record in records} == {record: record for record in records}


def test_every_journaled_event_stands_in_the_reference() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "journal.md").read_text()
    assert [kind.__name__ for kind in EVENTS if f"| `{kind.__name__}` |" not in page] == []
