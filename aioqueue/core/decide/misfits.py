"""Runs of another release: the worker knows the task, and its code cannot be called with the job's arguments.

In a deploy that is nobody's failure: the job goes back without an attempt spent, and waits for a worker of the release
that it was submitted for. Only where every worker that knows the task has refused this very job does the attempt fail,
for good, and then it names who refused it. Called by `runs`; `partition` asks who is to be tried again.
"""

from __future__ import annotations

from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.decision import BodyArea
from aioqueue.core.nouns import Job, Session
from aioqueue.core.state import State
from aioqueue.limits import FAILURE_TEXT_BYTES_MAX
from aioqueue.model.bodies import pack_failure, unpack_failure
from aioqueue.model.states import JobState
from aioqueue.model.views import Failure

# More releases than anybody runs side by side.
_NAMED_MAX = 5


def end_of_misfit(state: State, job: Job, item: c.EndRun, bodies: BodyArea) -> tuple[e.Event, bytes | None]:
    """What becomes of the job; one that was told to stop is over anyhow."""
    if job.state is JobState.STOPPING:
        return e.JobReleased(job.id, item.fence), None
    refused = state.refusals.by_job.get(job.id, ())
    if any(
        other.number != job.session and other.number not in refused and _knows(other, job)
        for other in state.sessions.values()
    ):
        return e.JobMisfit(job.id, item.fence), None
    body = _failure(state, job, item.body)
    offset, length, crc = bodies.add(body)
    return e.JobFailed(job.id, item.fence, JobState.DEAD, 0, offset, length, crc), body


def _knows(session: Session, job: Job) -> bool:
    """Whether it takes such jobs, were it not for others that it refused; who stops takes none."""
    offer = session.link.offer
    return session.link.pool is not None and offer._replace(shut=frozenset()).covers(job)


def decide_reopened(state: State) -> list[e.TaskReopened]:
    """The sessions that refused jobs of a task which nobody takes now: they may have others of it."""
    refusals = state.refusals
    refusals.stale = False
    reopened: list[e.TaskReopened] = []
    for (namespace, task), shut in refusals.shut.items():
        if not any(_is_open(session, namespace, task) for session in state.sessions.values()):
            reopened += [e.TaskReopened(number, task) for number in sorted(shut)]
    return reopened


def _is_open(session: Session, namespace: str, task: str) -> bool:
    offer = session.link.offer
    if session.link.pool is None or session.namespace != namespace or task in offer.shut:
        return False
    return offer.tasks is None or task in offer.tasks.classes


def _failure(state: State, job: Job, told: bytes) -> bytes:
    """The failure of the last worker that could have taken the job, with the names of all that refused it."""
    refused = [
        session
        for session in state.sessions.values()
        if session.namespace == job.spec.namespace
        and (session.number == job.session or job.spec.task in session.link.offer.shut)
    ]
    names = sorted({session.link.about or session.name for session in refused})
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    said = (
        unpack_failure(told)
        if told
        else Failure("BadArguments", f"the arguments do not fit task {job.spec.task} here", "", False)
    )
    text = f"{said.text[: FAILURE_TEXT_BYTES_MAX // 2]} (refused by {', '.join(names[:_NAMED_MAX])}{more})"
    return pack_failure(Failure("BadArguments", text, said.traceback, False))
