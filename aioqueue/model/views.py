"""What is told of jobs, queues and workers to whoever asks. Frozen, and the same in Python, on the wire and as JSON.

Every list has a bound: decoding a list without one would believe the length that a peer claims for it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from aioqueue.limits import (
    BODY_BYTES_MAX,
    DEAF_NAMED_MAX,
    ITEMS_A_FRAME_MAX,
    JOB_ID_BYTES,
    NAME_CHARACTERS_MAX,
    NUMBER_MAX,
    PLACE_CHARACTERS_MAX,
    QUEUES_A_WORKER_MAX,
)


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """An exception as data: never a pickled object.

    `retry` is the worker's own judgement (`Retry.on`, `Retry.never`): may another attempt help?
    """

    type: str
    text: str
    traceback: str = ""
    retry: bool = True


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """One run of a job that ended otherwise than by success. Times are milliseconds UTC.

    `outcome` is `failed`, `crashed`, `released`, `cancelled` or `expired`.
    """

    run: int
    outcome: str
    started_ms: int
    ended_ms: int
    worker: str
    failure: Failure | None = None


class Run(msgspec.Struct, frozen=True, array_like=True):
    """One run of a job: one lease of it by one worker. Times are milliseconds UTC.

    `outcome` is `succeeded`, `failed`, `crashed`, `released`, `cancelled` or `expired`; `running` for one that is on.
    `run` counts the runs of a generation, `attempt` those of them that were not released or crashed. `queued_ms` is
    since when the job waited for it, a back-off included: its submit, or the end of the run before; 0 where that is not
    known any more. `ended_ms` is 0 while it runs.
    """

    run: int
    generation: int
    attempt: int
    outcome: str
    worker: str
    queued_ms: int
    started_ms: int
    ended_ms: int
    failure: Failure | None = None

    @property
    def duration_ms(self) -> int | None:
        """How long it took; None while it runs."""
        return self.ended_ms - self.started_ms if self.ended_ms else None


class Block(msgspec.Struct, frozen=True, array_like=True):
    """What the event loop of a worker stands still in, and for how long.

    `job` and `task` are empty where it is no job's own code, or where nobody could see it. `place` is for people: file,
    line and function.
    """

    job: Annotated[bytes, Meta(max_length=JOB_ID_BYTES)]
    task: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
    place: Annotated[str, Meta(max_length=PLACE_CHARACTERS_MAX)]
    for_ms: Annotated[int, Meta(ge=0, le=NUMBER_MAX)]


class JobInfo(msgspec.Struct, frozen=True, array_like=True):
    """All that is known of one job, at the moment it was asked. Times are milliseconds UTC, 0 where not yet known.

    `blocked` is there while the event loop of the worker that runs it stands still, in this job or in another. `parent`
    is the id of the job that submitted it, and `note` says why it was cancelled or expired. `deaf_at` are the workers
    on which a run of it heeded no cancellation and still goes on, whatever its state. `generation` counts on from
    `first_generation` with each retry by hand; that is above 0 where the caller's own id had other jobs before.
    `args_bytes` is how long its arguments are, where that was asked for and they are kept, and `args` is their body,
    empty where it was too long. `unserved` says of a ready job that was asked for by its id why no connected worker
    would get it.
    """

    id: bytes
    own_id: str
    namespace: str
    queue: str
    task: str
    state: str
    priority: int
    submitted_ms: int
    due_ms: int
    started_ms: int
    finished_ms: int
    failures: int
    crashes: int
    runs: int
    generation: int
    worker: str
    headers: dict[str, str] = {}
    failure: Failure | None = None
    attempts: Annotated[list[Attempt], Meta(max_length=ITEMS_A_FRAME_MAX)] = []
    blocked: Block | None = None
    expires_ms: int = 0
    deadline_ms: int = 0
    parent: Annotated[bytes, Meta(max_length=JOB_ID_BYTES)] = b""
    note: str = ""
    deaf_at: Annotated[list[str], Meta(max_length=DEAF_NAMED_MAX)] = []
    first_generation: int = 0
    args: Annotated[bytes, Meta(max_length=BODY_BYTES_MAX + 1)] = b""
    args_bytes: Annotated[int, Meta(ge=0, le=NUMBER_MAX)] = 0
    unserved: str = ""


class QueueStatistics(msgspec.Struct, frozen=True, array_like=True):
    """One queue: how many jobs are in each live state now, and how many ever did what since the broker started.

    `stopping` of the `running` were told to stop. A queue that was long without jobs and workers may have been
    forgotten, with its totals.
    """

    namespace: str
    queue: str
    ready: int
    scheduled: int
    running: int
    submitted: int
    succeeded: int
    failed: int
    dead: int
    stopping: int = 0


class WorkerStatistics(msgspec.Struct, frozen=True, array_like=True):
    """One worker's session. `lag_ms` is how late its event loop ran at worst between its last two beats.

    `queues_left_out` are those of its queues that are not named here; with `all_queues` it takes jobs from every queue
    of its namespace, and names none. `process_slots` are those of tasks in processes, beside `slots`. `deaf` runs
    heeded no cancellation and still go on, whether or not their jobs have another end by now.
    """

    session: int
    name: str
    queues: Annotated[list[str], Meta(max_length=QUEUES_A_WORKER_MAX)]
    slots: int
    running: int
    connected: bool
    silent_ms: int
    lag_ms: int = 0
    blocked: Block | None = None
    queues_left_out: int = 0
    deaf: int = 0
    all_queues: bool = False
    process_slots: int = 0


class AdmissionStatistics(msgspec.Struct, frozen=True, array_like=True):
    """How full the broker is: jobs that have not ended and the bytes of their arguments and headers, with the limits.

    `disk_free` is what was free when it was last looked, and `disk_needed` what must be; both 0 where nobody looks.
    While `disk_low`, no new jobs are taken.
    """

    jobs: int
    size: int
    jobs_max: int
    size_max: int
    disk_free: int = 0
    disk_needed: int = 0
    disk_low: bool = False


class RunningJob(msgspec.Struct, frozen=True, array_like=True):
    """One job that runs now, for a monitor's list. `blocked` is there while it blocks its worker's event loop; `own_id`
    is what its caller calls it, empty where the id was generated.
    """

    id: bytes
    task: str
    queue: str
    worker: str
    run: int
    running_ms: int
    blocked: Block | None = None
    own_id: str = ""


class RecentFailure(msgspec.Struct, frozen=True, array_like=True):
    """One attempt that failed lately. `own_id` is what the job's caller calls it, empty where the id was generated."""

    id: bytes
    task: str
    queue: str
    at_ms: int
    type: str
    text: str
    dead: bool
    own_id: str = ""


