"""The promises about what is set and lapses: whose word holds, and that nothing goes before its time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from aioqueue.core import events as e
from aioqueue.core import homes, items
from aioqueue.core.named import Item, ItemKind
from aioqueue.core.state import State
from aioqueue.limits import TASK_OVERHEAD_BYTES, TASK_UNUSED_MS, TASKS_BYTES_MAX, TASKS_MAX


def check_items(state: State) -> list[str]:
    """What one state can break: each item that is no job stands where it lies, and will lapse if it is to."""
    there = [Item(ItemKind.SESSION, session.number) for session in state.sessions.values() if session.journaled]
    there += [Item(ItemKind.PART, (bulk.id, part.first)) for bulk in state.bulks.values() for part in bulk.parts]
    there += [Item(ItemKind.TASK, task.key) for task in state.registry]
    homes_of = {item: items.home_of(state, item) for item in there}
    named = state.homes.named()
    found = [
        f"I17: {item} has its home at {home}, and is not named there"
        for item, home in homes_of.items()
        if item not in named.get(homes.place_of(home), ())
    ]
    if sum(map(len, named.values())) != len(there) or list(named) != sorted(named) or not all(named.values()):
        found.append(f"I17: {sum(map(len, named.values()))} items are named at {list(named)}, there are {len(there)}")
    if there and min(homes_of.values()) < state.base:
        found.append(f"I17: the base is {state.base}, and an item has its home at {min(homes_of.values())}")
    return found + _check_tasks(state)


def _check_tasks(state: State) -> list[str]:
    tasks = list(state.registry)
    entries = set(state.lapses)
    found = [
        f"liveness: nothing will end task {task.name}"
        for task in tasks
        if (task.lapse_ms, 0, Item(ItemKind.TASK, task.key)) not in entries
    ]
    size = sum(TASK_OVERHEAD_BYTES + len(task.body) for task in tasks)
    if size != state.registry.size or size > TASKS_BYTES_MAX:
        found.append(f"I20: the registry has {size} bytes, counted as {state.registry.size}")
    found += [
        f"I20: namespace {namespace} has {count} tasks"
        for namespace, count in Counter(task.namespace for task in tasks).items()
        if count > TASKS_MAX
    ]
    return found


class Settings:
    """The registry of a journal as `History` sees it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._tasks: dict[tuple[str, str], e.TaskSet] = {}

    def task_set(self, event: e.TaskSet, wall_ms: int) -> None:
        key = event.namespace, event.name
        before = self._tasks.get(key)
        # Where the clock was set back, nobody can say who started later.
        if before is not None and event.started_ms < before.started_ms <= wall_ms:
            self._say(f"I2: what an older process declared of task {event.name} took the place of a newer one's")
        same = before is not None and before.digest == event.digest
        if same and before is not None and (event.body != before.body or event.used_ms < before.used_ms):
            self._say(f"I2: task {event.name} is written again with another record than it has")
        self._tasks[key] = event

    def lapsed(self, event: e.ItemsLapsed, wall_ms: int) -> None:
        for key in event.tasks:
            task = self._tasks.pop(key, None)
            if task is None:
                self._say(f"I2: task {key[1]} lapses, and is not there")
            elif wall_ms < task.used_ms + TASK_UNUSED_MS:
                self._say(f"I9: task {key[1]}, used at {task.used_ms}, lapses at {wall_ms}")
