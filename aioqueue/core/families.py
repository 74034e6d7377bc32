"""Jobs that may wait for their children: what holds others up must never hold those up.

A task that awaits what it submitted is over only when that is. So a session that gets nothing else, because it runs a
suspect alone or drains for one (the cohort rule, see `suspects`), still gets children of what it runs, also before
their turn; or parent and child would wait for each other for ever:

- a child without crashes: always;
- a suspect: beside suspects that are all ancestors of it;
- a suspect on its last chance: beside its ancestors, and beside jobs that have a ready child as well, for they may be
  waiting for that; nothing else runs there.

And where both are ready, a suspect lets its own suspect children go first. Each is tried by itself then, and a parent
does not die of its child's crash.

`State.families` names the children by their parents; only jobs that were submitted by a run are in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from aioqueue.core.nouns import Job, Offer, Session
from aioqueue.core.state import State
from aioqueue.limits import CRASHES_ALONE
from aioqueue.model.states import JobState

_READY = JobState.READY


def children_for(state: State, session: Session) -> Iterator[Job]:
    """The ready children of what the session runs that it may have although it gets nothing else; while it has a free
    slot. The caller may apply a lease before it asks for the next.

    Only suspects keep a session from anything: without one it gets these in their turn.
    """
    suspects_about = state.suspects_ready or session.suspects
    if not (state.families and suspects_about) or not session.has_slot() or session.link.throttled:
        return
    for parent in list(session.leases):
        for child in list(state.families.get(parent, ())):
            job = state.jobs.get(child)
            if job is not None and _is_ready_for(job, session) and _may_join(state, session, job):
                yield job
                if not session.has_slot():
                    return


def first_of_family(state: State, offer: Offer, job: Job) -> Job:
    """The suspect itself, or the suspect among its descendants that the offer takes and that goes before it."""
    seen = {job.id}
    while (child := _ready_suspect(state, offer, job)) is not None and child.id not in seen:
        seen.add(child.id)
        job = child
    return job


def _ready_suspect(state: State, offer: Offer, parent: Job) -> Job | None:
    for child in state.families.get(parent.id, ()):
        job = state.jobs[child]
        if job.state is _READY and job.crashes and offer.covers(job):
            return job
    return None


def _is_ready_for(job: Job, session: Session) -> bool:
    return job.state is _READY and session.link.offer.covers(job) and session.has_room(job.spec.fit)


def _may_join(state: State, session: Session, job: Job) -> bool:
    if not job.crashes:
        return True
    ancestors = _ancestors(state, job)
    if any(suspect.id not in ancestors for suspect in session.suspects):
        return False
    return job.crashes < CRASHES_ALONE or all(
        held in ancestors or _has_ready_child(state, held) for held in session.leases
    )


def _ancestors(state: State, job: Job) -> set[bytes]:
    """The living ones, by id."""
    found: set[bytes] = set()
    above: Job | None = job
    while above is not None and above.terms is not None and above.terms.parent not in found:
        found.add(above.terms.parent)
        above = state.jobs.get(above.terms.parent)
    return found


def _has_ready_child(state: State, parent: bytes) -> bool:
    return any(state.jobs[child].state is _READY for child in state.families.get(parent, ()))
