"""Every run of a job, from what is known of it: the runs that ended otherwise than by success, and the job itself.

The archive keeps no row for the run that succeeded, nor for one that is on, for the job's own record tells of them.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from msgspec import structs

from aioqueue.limits import ITEMS_A_FRAME_MAX, MIB
from aioqueue.model.bodies import unpack_failure
from aioqueue.model.records import EndedRun
from aioqueue.model.views import Attempt, Failure, JobInfo, Run

# Of a failure in a list; a thousand tracebacks would not fit into a frame.
TEXT_SHOWN: Final = 500
# What the runs of one job may have of a frame: failures in full, then without their tracebacks; then none more is told.
_FULL_BYTES: Final = 1 * MIB
_BRIEF_BYTES: Final = 2 * MIB
_RUN_BYTES: Final = 100
_ON: Final = frozenset({"running", "stopping"})

_Told = TypeVar("_Told", Attempt, Run)


def history(info: JobInfo, ended: Sequence[EndedRun]) -> list[Run]:
    """All runs, the oldest first; `ended` are those that are archived, in that order, of all generations.

    Those of other jobs that had the same id before are none of this one.
    """
    runs: list[Run] = []
    generation, attempt, queued_ms = -1, 1, 0
    for run in ended:
        if run.generation < info.first_generation:
            continue
        if run.generation != generation:
            generation, attempt = run.generation, 1
            queued_ms = info.submitted_ms if generation == info.generation else 0
        failure = unpack_failure(run.body) if run.body else None
        runs.append(
            Run(run.run, generation, attempt, run.outcome, run.worker, queued_ms, run.started_ms, run.ended_ms, failure)
        )
        attempt += run.outcome == "failed"
        queued_ms = run.ended_ms
    if info.generation != generation:
        queued_ms = info.submitted_ms
    on = info.state in _ON
    if on or info.state == "succeeded":
        outcome = "running" if on else "succeeded"
        runs.append(
            Run(
                info.runs, info.generation, info.failures + 1, outcome, info.worker, queued_ms, info.started_ms,
                0 if on else info.finished_ms,
            )
        )  # fmt: skip
    return runs


def fitted(runs: Sequence[_Told], full_bytes: int = _FULL_BYTES, brief_bytes: int = _BRIEF_BYTES) -> list[_Told]:
    """The runs as a frame may hold them: the newest with all of their failures, older ones with less, or not at all."""
    kept: list[_Told] = []
    size = 0
    for run in reversed(runs):
        failure = run.failure
        if failure is not None and size + _bytes(failure) > full_bytes:
            failure = brief(failure)
            run = structs.replace(run, failure=failure)
        size += _RUN_BYTES + len(run.worker) + (_bytes(failure) if failure is not None else 0)
        if size > brief_bytes or len(kept) == ITEMS_A_FRAME_MAX:
            break
        kept.append(run)
    kept.reverse()
    return kept


def brief(failure: Failure) -> Failure:
    """What a list shows of a failure."""
    return structs.replace(failure, type=failure.type[:TEXT_SHOWN], text=failure.text[:TEXT_SHOWN], traceback="")


def _bytes(failure: Failure) -> int:
    # Four bytes a character is the most that UTF-8 needs.
    return 4 * (len(failure.type) + len(failure.text) + len(failure.traceback))
