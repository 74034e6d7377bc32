"""What a session offers to run: of which queues, which tasks, with which labels; and which of its slots a job takes.

All of it is of the session's connection and of this process only. A worker says what it knows before it says how many
runs it will hold (`DeclareOffer` before the first `OfferCapacity`); one that says nothing, as older ones do, takes
every task, and its slots are one class.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from aioqueue.core.nouns.job import Fit, Job


class SlotClass(IntEnum):
    """Which slots of a session a run takes: those that coroutines and threads share, or those of processes."""

    SHARED = 0
    PROCESS = 1


class TaskOffer:
    """The tasks that a worker knows, each with the slots that its runs take. Interned: see `task_offer`."""

    __slots__ = ("__weakref__", "_hash", "classes", "mixed", "pairs")

    def __init__(self, pairs: tuple[tuple[str, int], ...]) -> None:
        self.pairs = pairs
        self.classes: dict[str, int] = dict(pairs)
        # Whether any of them runs in a process.
        self.mixed = any(slot_class for _, slot_class in pairs)
        self._hash = hash(pairs)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, TaskOffer) and self.pairs == other.pairs)

    def __reduce__(self) -> Any:
        return task_offer, (self.pairs,)

    def __repr__(self) -> str:
        return f"TaskOffer({self.pairs!r})"


# A thousand workers of one release declare the same some hundred names: that is one object.
_INTERNED: Final[WeakValueDictionary[tuple[tuple[str, int], ...], TaskOffer]] = WeakValueDictionary()


def task_offer(pairs: Iterable[tuple[str, int]]) -> TaskOffer:
    """The one offer of these tasks, in whatever order they are named."""
    key = tuple(sorted(dict(pairs).items()))
    found = _INTERNED.get(key)
    if found is None:
        found = _INTERNED[key] = TaskOffer(key)
    return found


class Offer(NamedTuple):
    """What a session offers to run, however many slots it has. Sessions that offer the same share a `Pool`.

    Jobs of these `queues` of its namespace, or of all with `all_queues`, also of those that come to be later; of these
    `tasks` (None for every task) save those that were `shut` on this connection, for its code could not call them; and
    of those only the jobs whose labels are all among its own.
    """

    namespace: str
    queues: tuple[str, ...] = ()
    all_queues: bool = False
    tasks: TaskOffer | None = None
    labels: frozenset[str] = frozenset()
    shut: frozenset[str] = frozenset()

    @property
    def mixed(self) -> bool:
        """Whether its sessions have slots of two classes."""
        return self.tasks is not None and self.tasks.mixed

    @property
    def every(self) -> bool:
        """Whether it is of all queues of the namespace."""
        return self.all_queues and not self.queues

    @property
    def keys(self) -> list[tuple[str, str]]:
        """The queues that it names, as they are kept in `State.queues`."""
        return [(self.namespace, name) for name in self.queues]

    def serves(self, key: tuple[str, str]) -> bool:
        """Whether it is of this queue."""
        return key[0] == self.namespace and (key[1] in self.queues or self.every)

    def takes(self, fit: Fit) -> bool:
        """Whether it is of jobs with this fit."""
        return (
            (self.tasks is None or fit.task in self.tasks.classes)
            and fit.task not in self.shut
            and (not fit.labels or self.labels.issuperset(fit.labels))
        )

    def covers(self, job: Job) -> bool:
        """Whether the job is one of those."""
        return self.serves(job.spec.key) and self.takes(job.spec.fit)

    def class_of(self, fit: Fit) -> int:
        """Which slots a run of it takes."""
        return 0 if self.tasks is None else self.tasks.classes.get(fit.task, 0)


# Of a session that has said nothing yet.
NO_OFFER: Final = Offer("")
