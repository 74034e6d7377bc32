"""`MODULE:TASK`: finding a task and the queue that declared it, from the current directory as Python would."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

from aioqueue.client.queue import Queue
from aioqueue.client.task import Task
from aioqueue.errors import AppNotFound, UnknownTask
from aioqueue.worker.loading import import_app


class LoadedTask(NamedTuple):
    """A task, and the queue of its module that declared it, if there is exactly one."""

    task: Task[..., Any]
    queue: Queue | None


def load_task(target: str) -> LoadedTask:
    """The task that `target` names. Raises `AppNotFound` for its module, `UnknownTask` for what is no task in it."""
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise AppNotFound(target=target, reason="it is not of the form MODULE:TASK, for example shop.jobs:send")
    module = import_app(target, module_name)
    task = vars(module).get(name)
    if not isinstance(task, Task):
        known = sorted(f"{module_name}:{key}" for key, value in vars(module).items() if isinstance(value, Task))
        raise UnknownTask(task=target, known=", ".join(known) or "none")
    return LoadedTask(task, _owner(module, task))


def _owner(module: ModuleType, task: Task[..., Any]) -> Queue | None:
    queues = {id(value): value for value in vars(module).values() if isinstance(value, Queue)}
    owners = [queue for queue in queues.values() if any(known.fn is task.fn for known in queue.tasks)]
    return owners[0] if len(owners) == 1 else None
