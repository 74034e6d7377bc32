"""Tables that must be total: whoever adds an event or a message finds here, by name, each row that is still missing.

An event without a row is a silent loss somewhere: at a start, in a rescue, or where nobody judges it. A message without
one is what nobody answers, or what anybody may say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from aioqueue.broker.peers import admin, asking, control, life, submitting, waiting, working
from aioqueue.broker.peers.dispatch import _DISPATCH
from aioqueue.client.session import Session as ClientSession
from aioqueue.client.task import TaskRegistry
from aioqueue.core import events as e
from aioqueue.core.apply import APPLY, bulks, jobs, journal, lanes, registry, runs, sessions
from aioqueue.core.invariants import History
from aioqueue.core.invariants.history import _JUDGE
from aioqueue.core.levels import LEVELS
from aioqueue.core.machine import NEXT_STATE
from aioqueue.core.partition import Partition
from aioqueue.core.salvage import _TAKE, Rescue
from aioqueue.core.unheard import PASSED_OVER
from aioqueue.ground import Ground
from aioqueue.model.rights import ANYBODY
from aioqueue.protocol import messages as m
from aioqueue.protocol.conversation import BROKER_SAYS, CLIENT_SAYS
from aioqueue.transport.address import TcpAddress
from aioqueue.transport.dialer import Dialer
from aioqueue.worker.offering import Offering
from aioqueue.worker.session import Session as WorkerSession


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
    "core/levels.py, LEVELS (which release reads it)": {kind for rows in LEVELS.values() for kind in rows} & {*EVENTS},
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
    rooms = (bulks, jobs, journal, lanes, registry, runs, sessions)
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
    assert records == {e.JobCarried, e.SessionCarried, e.BulkCarried, e.TaskSet}
    assert {record: e.RULES[record].carried for record in records} == {record: record for record in records}


def test_every_journaled_event_stands_in_the_reference() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "journal.md").read_text()
    assert [kind.__name__ for kind in EVENTS if f"| `{kind.__name__}` |" not in page] == []


# --- the wire ------------------------------------------------------------------------------------------------------

ASKED: tuple[type[Any], ...] = m.ClientMessage.__args__
TOLD: tuple[type[Any], ...] = m.BrokerMessage.__args__
# What a `Link` takes for itself; a Refusal of one request goes on to whoever asked.
_OF_THE_LINK = {m.Welcome, m.Ping, m.Pong, m.Closing}

ASKED_TABLES: dict[str, Collection[type[Any]]] = {
    "broker/peers, ROWS (its handler and its right)": _DISPATCH,
    "protocol/conversation.py, CLIENT_SAYS (when it may be said)": {
        kind for rows in CLIENT_SAYS.values() for kind in rows
    },
}  # fmt: skip


def told_tables() -> dict[str, Collection[type[Any]]]:
    """Who takes what the broker says; a session is made inside a running event loop."""
    dialer = Dialer([TcpAddress("127.0.0.1", 1)])
    client = ClientSession(dialer, ground=Ground(), namespace="default")
    worker = WorkerSession(
        dialer, ground=Ground(), namespace="default", name="", secret=bytes(16),
        offering=Offering(
            TaskRegistry(), slots=1, process_slots=0, queues=None, labels=(), named_queues=list, up_ms=int
        ),
    )  # fmt: skip
    return {
        "client/link.py, client/session.py or worker/session.py (its handler)": {
            *client._handlers, *worker._handlers, *_OF_THE_LINK,
        },
        "protocol/conversation.py, BROKER_SAYS (when it may be said)": {
            kind for rows in BROKER_SAYS.values() for kind in rows
        },
    }  # fmt: skip


class Doze(Struct, array_like=True, tag=127):
    """A message that nobody has written any row for."""


def test_every_message_to_the_broker_has_a_handler_a_right_and_its_time() -> None:
    assert forgotten(ASKED, ASKED_TABLES) == []


async def test_every_message_of_the_broker_has_a_handler_and_its_time() -> None:
    assert forgotten(TOLD, told_tables()) == []


async def test_a_forgotten_row_of_a_message_is_named() -> None:
    for tables in (ASKED_TABLES, told_tables()):
        assert forgotten((Doze,), tables) == [f"Doze: no row in {table}" for table in tables]


def test_no_message_is_handled_in_two_files() -> None:
    assert sum(len(room.ROWS) for room in (life, submitting, waiting, asking, admin, control, working)) == len(
        _DISPATCH
    )
    assert _DISPATCH.keys() == set(ASKED)


def test_only_what_keeps_a_connection_asks_for_no_right() -> None:
    without = {kind for kind, row in _DISPATCH.items() if row.right == ANYBODY}
    assert without == {m.Hello, m.Ping, m.Pong, m.Goodbye, m.Beat, m.WorkerDied}


def test_every_message_stands_in_the_reference() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "protocol.md").read_text()
    assert [kind.__name__ for kind in (*ASKED, *TOLD) if kind.__name__ not in page] == []
