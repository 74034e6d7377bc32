"""A worker's side: capacity, runs and their ends, resuming, and the heartbeat beside them."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

from aioqueue.limits import (
    DEAF_NAMED_MAX,
    ITEMS_A_FRAME_MAX,
    LABELS_MAX,
    QUEUES_A_WORKER_MAX,
    SLOTS_MAX,
    TASK_BODY_BYTES_MAX,
    TASK_DIGEST_BYTES,
    TASKS_A_WORKER_MAX,
)
from aioqueue.model.states import Cause
from aioqueue.model.views import Block
from aioqueue.protocol.messages.base import Array, Body, Extra, Headers, JobId, Name, Number, Text


class RunEnd(IntEnum):
    """How a worker says that a run ended.

    `MISFIT`: the arguments do not fit the task as this worker has it. The job is given back without an attempt, and
    this connection gets no more of its task. Said only to a broker with `CONTROL`. 4 is reserved for later.
    """

    SUCCEEDED = 1
    FAILED = 2
    RELEASED = 3
    MISFIT = 5


class SettleAnswer(IntEnum):
    """`OK`: recorded now. `ALREADY`: was recorded before. `STALE`: the lease was not yours any more."""

    OK = 1
    ALREADY = 2
    STALE = 3


class Verdict(IntEnum):
    """What a resuming worker does with a run it holds."""

    KEEP = 1
    CANCEL = 2
    STALE = 3


class HeldRun(Array):
    """A run that a resuming worker still holds."""

    job: JobId
    fence: Number


class SettleItem(Array):
    """The end of one run. `body` is its result or its `Failure`; `retry_after_ms` is reserved for later."""

    job: JobId
    fence: Number
    end: RunEnd
    body: Body = b""
    retry: bool = True


class Resume(Struct, array_like=True, tag=50, gc=False):
    """After `Welcome` with `fresh` false: every run held, and every settle not yet answered.

    Leases of the session that are not named here are given back in place.
    """

    request: Number
    held: Annotated[list[HeldRun], Meta(max_length=SLOTS_MAX)] = []
    settles: Annotated[list[SettleItem], Meta(max_length=ITEMS_A_FRAME_MAX)] = []


class Resumed(Struct, array_like=True, tag=51, gc=False):
    """A verdict for each held run and an answer for each settle, in their order."""

    request: Number
    verdicts: Annotated[list[Verdict], Meta(max_length=SLOTS_MAX)] = []
    answers: Annotated[list[SettleAnswer], Meta(max_length=ITEMS_A_FRAME_MAX)] = []
    position: Number = 0


class SlotClass(IntEnum):
    """Which slots of a worker the runs of a task take: those of coroutines and threads, or those of processes."""

    SHARED = 0
    PROCESS = 1


class DeclaredTask(Array):
    """A task that a worker knows. `digest` is that of its description, which `DescribeTasks` carries."""

    name: Name
    digest: Annotated[bytes, Meta(max_length=TASK_DIGEST_BYTES)] = b""
    slots: SlotClass = SlotClass.SHARED


class Declare(Struct, array_like=True, tag=70, gc=False):
    """What a worker can run: jobs of these tasks whose labels it has, and of all queues if it says so.

    Said after `Resume` and before the first `Capacity`, and again when it learns of another task; each replaces the one
    before. `up_ms` is how long its process has run. A worker that declares nothing is given jobs of any task.
    """

    request: Number
    up_ms: Number = 0
    tasks: Annotated[list[DeclaredTask], Meta(max_length=TASKS_A_WORKER_MAX)] = []
    labels: Annotated[list[Name], Meta(max_length=LABELS_MAX)] = []
    all_queues: bool = False


class TaskBody(Array):
    """The description of a declared task: a packed record."""

    name: Name
    body: Annotated[bytes, Meta(max_length=TASK_BODY_BYTES_MAX)]


class DescribeTasks(Struct, array_like=True, tag=59, gc=False):
    """The descriptions that `Declared` asked for, in as many messages as it takes."""

    request: Number
    tasks: Annotated[list[TaskBody], Meta(max_length=ITEMS_A_FRAME_MAX)] = []


class Declared(Struct, array_like=True, tag=71, gc=False):
    """The answer to `Declare` and `DescribeTasks`. `wanted` are the tasks, by their index in `Declare`, whose
    descriptions the broker does not have.
    """

    request: Number
    position: Number = 0
    wanted: Annotated[list[Number], Meta(max_length=TASKS_A_WORKER_MAX)] = []


class Capacity(Struct, array_like=True, tag=52, gc=False):
    """How many runs this worker will hold at once, and of which queues. Zero slots: no new ones.

    `process_slots` is how many of a process of their own, beside `slots`. `number` is reserved, and 0.
    """

    slots: Annotated[int, Meta(ge=0, le=SLOTS_MAX)]
    queues: Annotated[list[Name], Meta(max_length=QUEUES_A_WORKER_MAX)] = []
    number: Number = 0
    process_slots: Annotated[int, Meta(ge=0, le=SLOTS_MAX)] = 0


class DeliverItem(Array):
    """One run to do. `inputs` are bodies for places in the arguments, empty until there are dependencies.

    `extra` has the job's deadline: what is left until then, and the instant.
    """

    job: JobId
    fence: Number
    run: Number
    task: Name
    args: Body
    headers: Headers = b""
    inputs: Annotated[list[bytes], Meta(max_length=ITEMS_A_FRAME_MAX)] = []
    extra: Extra | None = None
    attempt: Number = 1
    crashes: Number = 0
    timeout_ms: Number = 0
    queue: Name = ""


class Deliver(Struct, array_like=True, tag=53, gc=False):
    items: Annotated[list[DeliverItem], Meta(max_length=ITEMS_A_FRAME_MAX)]


class Settle(Struct, array_like=True, tag=54, gc=False):
    """Ends of runs. `follows` asks to be told what becomes of the jobs whose run failed."""

    request: Number
    items: Annotated[list[SettleItem], Meta(max_length=ITEMS_A_FRAME_MAX)]
    follows: bool = False


class Following(Array):
    """What became of a job whose run failed: its `state`, its failures of so many attempts, and when it is tried again.

    `in_ms` is from now on, 0 for at once, or for a job that is over.
    """

    job: JobId
    state: Number
    failures: Number
    attempts: Number
    in_ms: Number = 0


class Settled(Struct, array_like=True, tag=55, gc=False):
    """The answer to `Settle`; `answers` is empty when all were `OK`.

    `following` is there where it was asked for: one for each failed run whose job can still be seen.
    """

    request: Number
    position: Number
    answers: Annotated[list[SettleAnswer], Meta(max_length=ITEMS_A_FRAME_MAX)] = []
    following: Annotated[list[Following], Meta(max_length=ITEMS_A_FRAME_MAX)] = []


class Beat(Struct, array_like=True, tag=56, gc=False):
    """On a heartbeat connection: the worker lives.

    `lag_ms` is how late its event loop ran at worst since the last beat, `blocked` what it stands still in, and `deaf`
    how many runs heeded no cancellation and go on; `deaf_jobs` are some of their jobs.
    """

    lag_ms: Number = 0
    blocked: Block | None = None
    deaf: Number = 0
    deaf_jobs: Annotated[list[JobId], Meta(max_length=DEAF_NAMED_MAX)] = []


class WorkerDied(Struct, array_like=True, tag=57, gc=False):
    """On a heartbeat connection: the worker's process, or all that it still ran, has ended without a goodbye.

    `Pong` with the same `number` is said when that is recorded; 0 asks for none. `leaving`: it was told to stop, so
    what it holds is given back in place and is no crash.
    """

    reason: Text = ""
    number: Number = 0
    leaving: bool = False


class CancelRun(Struct, array_like=True, tag=58, gc=False):
    """Cancel was asked of a job, or its deadline passed: the worker stops this run, and tells its end like any."""

    job: JobId
    fence: Number
    cause: Cause = Cause.CANCEL