class Statistics(msgspec.Struct, frozen=True, array_like=True):
    """A broker at one moment, as one namespace sees it: what `aioqueue top` draws. Made once for all who watch that.

    Where there are too many queues or workers to tell of all, the busiest queues are told of, and how many of both were
    left out. `idle_found` is how often a worker was found idle beside work that it might have had, since the broker's
    start: more than 0 is a defect of the broker. The journal's log goes from position `base` on, and has `log_bytes`.
    Of the latest thousand steps of the broker's engine 99 in 100 took no more than `step_us_p99` of the processor.
    """

    at_ms: int
    started_ms: int
    position: int
    sessions: int
    queues: Annotated[list[QueueStatistics], Meta(max_length=ITEMS_A_FRAME_MAX)]
    workers: Annotated[list[WorkerStatistics], Meta(max_length=ITEMS_A_FRAME_MAX)]
    running: Annotated[list[RunningJob], Meta(max_length=ITEMS_A_FRAME_MAX)]
    failures: Annotated[list[RecentFailure], Meta(max_length=ITEMS_A_FRAME_MAX)]
    idle_found: int = 0
    admission: AdmissionStatistics | None = None
    queues_left_out: int = 0
    workers_left_out: int = 0
    base: int = 0
    log_bytes: int = 0
    step_us_p99: int = 0
