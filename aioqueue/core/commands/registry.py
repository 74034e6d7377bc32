"""What is asked of the registry: that it know what a worker declares."""

from __future__ import annotations

from msgspec import Struct


class DeclareTasks(Struct, gc=False):
    """A worker says which tasks it knows, and the digest of what each declares; an empty digest has no description.

    `up_ms` is how long its process has run. Answered by the indices of those whose descriptions are wanted.
    """

    namespace: str
    tasks: list[tuple[str, bytes]]
    up_ms: int


class DescribedTask(Struct, gc=False):
    """The description of a task, and its digest."""

    name: str
    digest: bytes
    body: bytes


class SetTasks(Struct, gc=False):
    """The descriptions that were wanted. Answered by how many of them there was no room for."""

    namespace: str
    tasks: list[DescribedTask]
    up_ms: int
