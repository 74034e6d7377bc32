"""The tasks of which workers told the broker, by namespace and name. Changed by `apply` only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from aioqueue.core.nouns import RegisteredTask
from aioqueue.limits import TASK_OVERHEAD_BYTES

_NOTHING: Final[Mapping[str, RegisteredTask]] = MappingProxyType({})


def task_bytes(body: bytes) -> int:
    """About what a task with this description takes."""
    return TASK_OVERHEAD_BYTES + len(body)


class Registry:
    """All of them; `size` is about how many bytes they take."""

    __slots__ = ("_by_name", "size")

    def __init__(self) -> None:
        self.size = 0
        self._by_name: dict[str, dict[str, RegisteredTask]] = {}

    def of(self, namespace: str) -> Mapping[str, RegisteredTask]:
        """The tasks of a namespace, by name."""
        return self._by_name.get(namespace, _NOTHING)

    def find(self, key: tuple[str, str]) -> RegisteredTask | None:
        namespace, name = key
        return self.of(namespace).get(name)

    def put(self, task: RegisteredTask) -> None:
        """Add it, or let it take the place of the one of its name."""
        named = self._by_name.setdefault(task.namespace, {})
        before = named.get(task.name)
        self.size += task_bytes(task.body) - (0 if before is None else task_bytes(before.body))
        named[task.name] = task

    def remove(self, key: tuple[str, str]) -> None:
        namespace, name = key
        named = self._by_name[namespace]
        self.size -= task_bytes(named.pop(name).body)
        if not named:
            del self._by_name[namespace]

    def __iter__(self) -> Iterator[RegisteredTask]:
        return (task for named in self._by_name.values() for task in named.values())

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))
