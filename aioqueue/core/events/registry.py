"""The registry of tasks: what workers declare is kept, and lapses when nobody declares it any more."""

from __future__ import annotations

from msgspec import Struct


class TaskSet(Struct, array_like=True, tag=47, gc=False, forbid_unknown_fields=True):
    """The whole record of a registered task: its first, another declaration in its place, or the same carried on.

    `body` is the description, and `digest` what it is known by. `started_ms` is when the process that declared it had
    started, `used_ms` when the task was known to be in use; both in milliseconds UTC.
    """

    namespace: str
    name: str
    digest: bytes
    body: bytes
    started_ms: int
    used_ms: int


class ItemsLapsed(Struct, array_like=True, tag=62, gc=False, forbid_unknown_fields=True):
    """The time of these items is over. Each kind of item that may lapse has a field: `tasks`, by namespace and name."""

    # A timer that dropped them without an event would take them from memory and leave them in the journal: a replay
    # has only the times of its batches, which may be earlier.

    tasks: tuple[tuple[str, str], ...] = ()


class TasksSeen(Struct, gc=False):
    """Not journaled: a process that had started at `started_ms` declared these as they are known."""

    namespace: str
    names: tuple[str, ...]
    started_ms: int
    seen_ms: int
