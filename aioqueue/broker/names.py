"""The names that workers declare: queues that they serve, tasks that they know.

Anybody may invent names, and each takes memory for as long as a session offers it. Here they are counted, and a list is
held once for all sessions that declare the same, as the thousand workers of a release do. Beyond the bound a session
that declares more is refused (`TooManyNames`). Called by `peers` when something is declared, and by `seats` when a
session is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar

from aioqueue.errors import TooManyNames
from aioqueue.limits import NAMES_BYTES_MAX

# What a name takes beside its characters: a queue has lines and counts of its own, a task an entry in a dictionary.
QUEUE_BYTES: Final = 2_048
TASK_BYTES: Final = 256

N = TypeVar("N", str, tuple[str, int])


class _Key(NamedTuple):
    """A list of names of one kind, which is known by what each of them takes."""

    each_bytes: int
    names: tuple[Any, ...]

    @property
    def size(self) -> int:
        return sum(self.each_bytes + len(name if isinstance(name, str) else name[0]) for name in self.names)


class _Held:
    """A list, and how many sessions have declared it."""

    __slots__ = ("key", "users")

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.users = 0


class Names:
    """Those of all sessions of one broker; `size` is about how many bytes they take."""

    def __init__(self) -> None:
        self.size = 0
        self._lists: dict[_Key, _Held] = {}
        # By session: its queues and its tasks.
        self._of: dict[int, dict[int, _Held]] = {}

    def hold(self, session: int, names: Sequence[N], each_bytes: int) -> tuple[N, ...]:
        """The session has declared these, in place of what it declared before of the kind that takes `each_bytes`.

        Gives the same names, as the one object that is held of them. Raises `TooManyNames`, and then it is as if it had
        not.
        """
        key = _Key(each_bytes, tuple(names))
        held = self._lists.get(key)
        if held is None:
            size = self.size + key.size
            if size > NAMES_BYTES_MAX:
                raise TooManyNames(size=size, limit=NAMES_BYTES_MAX)
            self.size = size
            held = self._lists[key] = _Held(key)
        declared = self._of.setdefault(session, {})
        before = declared.get(each_bytes)
        declared[each_bytes] = held
        held.users += 1
        if before is not None:
            self._let_go(before)
        return held.key.names

    def forget(self, session: int) -> None:
        """The session is over."""
        for held in self._of.pop(session, {}).values():
            self._let_go(held)

    def _let_go(self, held: _Held) -> None:
        held.users -= 1
        if not held.users:
            del self._lists[held.key]
            self.size -= held.key.size
