"""What a worker can run, as its broker is told: its tasks, its labels, its slots, and the queues it takes jobs from.

A broker with the capability CONTROL gives it no other jobs. An older one hears of slots and the names of queues, and
gives it any job of those. Asked by the worker's session, over each connection anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from aioqueue.client.described import describe
from aioqueue.client.task import Task, TaskRegistry
from aioqueue.errors import BadOption, PayloadTooLarge
from aioqueue.limits import FRAME_BYTES_TARGET, TASKS_A_WORKER_MAX
from aioqueue.protocol.messages import Capability, Capacity, Declare, DeclaredTask, SlotClass, TaskBody

_log = logging.getLogger(__name__)


class Offering:
    """`queues` None means all of them; `named_queues` are what an older broker is told then.

    `up_ms` says how long the program has run: of two that declare a task in two ways, the later one knows better.
    Raises `BadOption` where the app has more tasks than can be declared.
    """

    def __init__(
        self,
        registry: TaskRegistry,
        *,
        slots: int,
        process_slots: int,
        queues: Sequence[str] | None,
        labels: Sequence[str],
        named_queues: Callable[[], Sequence[str]],
        up_ms: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._slots = slots
        self._process_slots = process_slots
        self._queues = queues
        self._labels = list(labels)
        self._named_queues = named_queues
        self._up_ms = up_ms
        # What was declared last, in its order.
        self._described: list[TaskBody] = []
        _check_count(registry)

    @property
    def slots(self) -> int:
        """How many runs it takes of tasks that need no process of their own; 0 when it stops."""
        return self._slots

    @property
    def process_slots(self) -> int:
        """How many runs it takes beside them; 0 where no task has them."""
        return self._process_slots if any(task.executor == "process" for task in self._registry) else 0

    def drain(self) -> None:
        """Offer nothing any more."""
        self._slots = self._process_slots = 0

    def declaration(self, request: int) -> Declare:
        """All that stays as it is while the connection stands."""
        tasks: list[DeclaredTask] = []
        self._described = []
        for task in self._registry:
            digest, body = _description(task)
            slots = SlotClass.PROCESS if task.executor == "process" else SlotClass.SHARED
            tasks.append(DeclaredTask(task.name, digest, slots))
            self._described.append(TaskBody(task.name, body))
        return Declare(request, self._up_ms(), tasks, self._labels, self._queues is None)

    def descriptions(self, wanted: Iterable[int]) -> Iterator[list[TaskBody]]:
        """What the broker wants to know of what was declared last, in parts that a frame has room for."""
        part: list[TaskBody] = []
        room = FRAME_BYTES_TARGET
        for index in wanted:
            if index < len(self._described) and (told := self._described[index]).body:
                if part and len(told.body) > room:
                    yield part
                    part, room = [], FRAME_BYTES_TARGET
                part.append(told)
                room -= len(told.body)
        if part:
            yield part

    def capacity(self, capabilities: Capability) -> Capacity:
        """How much it takes, in the words that a broker with these capabilities understands."""
        if not capabilities & Capability.CONTROL:
            return Capacity(self._slots, list(self._named_queues() if self._queues is None else self._queues))
        return Capacity(self._slots, list(self._queues or ()), 0, self.process_slots)


def _description(task: Task[..., Any]) -> tuple[bytes, bytes]:
    """Digest and body; nothing for one that is too large to be told, whose jobs it can run all the same."""
    try:
        return describe(task)
    except PayloadTooLarge as error:
        _log.warning("task %s can be submitted by its name without its options only: %s", task.name, error)
        return b"", b""


def _check_count(registry: TaskRegistry) -> None:
    count = sum(1 for _ in registry)
    if count > TASKS_A_WORKER_MAX:
        reason = f"a worker declares at most {TASKS_A_WORKER_MAX}; divide them among several apps"
        raise BadOption(option="tasks", value=count, reason=reason)
