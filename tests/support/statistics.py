"""Statistics by the few numbers that a test is about."""

from __future__ import annotations

from collections.abc import Sequence

from aioqueue.model.views import QueueStatistics, RecentFailure, RunningJob, Statistics, WorkerStatistics

JOB = bytes.fromhex("018bcfe568007a3c8000000000000001")
JOB_TEXT = "018bcfe5-6800-7a3c-8000-000000000001"
NOW_MS = 1_700_000_000_000


def queue(name: str = "mail", **numbers: int) -> QueueStatistics:
    counts = dict.fromkeys(QueueStatistics.__struct_fields__[2:], 0)
    return QueueStatistics("default", name, **{**counts, **numbers})


def statistics(
    *queues: QueueStatistics,
    at_ms: int = NOW_MS,
    started_ms: int = NOW_MS - 200_000,
    workers: Sequence[WorkerStatistics] = (),
    running: Sequence[RunningJob] = (),
    failures: Sequence[RecentFailure] = (),
) -> Statistics:
    return Statistics(at_ms, started_ms, 77, 2, list(queues), list(workers), list(running), list(failures))
