"""Jobs that a running job submits: their ids are the same each time it runs, so a second run joins its children.

The id of a child is made of its parent's id, its task, lane and arguments, and of how often just that was submitted by
the run before. It does not depend on the order of different calls, nor on attempts and retries of the parent.
"""

from __future__ import annotations

from collections import Counter

from aioqueue.model.ids import child_id
from aioqueue.protocol.extras import Key, packed
from aioqueue.protocol.messages import Extra


class Family:
    """One run as a parent: `parent` is its job."""

    __slots__ = ("_made", "parent")

    def __init__(self, parent: bytes) -> None:
        self.parent: bytes = parent
        self._made: Counter[bytes] = Counter()

    def next_id(self, namespace: str, queue: str, task: str, body: bytes) -> bytes:
        """The id of the next child of this call."""
        first = child_id(namespace, queue, self.parent, (task, body, 1))
        self._made[first] += 1
        number = self._made[first]
        return first if number == 1 else child_id(namespace, queue, self.parent, (task, body, number))

    def extra(self, given: Extra | None, inherit: bool) -> Extra:
        """What travels with a child, beside what was given."""
        return {**(given or {}), **(packed({Key.PARENT: self.parent, Key.INHERIT: inherit}) or {})}
