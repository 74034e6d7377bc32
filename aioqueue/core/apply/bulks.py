"""Bulks: `staging` changes them, and what a dropped one cancels ends here like any other job that waits."""

from __future__ import annotations

from typing import Final

from aioqueue.core import events as e
from aioqueue.core import staging
from aioqueue.core.apply.bounds import PARENT_CANCELLED, doom
from aioqueue.core.apply.ends import end_waiting
from aioqueue.core.apply.moment import Moment, Rows
from aioqueue.core.state import State
from aioqueue.model.states import JobState

_CANCELLED = JobState.CANCELLED


def bulk_staged(state: State, event: e.BulkStaged, body: bytes | None, at: Moment) -> None:
    staging.add_part(state, event, at.position)


def bulk_committed(state: State, event: e.BulkCommitted, body: bytes | None, at: Moment) -> None:
    staging.commit(state, event, at.position)


def bulk_freed(state: State, event: e.BulkFreed, body: bytes | None, at: Moment) -> None:
    for job in staging.free(state, event, at.position):
        job.spec = staging.kept_shortly(job.spec)
        end_waiting(state, job, _CANCELLED, staging.BULK_DROPPED, at)
        doom(state, job.id, PARENT_CANCELLED)


def bulk_carried(state: State, event: e.BulkCarried, body: bytes | None, at: Moment) -> None:
    staging.carry_part(state, event, at.position)


def bulk_heard(state: State, event: e.BulkHeard, body: bytes | None, at: Moment) -> None:
    state.bulks[event.bulk].heard_ms = event.heard_ms


ROWS: Final[Rows] = {
    e.BulkStaged: bulk_staged,
    e.BulkCommitted: bulk_committed,
    e.BulkFreed: bulk_freed,
    e.BulkCarried: bulk_carried,
    e.BulkHeard: bulk_heard,
}
