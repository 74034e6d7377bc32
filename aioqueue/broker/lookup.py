"""Commands that need to know what is archived: which ids they name, and how they are told what was found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aioqueue.archive.base import Tombstone
from aioqueue.broker.line import Query
from aioqueue.core import commands as c
from aioqueue.core.staging import BULK_DROPPED
from aioqueue.model.records import FinishedJob
from aioqueue.model.states import JobState

Found = Mapping[bytes, FinishedJob | Tombstone]


def ids_of(command: Any) -> Iterable[bytes]:
    """The jobs that a command is about."""
    match command:
        case c.SubmitJobs(items=jobs):
            return [job.id for job in jobs]
        case c.SettleRuns(items=runs):
            return [run.id for run in runs]
        case c.ResumeSession(held=held, settles=runs):
            return [*(run.id for run in held), *(run.id for run in runs)]
        case c.StageBulk(bulk=bulk) | c.CommitBulk(bulk=bulk):
            # What is said of one bulk stays in its order.
            return (bulk,)
        case c.CancelJob(id=job_id) | c.RequeueJob(id=job_id):
            return (job_id,)
        case Query(jobs=jobs):
            return jobs
        case _:
            return ()


def tell(command: Any, ids: Iterable[bytes], found: Found) -> None:
    """Write into the command what overlay and archive know of `ids`."""
    asked = set(ids)
    match command:
        case c.SubmitJobs():
            for job in command.items:
                if job.id in asked:
                    _tell_submit(job, found.get(job.id))
        case c.SettleRuns(items=runs) | c.ResumeSession(settles=runs):
            for run in runs:
                if run.id in asked:
                    end = found.get(run.id)
                    run.found_fence = end.fence if isinstance(end, FinishedJob) else 0
        case c.CancelJob() | c.RequeueJob():
            end = found.get(command.id)
            command.found = end if isinstance(end, FinishedJob) else None
            command.looked = True
        case c.StageBulk():
            command.known = any(item.id in found for item in command.items[:1])
            command.looked = True
        case c.CommitBulk():
            first = found.get(command.first)
            # What is left of a tombstone does not say why; a loss that is told is better than one that is not.
            dropped = first is not None and first.state is JobState.CANCELLED
            command.known = first is not None and not (dropped and getattr(first, "note", BULK_DROPPED) == BULK_DROPPED)
            command.looked = True


def _tell_submit(job: c.NewJob, end: FinishedJob | Tombstone | None) -> None:
    if end is None:
        job.known = c.Known.ABSENT
    elif isinstance(end, FinishedJob):
        job.known, job.before = c.Known.FINISHED, c.Before(end.generation, end.task, end.namespace)
    else:
        # Only a caller's own id is ever free again.
        own = job.known is c.Known.OWN or job.known is c.Known.FORGOTTEN
        job.known = c.Known.FORGOTTEN if own else c.Known.FINISHED
        job.before = c.Before(end.generation, forgotten_ms=end.since_ms)
