"""How a session ends, and all that it held with it: the one place that says so.

A goodbye, a death and a silence come here from `decide` and `leasing`, and the end of a lost journal from `salvage`.
"""

from __future__ import annotations

from aioqueue.core import events as e
from aioqueue.core.nouns import Session
from aioqueue.core.terms import end_when_stopped
from aioqueue.limits import CRASHES_MAX
from aioqueue.model.states import JobState, SessionEnd

_READY, _STOPPING, _DEAD = JobState.READY, JobState.STOPPING, JobState.DEAD


def end_of_session(session: Session, cause: SessionEnd) -> list[tuple[e.Event, bytes | None]]:
    """What becomes of its leases, and then its end.

    A goodbye gives them back. A process that died counts as a crash of each of its jobs, and from the last allowed one
    on the job is dead. Mere silence never makes a job dead: it may be the network's fault. A job that was told to stop
    has stopped: it is cancelled, or expired.
    """
    events: list[tuple[e.Event, bytes | None]] = []
    for job in session.leases.values():
        if cause is SessionEnd.GOODBYE:
            events.append((e.JobReleased(job.id, job.fence), None))
            continue
        crashes = job.crashes + 1
        if cause is SessionEnd.EXPIRED:
            crashes = min(crashes, max(job.crashes, CRASHES_MAX - 1))
        after = end_when_stopped(job) if job.state is _STOPPING else _DEAD if crashes >= CRASHES_MAX else _READY
        events.append((e.JobCrashed(job.id, job.fence, after, crashes), None))
    ended = e.SessionEnded(session.number, cause) if session.journaled else e.SessionForgotten(session.number)
    events.append((ended, None))
    return events
