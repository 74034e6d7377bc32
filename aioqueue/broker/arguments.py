"""The arguments of jobs for whoever looks at them, as far as they are kept: read where they lie, never decoded.

A job that lives has them in memory, or in the journal; one that did not succeed keeps them with its end, and of a
success none are kept. Those over the bound of who asks are not sent, only how long they are. What cannot be read is
left out, and said in the broker's log: the rest of the job can still be shown. Called by `peers.asking`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from msgspec.structs import replace

from aioqueue.broker.services import Services
from aioqueue.broker.translate.views import with_kept
from aioqueue.core.places import length_in
from aioqueue.errors import JournalError
from aioqueue.model.views import JobInfo

log = logging.getLogger(__name__)


async def with_arguments(services: Services, infos: Sequence[JobInfo], bytes_max: int) -> list[JobInfo]:
    """These jobs with their arguments of at most `bytes_max` bytes, as they are now; for 0 as they were given."""
    if not bytes_max:
        return list(infos)
    told = list(infos)
    wanted: list[int] = []
    for index, info in enumerate(infos):
        job = services.engine.partition.state.jobs.get(info.id)
        if job is None:
            # One that has ended since it was looked at, or was found as such.
            if not info.args_bytes and (finished := services.overlay.find(info.id)) is not None:
                told[index] = with_kept(info, finished, bytes_max)
            continue
        size = length_in(job.place)
        body = services.bodies.find(info.id) if size <= bytes_max else None
        told[index] = replace(info, args=body or b"", args_bytes=size)
        if body is None and 0 < size <= bytes_max:
            wanted.append(index)
    if wanted:
        await _read(services, told, wanted)
    return told


async def _read(services: Services, told: list[JobInfo], wanted: Sequence[int]) -> None:
    """Add those that are in the journal only."""
    jobs = services.engine.partition.state.jobs
    found = [(index, jobs[told[index].id]) for index in wanted]
    # What is being carried on lies in a batch that is not written yet; whoever asks again will see it.
    durable = [(index, job) for index, job in found if job.home <= services.engine.position]
    try:
        # Nobody trims what is being read from the moment of this call, and a living job's home is never trimmed.
        bodies = await services.bodies.read([(job.home, job.place) for _, job in durable])
    except JournalError as error:
        log.error("the arguments of jobs cannot be read: %s", error)
        return
    for (index, _), body in zip(durable, bodies, strict=True):
        told[index] = replace(told[index], args=body)
