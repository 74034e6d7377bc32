"""Lines that are split and joined: how ready jobs stand, which is of this process only (see `lanes.split`)."""

from __future__ import annotations

from typing import Final

from aioqueue.core import events as e
from aioqueue.core.apply.moment import Moment, Rows
from aioqueue.core.state import State


def job_parted(state: State, event: e.JobParted, body: bytes | None, at: Moment) -> None:
    job = state.jobs[event.id]
    queue = state.queues[job.spec.key]
    new = queue.part(job)
    state.split[job.spec.key] = queue
    if new is not None:
        for taker in queue.takers:
            taker.line_began(new, job.spec.fit)


def lane_joined(state: State, event: e.LaneJoined, body: bytes | None, at: Moment) -> None:
    state.split.pop((event.namespace, event.queue)).join()


ROWS: Final[Rows] = {
    e.JobParted: job_parted,
    e.LaneJoined: lane_joined,
}
