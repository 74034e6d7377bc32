"""Views: a job as people are shown it, alive or finished. Pure; called by `peers.asking` and `pages`."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from aioqueue.core.nouns import Job
from aioqueue.model.bodies import CRASHED, unpack_failure, unpack_headers
from aioqueue.model.records import EndedRun, FinishedJob, Terms, unpack_extra
from aioqueue.model.states import JobState
from aioqueue.model.views import Attempt, Block, JobInfo


def attempts(runs: Sequence[EndedRun], generation: int) -> list[Attempt]:
    """The ended runs of one generation, for people."""
    return [
        Attempt(
            run.run, run.outcome, run.started_ms, run.ended_ms, run.worker,
            unpack_failure(run.body) if run.body else None,
        )
        for run in runs
        if run.generation == generation
    ]  # fmt: skip


def info_of_living(job: Job, worker: str, runs: Sequence[EndedRun], blocked: Block | None = None) -> JobInfo:
    """All that is known of a job that has not ended."""
    extra, spec = unpack_extra(job.extra), job.spec
    history = attempts(runs, job.generation)
    failure = next((attempt.failure for attempt in reversed(history) if attempt.failure), None)
    return JobInfo(
        job.id, extra.own_id, spec.namespace, spec.queue, spec.task, job.state.label, spec.priority, job.submitted_ms,
        job.due_ms, job.started_ms, 0, job.failures, job.crashes, job.runs, job.generation, worker,
        unpack_headers(extra.headers), failure, history, blocked, *_bounds(job.terms),
        "" if job.rare is None else job.rare.note, first_generation=_first_generation(job.terms),
    )  # fmt: skip


def info_of_finished(job: FinishedJob, runs: Sequence[EndedRun]) -> JobInfo:
    """All that is known of a job that has ended."""
    extra = unpack_extra(job.extra)
    history = attempts(runs, job.generation)
    failure = next((attempt.failure for attempt in reversed(history) if attempt.failure), None)
    if job.state is JobState.DEAD:
        failure = unpack_failure(job.body or CRASHED)
    if job.state is JobState.SUCCEEDED:
        failure = None
        history.append(Attempt(job.runs, "succeeded", job.started_ms, job.finished_ms, job.worker))
    return JobInfo(
        job.id, extra.own_id, job.namespace, job.queue, job.task, job.state.label, job.priority, job.submitted_ms, 0,
        job.started_ms, job.finished_ms, job.failures, job.crashes, job.runs, job.generation, job.worker,
        unpack_headers(extra.headers), failure, history, None, *_bounds(job.terms), job.note,
        first_generation=_first_generation(job.terms),
    )  # fmt: skip


def with_kept(info: JobInfo, finished: FinishedJob, bytes_max: int) -> JobInfo:
    """The job with what is kept of its arguments since its end."""
    size = len(finished.args)
    return replace(info, args=finished.args if size <= bytes_max else b"", args_bytes=size) if size else info


def _bounds(terms: Terms | None) -> tuple[int, int, bytes]:
    return (0, 0, b"") if terms is None else (terms.expires_ms, terms.deadline_ms, terms.parent)


def _first_generation(terms: Terms | None) -> int:
    return 0 if terms is None else terms.first_generation
