"""What a replay that began at a base passes over: events of items that it has not heard of.

They are over by the base's head, or are carried further on. When the record of that base is met, everything is known,
and nothing is passed over any more. Each event that is journaled has its rule in one table (`events.RULES`), so that
none is taken for known, or lost, because nobody thought of it. Only `Partition.replay` asks, and only until then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aioqueue.core import events as e
from aioqueue.core.apply import known_session
from aioqueue.core.machine import IllegalChange
from aioqueue.core.staging import is_whole
from aioqueue.core.state import State


class Unheard:
    """A replay that began at position `first`. `at` is the last batch of it that told of an unknown item; `head`, once
    its base was met, is up to where the archive has all that ended.
    """

    __slots__ = ("at", "first", "head")

    def __init__(self, first: int) -> None:
        self.first = first
        self.at = 0
        self.head = 0

    def met(self, position: int) -> bool:
        """An event of an unknown item was met here; True, for it is passed over."""
        self.at = position
        return True


def _never(unheard: Unheard, state: State, event: e.Event, position: int) -> bool:
    """It begins an item, or is the whole record of one."""
    return False


def _of_job(unheard: Unheard, state: State, event: e.JobEvent, position: int) -> bool:
    return event.id not in state.jobs and unheard.met(position)


def _lease(unheard: Unheard, state: State, event: e.JobLeased, position: int) -> bool:
    passed = _of_job(unheard, state, event, position)
    if not passed:
        # The job is known, so its session must be, or its lease would be lost.
        known_session(state, event.session)
    return passed


def _end_of_session(unheard: Unheard, state: State, event: e.SessionEnded, position: int) -> bool:
    return event.number not in state.sessions and unheard.met(position)


def _staged(unheard: Unheard, state: State, event: e.BulkStaged, position: int) -> bool:
    # Where it does not tell how many jobs are before it, those were never carried: it is over by the head.
    unknown = event.bulk not in state.bulks and event.part > 0 and event.first < 0
    return unknown and unheard.met(position)


def _committed(unheard: Unheard, state: State, event: e.BulkCommitted, position: int) -> bool:
    return event.bulk not in state.bulks and unheard.met(position)


def _freed(unheard: Unheard, state: State, event: e.BulkFreed, position: int) -> bool:
    if event.bulk not in state.bulks:
        # Those of its jobs that are known were carried while they waited for it.
        unheard.met(position)
    return False


def _lapsed(unheard: Unheard, state: State, event: e.ItemsLapsed, position: int) -> bool:
    if any(state.registry.find(key) is None for key in event.tasks):
        # The others are known, and their time is over.
        unheard.met(position)
    return False


def _base(unheard: Unheard, state: State, event: e.BaseMoved, position: int) -> bool:
    # Records of earlier bases lie here too; what they say was so.
    if event.base != unheard.first:
        return event.base < unheard.first
    silent = [session.number for session in state.sessions.values() if not session.home]
    torn = [bulk.id.hex() for bulk in state.bulks.values() if not is_whole(bulk)]
    if event.head < unheard.at or silent or torn:
        told = f"batch {unheard.at}, sessions {silent} and bulks {torn}"
        raise IllegalChange(f"{told} tell of items never heard of")
    state.partial = False
    unheard.head = event.head
    _tidy(state)
    return False


def _tidy(state: State) -> None:
    """What was carried was met behind what was submitted after it; it stands as it stood when that was written."""
    # Whoever was cancelled or expired before has no children left to tell, or the base would not have moved.
    state.doomed.clear()
    for queue in state.queues.values():
        queue.lane.tidy()
    state.jobs = dict(sorted(state.jobs.items(), key=lambda entry: entry[1].submitted_ms))


_RULES: Final[dict[e.Unknown, Callable[[Unheard, State, Any, int], bool]]] = {
    e.Unknown.BEGINS: _never,
    e.Unknown.JOB: _of_job,
    e.Unknown.LEASE: _lease,
    e.Unknown.SESSION: _end_of_session,
    e.Unknown.PART: _staged,
    e.Unknown.COMMIT: _committed,
    e.Unknown.FREED: _freed,
    e.Unknown.LAPSED: _lapsed,
    e.Unknown.BASE: _base,
}
# By event, for a start asks it of each: whether it is not to be applied. The base's own record ends `state.partial`.
PASSED_OVER: Final[dict[type[e.Event], Callable[[Unheard, State, Any, int], bool]]] = {
    kind: _RULES[rules.unknown] for kind, rules in e.RULES.items()
}
