"""What people ask of a job: cancel it, try it again, show it.

A job that is over is known only beside core: the shell is asked to look first. Refused is a job that never was, or is
another namespace's, and a second life of one that succeeded or still lives.
"""

from __future__ import annotations

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.decision import BodyArea, Decision
from aioqueue.core.nouns import copy_job
from aioqueue.core.state import State
from aioqueue.errors import JobNotFound, NotRetryable
from aioqueue.model.ids import id_text
from aioqueue.model.records import NO_TERMS, Terms
from aioqueue.model.states import Cause, JobState

_READY, _RUNNING, _STOPPING = JobState.READY, JobState.RUNNING, JobState.STOPPING


def cancel_job(state: State, command: c.CancelJob, now: Now, bodies: BodyArea) -> Decision:
    job = state.jobs.get(command.id)
    if job is not None and job.spec.namespace == command.namespace:
        if job.state is _STOPPING:
            return Decision([], "stopping")
        bodies.records += len(command.reason)
        if job.state is _RUNNING:
            return Decision([(e.JobStopping(job.id, job.fence, Cause.CANCEL, command.reason), None)], "stopping")
        return Decision([(e.JobCancelled(job.id, command.reason), None)], "cancelled")
    if job is None and (not command.looked or command.id in state.just_finished):
        raise c.NeedsLookup(command.id)
    found = command.found
    if job is not None or found is None or found.namespace != command.namespace:
        raise JobNotFound(job=id_text(command.id))
    return Decision([], "cancelled" if found.state is JobState.CANCELLED else "finished")


def requeue_job(state: State, command: c.RequeueJob, now: Now, bodies: BodyArea) -> Decision:
    job = state.jobs.get(command.id)
    if job is not None and job.spec.namespace == command.namespace:
        if 0 < command.generation <= job.generation:
            return Decision([], job.generation)
        raise NotRetryable(job=id_text(job.id), state=job.state.label)
    # As long as children of its last life are being told to end, those of the next would be told so too.
    if job is None and (not command.looked or command.id in state.just_finished or command.id in state.doomed):
        raise c.NeedsLookup(command.id)
    found = command.found
    if job is not None or found is None or found.namespace != command.namespace:
        raise JobNotFound(job=id_text(command.id))
    if 0 < command.generation <= found.generation:
        return Decision([], found.generation)
    if found.state is JobState.SUCCEEDED:
        raise NotRetryable(job=id_text(found.id), state=found.state.label)
    room_jobs, room_bytes = state.admission.room(len(state.jobs))
    if room_jobs < 1 or len(found.args) + len(found.extra) > room_bytes:
        raise state.admission.refusal(len(state.jobs))
    offset, length, crc = bodies.add(found.args)
    generation = found.generation + 1
    # Its times are over, and so may its parent be: whoever asks for it again wants it to run.
    before = found.terms or NO_TERMS
    kept = Terms(parent=before.parent, first_generation=before.first_generation)
    terms = None if kept == NO_TERMS else kept
    event = e.JobSubmitted(
        found.id, found.spec, state.next_seq, _READY, 0, offset, length, crc, generation, found.extra or None, terms
    )
    return Decision([(event, found.args)], generation)


def inspect_job(state: State, command: c.InspectJob, now: Now, bodies: BodyArea) -> Decision:
    job = state.jobs.get(command.id)
    if job is None or job.spec.namespace != command.namespace:
        return Decision([], None)
    return Decision([], copy_job(job))
