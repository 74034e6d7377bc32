"""The items that are no jobs, one row for each kind: where its record lies, what it says now, and about how long it is.

A record is the whole item, so the event that writes it again is the one that first told of it, or its like. Whoever
cuts the log asks for the records of what lives in its oldest part (`broker.compaction`, `decide.journal`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from aioqueue.core import events as e
from aioqueue.core.named import Item, ItemKind
from aioqueue.core.nouns import Part, RegisteredTask
from aioqueue.core.state import State
from aioqueue.limits import ITEM_BYTES


class Keeping(NamedTuple):
    """How the items of a kind are kept, each asked by its key: `home` is 0 where there is no such item, and the other
    two are asked of one that is there.
    """

    home: Callable[[State, Any], int]
    record: Callable[[State, Any], e.JournaledEvent]
    size: Callable[[State, Any], int]


def home_of(state: State, item: Item) -> int:
    """Where the item's record lies; 0 where there is no such item."""
    return ITEMS[item.kind].home(state, item.key)


def record_of(state: State, item: Item) -> e.JournaledEvent:
    """The event that says all of the item as it is now."""
    return ITEMS[item.kind].record(state, item.key)


def item_bytes(state: State, item: Item) -> int:
    """About what that takes in the journal."""
    return ITEMS[item.kind].size(state, item.key)


# --- sessions ---


def _session_home(state: State, number: int) -> int:
    session = state.sessions.get(number)
    return 0 if session is None else session.home


def _session_record(state: State, number: int) -> e.SessionCarried:
    session = state.sessions[number]
    return e.SessionCarried(session.number, session.secret_hash, session.namespace, session.name)


# --- parts of bulks ---


def _part(state: State, key: tuple[bytes, int]) -> Part | None:
    bulk = state.bulks.get(key[0])
    return None if bulk is None else bulk.part_at(key[1])


def _part_home(state: State, key: tuple[bytes, int]) -> int:
    part = _part(state, key)
    return 0 if part is None else part.home


def _part_record(state: State, key: tuple[bytes, int]) -> e.BulkCarried:
    bulk, part = state.bulks[key[0]], _part(state, key)
    assert part is not None
    return e.BulkCarried(
        bulk.id, bulk.namespace, bulk.phase, bulk.staged, bulk.total, bulk.freed, bulk.closed_at, part.first, part.ids
    )


def _part_bytes(state: State, key: tuple[bytes, int]) -> int:
    part = _part(state, key)
    return ITEM_BYTES if part is None else ITEM_BYTES + len(part.ids)


# --- registered tasks ---


def _task_home(state: State, key: tuple[str, str]) -> int:
    task = state.registry.find(key)
    return 0 if task is None else task.home


def _task_record(state: State, key: tuple[str, str]) -> e.TaskSet:
    return task_record(state.registry.of(key[0])[key[1]])


def task_record(task: RegisteredTask, used_ms: int = 0) -> e.TaskSet:
    """The task's record, with what this process knows of its use by now; `used_ms` is what else is known of that."""
    return e.TaskSet(
        task.namespace, task.name, task.digest, task.body, max(task.started_ms, task.latest_ms),
        max(task.used_ms, task.seen_ms, used_ms),
    )  # fmt: skip


def _task_bytes(state: State, key: tuple[str, str]) -> int:
    task = state.registry.find(key)
    return ITEM_BYTES if task is None else ITEM_BYTES + len(task.body)


ITEMS: Final[dict[ItemKind, Keeping]] = {
    ItemKind.SESSION: Keeping(_session_home, _session_record, lambda state, key: ITEM_BYTES),
    ItemKind.PART: Keeping(_part_home, _part_record, _part_bytes),
    ItemKind.TASK: Keeping(_task_home, _task_record, _task_bytes),
}
