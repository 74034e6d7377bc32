"""Applying changes, and never refuses: the only code that writes to `State`.

Each function makes one event so, and checks before it touches anything that the event can be: what `decide` promised
is asserted here once more. `IllegalChange` is a defect of this program or a journal it did not write; it is never an
answer to a caller. The same code runs for new events and for replay, so both give the same state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioqueue.core import events as e
from aioqueue.core.apply.bulks import bulk_carried, bulk_committed, bulk_freed, bulk_heard, bulk_staged
from aioqueue.core.apply.jobs import cancelled, due, expired, submitted
from aioqueue.core.apply.journal import admission_changed, base_moved, job_carried, known_session, session_carried
from aioqueue.core.apply.moment import Moment
from aioqueue.core.apply.runs import crashed, failed, leased, released, stopping, succeeded
from aioqueue.core.apply.sessions import (
    link_changed,
    link_throttled,
    session_ended,
    session_forgotten,
    session_heard,
    session_opened,
)
from aioqueue.core.state import State

__all__ = ["APPLY", "Moment", "apply", "known_session"]


def apply(state: State, event: e.Event, body: bytes | None, at: Moment) -> None:
    """Make the event so; `body` is the payload that the event refers to. Effects are added to `at`."""
    APPLY[type(event)](state, event, body, at)


APPLY: dict[type[e.Event], Callable[[State, Any, bytes | None, Moment], None]] = {
    e.JobSubmitted: submitted,
    e.JobDue: due,
    e.JobLeased: leased,
    e.JobSucceeded: succeeded,
    e.JobFailed: failed,
    e.JobReleased: released,
    e.JobCrashed: crashed,
    e.JobCancelled: cancelled,
    e.JobStopping: stopping,
    e.JobExpired: expired,
    e.BulkStaged: bulk_staged,
    e.BulkCommitted: bulk_committed,
    e.BulkFreed: bulk_freed,
    e.BulkCarried: bulk_carried,
    e.BulkHeard: bulk_heard,
    e.SessionOpened: session_opened,
    e.SessionEnded: session_ended,
    e.SessionCarried: session_carried,
    e.JobCarried: job_carried,
    e.BaseMoved: base_moved,
    e.LinkChanged: link_changed,
    e.LinkThrottled: link_throttled,
    e.SessionHeard: session_heard,
    e.SessionForgotten: session_forgotten,
    e.AdmissionChanged: admission_changed,
}
