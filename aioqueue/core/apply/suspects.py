"""Suspects as they become ready and run: apart from the lane, and counted (see `lanes.suspects`)."""

from __future__ import annotations

from aioqueue.core.nouns import Job, Session
from aioqueue.core.queues import QueueState
from aioqueue.core.state import State


def hold_suspect(state: State, session: Session, job: Job) -> None:
    """The session runs it."""
    session.suspects = (*session.suspects, job)
    state.suspects_running += 1


def suspect_ready(state: State, queue: QueueState, job: Job) -> None:
    """It stands in the line of its queue."""
    queue.suspects.add(job)
    state.suspects_ready += 1
    state.suspicious[job.spec.key] = queue


def suspect_gone(state: State, queue: QueueState, job: Job) -> None:
    """It stands there no more; raises `ValueError` if it did not."""
    queue.suspects.remove(job)
    state.suspects_ready -= 1
    if not queue.suspects:
        del state.suspicious[job.spec.key]
