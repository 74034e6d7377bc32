"""More planted bugs, in the registry of tasks: whose declaration holds, what lapses, and how the log keeps it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from aioqueue.clock import Now
from aioqueue.core import apply, decide, items, partition
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.decide import registry as deciding
from aioqueue.core.homes import Homes
from aioqueue.core.named import Item, ItemKind
from aioqueue.core.nouns import RegisteredTask
from aioqueue.core.nouns import task as task_noun
from aioqueue.core.state import State
from tests.simulator.planted import bug
from tests.simulator.planted_log import BUGS

# All that are planted, those of `planted`, of `planted_log` and these.
__all__ = ["BUGS"]


@bug("I17", 100_001)
def what_lapses_is_dropped_in_memory_and_stays_in_the_journal(patch: pytest.MonkeyPatch) -> None:
    def drop(state: State, now: Now, room_bytes: int) -> list[e.Event]:
        for _, _, item in state.lapses.due(now.wall_ms, 100):
            task = state.registry.of(item.key[0])[item.key[1]]
            if task.seen_ms + task_noun.TASK_UNUSED_MS <= now.wall_ms:
                state.registry.remove(item.key)
                state.homes.leave(item, task.home)
                state.lapses.moved_on()
        return []

    patch.setattr(partition, "decide_lapsed", drop)


@bug("I2", 100_001)
def the_declaration_of_an_older_process_wins(patch: pytest.MonkeyPatch) -> None:
    def is_news(known: RegisteredTask | None, digest: bytes, started_ms: int, now: Now) -> bool:
        return known is None or known.digest != digest

    patch.setattr(deciding, "_is_news", is_news)


@bug("I2", 100_001)
def a_task_that_is_carried_forgets_who_declared_it(patch: pytest.MonkeyPatch) -> None:
    real = items.ITEMS[ItemKind.TASK]

    def record(state: State, key: Any) -> e.JournaledEvent:
        told: Any = real.record(state, key)
        return replace(told, started_ms=0)  # type: ignore[no-any-return]

    patch.setitem(items.ITEMS, ItemKind.TASK, real._replace(record=record))


@bug("I17", 100_001)
def tasks_have_no_home(patch: pytest.MonkeyPatch) -> None:
    real = Homes.settle

    def settle(self: Homes, item: Item, home: int) -> None:
        if item.kind is not ItemKind.TASK:
            real(self, item, home)

    patch.setattr(Homes, "settle", settle)
    leave = Homes.leave

    def left(self: Homes, item: Item, home: int) -> None:
        if item.kind is not ItemKind.TASK:
            leave(self, item, home)

    patch.setattr(Homes, "leave", left)


@bug("I17", 100_265)
def a_task_that_is_over_before_the_base_must_be_known_when_it_lapses(patch: pytest.MonkeyPatch) -> None:
    real = apply.APPLY[e.ItemsLapsed]

    def lapsed(state: State, event: e.ItemsLapsed, body: bytes | None, at: apply.Moment) -> None:
        was, state.partial = state.partial, False
        try:
            real(state, event, body, at)
        finally:
            state.partial = was

    patch.setitem(apply.APPLY, e.ItemsLapsed, lapsed)


@bug("I20", 100_001)
def the_registry_takes_whatever_is_declared(patch: pytest.MonkeyPatch) -> None:
    real = deciding.set_tasks

    def unbounded(*given: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(deciding, "TASKS_MAX", 1_000)
            return real(*given)

    patch.setitem(decide._DECIDE, c.SetTasks, unbounded)


@bug("I9", 100_001)
def a_task_lapses_as_soon_as_its_time_is_looked_at(patch: pytest.MonkeyPatch) -> None:
    def lapse_all(state: State, now: Now, room_bytes: int) -> list[e.Event]:
        keys = tuple(task.key for task in state.registry)
        return [e.ItemsLapsed(keys)] if keys else []

    patch.setattr(partition, "decide_lapsed", lapse_all)
