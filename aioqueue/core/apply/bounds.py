"""What bounds a job, noted and struck off: its times in `State.ends`, its parent in `State.children` and `families`.

`terms` reads what is noted here. Called by the rest of `apply`.
"""

from __future__ import annotations

from typing import Final

from aioqueue.core.nouns import Job, Rare
from aioqueue.core.state import State
from aioqueue.model.states import JobState

_STOPPING = JobState.STOPPING
# Why a child is cancelled; for people.
PARENT_CANCELLED: Final = "its parent was cancelled"
PARENT_EXPIRED: Final = "its parent expired"


def bind(state: State, job: Job) -> None:
    """Note what bounds a job that may still run."""
    terms = job.terms
    if terms is None or job.state is _STOPPING:
        return
    for at_ms in (terms.deadline_ms, 0 if job.runs else terms.expires_ms):
        if at_ms:
            # Not by its place in the line: that changes, and a replay may first hear of the job after it has.
            state.ends.add(at_ms, 0, job.id)
    if terms.parent:
        state.families.setdefault(terms.parent, {})[job.id] = None
    if terms.inherits:
        state.children.setdefault(terms.parent, {})[job.id] = None


def begin_run(state: State, rare: Rare) -> tuple[bytes | None, int]:
    """A run of the job begins: it has begun in time. Its extra, and its deadline."""
    terms = rare.terms
    if terms is None:
        return rare.extra, 0
    if terms.expires_ms:
        state.ends.moved_on()
    return rare.extra, terms.deadline_ms


def unbind(state: State, job: Job) -> None:
    """The job is over, or will be: neither its times nor its parent have anything to say any more."""
    terms = job.terms
    if terms is None:
        return
    if terms.expires_ms or terms.deadline_ms:
        state.ends.moved_on()
    family = state.families.get(terms.parent) if terms.parent else None
    if family is not None and family.pop(job.id, job) is None and not family:
        del state.families[terms.parent]
    siblings = state.children.get(terms.parent) if terms.inherits else None
    if siblings is not None and siblings.pop(job.id, job) is None and not siblings:
        del state.children[terms.parent]
        state.doomed.pop(terms.parent, None)


def doom(state: State, parent: bytes, reason: str) -> None:
    """Children that end with this parent must end now."""
    if parent in state.children:
        state.doomed.setdefault(parent, reason)
