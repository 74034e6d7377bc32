"""What bounds a job: a time to begin by, a time to be over by, the end of its parent. Nothing here changes anything.

The times are kept in `State.ends`, so nothing polls; and whoever gives out a lease asks once more, so that a job whose
time is over never runs, however late the timer is. Children that asked to end with their parent are in
`State.children`; a parent that was cancelled or expired is in `State.doomed` until all of them have been told. That is
done a part of a batch at a time, for a parent may have a million.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.nouns import Job
from aioqueue.core.state import State
from aioqueue.model.records import Terms
from aioqueue.model.states import Cause, JobState

_RUNNING, _STOPPING = JobState.RUNNING, JobState.STOPPING
_EXPIRED, _CANCELLED = JobState.EXPIRED, JobState.CANCELLED

# Why a child is over that came too late; for people.
PARENT_OVER: Final = "its parent was over"
# Why a job is over whose time was.
TIME_IS_OVER: Final = {Cause.DEADLINE: "its deadline passed", Cause.EXPIRES: "it had not begun in time"}


def terms_of(state: State, asked: c.AskedTerms, namespace: str, wall_ms: int) -> Terms:
    """What was asked for, as instants; a child that inherits has no more time than its parent."""
    expires_ms = asked.expires_ms or (wall_ms + asked.expires_in_ms if asked.expires_in_ms else 0)
    deadline_ms = asked.deadline_ms or (wall_ms + asked.deadline_in_ms if asked.deadline_in_ms else 0)
    terms = Terms(expires_ms, deadline_ms, asked.parent, asked.inherits)
    parent = state.parent_of(terms, namespace) if asked.inherits else None
    if parent is not None and parent.terms is not None and parent.terms.deadline_ms:
        deadline_ms = min(deadline_ms or parent.terms.deadline_ms, parent.terms.deadline_ms)
        terms = Terms(expires_ms, deadline_ms, asked.parent, True)
    return terms


def is_orphan(state: State, terms: Terms, namespace: str) -> bool:
    """Whether the job would end with a parent that is over, or was told to stop."""
    return terms.inherits and state.parent_of(terms, namespace) is None


def overdue(job: Job, wall_ms: int) -> Cause | None:
    """Why a job that waits must not begin at this time, if it must not."""
    terms = job.terms
    if terms is None:
        return None
    if 0 < terms.expires_ms <= wall_ms and not job.runs:
        return Cause.EXPIRES
    return Cause.DEADLINE if 0 < terms.deadline_ms <= wall_ms else None


def end_when_stopped(job: Job) -> JobState:
    """What a job that was told to stop is in the end, if it does not succeed all the same."""
    return _EXPIRED if job.rare is not None and job.rare.cause is Cause.DEADLINE else _CANCELLED


def instead_of_lease(job: Job, state: State, now: Now) -> e.JobExpired | e.JobCancelled | None:
    """What becomes of a job whose turn has come, where that is not a run."""
    cause = overdue(job, now.wall_ms)
    if cause is not None:
        return e.JobExpired(job.id, cause)
    terms = job.terms
    if terms is not None and terms.inherits and terms.parent in state.doomed:
        return e.JobCancelled(job.id, state.doomed[terms.parent])
    return None


def decide_end(state: State, now: Now) -> e.JobExpired | e.JobStopping | None:
    """The next job whose time is over; the caller applies it before it asks again."""
    head = state.ends.head()
    if head is None or head[0] > now.wall_ms:
        return None
    job = state.jobs[head[2]]
    if job.state is _RUNNING:
        return e.JobStopping(job.id, job.fence, Cause.DEADLINE)
    cause = overdue(job, now.wall_ms)
    assert cause is not None
    return e.JobExpired(job.id, cause)


def decide_doomed(state: State, children_max: int) -> list[e.JobCancelled | e.JobStopping]:
    """The next children that end with a parent, at most so many; the caller applies them before it asks again.

    Not one by one: the first of a dict is behind all that were before it and are gone, perhaps a million.
    """
    for parent, reason in state.doomed.items():
        jobs = (state.jobs[child] for child in islice(state.children[parent], children_max))
        return [
            e.JobStopping(job.id, job.fence, Cause.CANCEL, reason)
            if job.state is _RUNNING
            else e.JobCancelled(job.id, reason)
            for job in jobs
        ]
    return []
