"""The registry of tasks, and what lapses. A record is the whole item, so applying it is putting it in its place."""

from __future__ import annotations

from typing import Final

from aioqueue.core import events as e
from aioqueue.core.apply.moment import Moment, Rows
from aioqueue.core.machine import IllegalChange
from aioqueue.core.named import Item, ItemKind
from aioqueue.core.nouns import RegisteredTask
from aioqueue.core.state import State


def task_set(state: State, event: e.TaskSet, body: bytes | None, at: Moment) -> None:
    key = event.namespace, event.name
    latest_ms, seen_ms = event.started_ms, event.used_ms
    before = state.registry.find(key)
    if before is not None:
        if before.digest == event.digest:
            latest_ms, seen_ms = max(latest_ms, before.latest_ms), max(seen_ms, before.seen_ms)
        state.homes.leave(Item(ItemKind.TASK, key), before.home)
    task = RegisteredTask(
        event.namespace, event.name, event.digest, event.body, event.started_ms, event.used_ms, at.position,
        latest_ms, seen_ms,
    )  # fmt: skip
    state.registry.put(task)
    state.homes.settle(Item(ItemKind.TASK, key), at.position)
    if before is None or before.lapse_ms != task.lapse_ms:
        state.lapses.add(task.lapse_ms, 0, Item(ItemKind.TASK, key))
        if before is not None:
            state.lapses.moved_on()


def items_lapsed(state: State, event: e.ItemsLapsed, body: bytes | None, at: Moment) -> None:
    for key in event.tasks:
        task = state.registry.find(key)
        if task is None:
            if state.partial:
                # It was set before the base, and is over by its head.
                continue
            raise IllegalChange(f"task {key[1]} of namespace {key[0]} lapses, and is not known")
        state.registry.remove(key)
        state.homes.leave(Item(ItemKind.TASK, key), task.home)
        state.lapses.moved_on()


def tasks_seen(state: State, event: e.TasksSeen, body: bytes | None, at: Moment) -> None:
    for name in event.names:
        task = state.registry.find((event.namespace, name))
        if task is not None:
            task.latest_ms = max(task.latest_ms, event.started_ms)
            task.seen_ms = max(task.seen_ms, event.seen_ms)


ROWS: Final[Rows] = {
    e.TaskSet: task_set,
    e.ItemsLapsed: items_lapsed,
    e.TasksSeen: tasks_seen,
}
