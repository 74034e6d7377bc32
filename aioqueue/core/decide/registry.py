"""What a worker declares of its tasks: what of it is news, and what lapses because nobody declares it any more.

What is known already makes no event, so a thousand workers that come back write nothing. Of two declarations that
differ, that of the process which started later holds, in whatever order the two come: a worker of the release before,
which reconnects during a deploy, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.decision import BodyArea, Decision
from aioqueue.core.items import task_record
from aioqueue.core.nouns import RegisteredTask
from aioqueue.core.registry import task_bytes
from aioqueue.core.state import State
from aioqueue.limits import LAPSED_MAX, TASK_UNUSED_MS, TASKS_BYTES_MAX, TASKS_MAX


def declare_tasks(state: State, command: c.DeclareTasks, now: Now, bodies: BodyArea) -> Decision:
    known = state.registry.of(command.namespace)
    started_ms = _started(command.up_ms, now)
    same = tuple(name for name, digest in command.tasks if name in known and known[name].digest == digest)
    wanted = [
        index
        for index, (name, digest) in enumerate(command.tasks)
        if digest and _is_news(known.get(name), digest, started_ms, now)
    ]
    if len(known) >= TASKS_MAX or state.registry.size >= TASKS_BYTES_MAX:
        wanted = [index for index in wanted if command.tasks[index][0] in known]
    seen: Iterable[e.Event] = [e.TasksSeen(command.namespace, same, started_ms, now.wall_ms)] if same else []
    return Decision([(event, None) for event in seen], wanted)


def set_tasks(state: State, command: c.SetTasks, now: Now, bodies: BodyArea) -> Decision:
    known = state.registry.of(command.namespace)
    started_ms = _started(command.up_ms, now)
    events: list[tuple[e.Event, bytes | None]] = []
    room, room_bytes = TASKS_MAX - len(known), TASKS_BYTES_MAX - state.registry.size
    left_out = 0
    # Of two with one name the later counts.
    for task in {each.name: each for each in command.tasks}.values():
        before = known.get(task.name)
        if not _is_news(before, task.digest, started_ms, now):
            continue
        more_bytes = task_bytes(task.body) - (0 if before is None else task_bytes(before.body))
        if (before is None and room <= 0) or more_bytes > room_bytes:
            left_out += 1
            continue
        room -= before is None
        room_bytes -= more_bytes
        bodies.records += len(task.body)
        events.append(
            (e.TaskSet(command.namespace, task.name, task.digest, task.body, started_ms, now.wall_ms), None)
        )  # fmt: skip
    return Decision(events, left_out)


def _started(up_ms: int, now: Now) -> int:
    """When a process had started, by this clock."""
    return max(0, now.wall_ms - up_ms)


def _is_news(known: RegisteredTask | None, digest: bytes, started_ms: int, now: Now) -> bool:
    """Whether a process that declares this has a say; where the clock was set back, whoever comes last has."""
    if known is None:
        return True
    return digest != known.digest and started_ms >= min(known.latest_ms, now.wall_ms)


def decide_lapsed(state: State, now: Now, room_bytes: int) -> list[e.Event]:
    """The next of the items whose time is over by the journal.

    A task that was declared to this process of the broker not long ago, or by a worker that is still there, has its
    time written anew: as many as `room_bytes` holds, but one at least. The others lapse. Nothing where none is due.
    """
    events: list[e.Event] = []
    lapsed: list[tuple[str, str]] = []
    due = [item.key for _, _, item in state.lapses.due(now.wall_ms, LAPSED_MAX)]
    # Looked at where something is due, and that is seldom.
    offers = {session.link.offer for session in state.sessions.values() if session.link.connected} if due else set()
    for namespace, name in due:
        task = state.registry.of(namespace)[name]
        held = any(offer.namespace == namespace and offer.tasks and name in offer.tasks.classes for offer in offers)
        if not held and task.seen_ms + TASK_UNUSED_MS <= now.wall_ms:
            lapsed.append(task.key)
        elif room_bytes > 0:
            events.append(task_record(task, now.wall_ms if held else 0))
            room_bytes -= len(task.body)
    return [*events, e.ItemsLapsed(tuple(lapsed))] if lapsed else events
