"""What workers say of their runs: which of them may still say it, and what becomes of the job.

A settle is never refused: one that comes too late, or of a lease that is over, is answered with that and changes
nothing. `sessions` settles here too, for a worker that returns.
"""

from __future__ import annotations

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.backoff import backoff_ms
from aioqueue.core.decide.misfits import end_of_misfit
from aioqueue.core.decision import BodyArea, Decision
from aioqueue.core.nouns import Job
from aioqueue.core.state import State
from aioqueue.core.terms import end_when_stopped
from aioqueue.model.states import JobState, RunEnd

_SCHEDULED, _RUNNING = JobState.SCHEDULED, JobState.RUNNING
_STOPPING, _DEAD = JobState.STOPPING, JobState.DEAD
# As in `submit`: these are asked for every settle.
_OK, _SUCCEEDED, _RELEASED = c.SettleOutcome.OK, RunEnd.SUCCEEDED, RunEnd.RELEASED
_MISFIT = RunEnd.MISFIT


def settle(state: State, command: c.SettleRuns, now: Now, bodies: BodyArea) -> Decision:
    events: list[tuple[e.Event, bytes | None]] = []
    return Decision(events, settle_runs(state, command.session, command.items, now, bodies, events))


def settle_runs(
    state: State,
    session: int,
    items: list[c.EndRun],
    now: Now,
    bodies: BodyArea,
    events: list[tuple[e.Event, bytes | None]],
) -> list[c.SettleOutcome]:
    outcomes: list[c.SettleOutcome] = []
    settled: set[bytes] = set()
    living = state.jobs
    unknown = [
        item.id for item in items if item.id not in living and (item.found_fence < 0 or item.id in state.just_finished)
    ]
    if unknown:
        raise c.NeedsLookup(*unknown)
    for item in items:
        job = living.get(item.id)
        if item.fence <= 0:
            # No lease has it, but every job that was never leased, or whose lease was voided.
            outcomes.append(c.SettleOutcome.STALE)
        elif job is None:
            outcomes.append(c.SettleOutcome.ALREADY if item.found_fence == item.fence else c.SettleOutcome.STALE)
        elif job.fence != item.fence or job.session not in (session, 0):
            outcomes.append(c.SettleOutcome.STALE)
        elif (job.state is not _RUNNING and job.state is not _STOPPING) or item.id in settled:
            # The fence is still this run's, so what ended it was its own settle: a failure that waits to be retried.
            outcomes.append(c.SettleOutcome.ALREADY)
        else:
            settled.add(item.id)
            events.append(_end_of_run(state, job, item, now, bodies))
            outcomes.append(_OK)
    return outcomes


def _end_of_run(state: State, job: Job, item: c.EndRun, now: Now, bodies: BodyArea) -> tuple[e.Event, bytes | None]:
    if item.end is _SUCCEEDED:
        offset, length, crc = bodies.add(item.body)
        return e.JobSucceeded(job.id, item.fence, offset, length, crc), item.body
    if item.end is _RELEASED:
        return e.JobReleased(job.id, item.fence), None
    if item.end is _MISFIT:
        return end_of_misfit(state, job, item, bodies)
    offset, length, crc = bodies.add(item.body)
    if job.state is _STOPPING:
        return e.JobFailed(job.id, item.fence, end_when_stopped(job), 0, offset, length, crc), item.body
    policy = job.spec.retry
    failures = job.failures + 1
    if item.retry and failures < policy.attempts:
        due_ms = now.wall_ms + backoff_ms(policy, job.id, failures)
        terms = job.terms
        # An attempt that could not begin before the deadline is none: it is out of attempts, and keeps its failure.
        if terms is None or not 0 < terms.deadline_ms <= due_ms:
            return e.JobFailed(job.id, item.fence, _SCHEDULED, due_ms, offset, length, crc), item.body
    return e.JobFailed(job.id, item.fence, _DEAD, 0, offset, length, crc), item.body
