"""A progress of the demo without its processes: jobs that nobody runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from aioqueue import Queue
from aioqueue.client.info import JobInfo
from aioqueue.demo.jobs import resize
from aioqueue.demo.progress import Progress, Wanted

Told = Callable[..., JobInfo]


@pytest.fixture
async def progress() -> AsyncIterator[Progress]:
    """Three jobs that a real broker has accepted."""
    async with Queue("memory:", worker=False) as queue:
        photos = [Path("/photos/cat[bold].png"), Path("/photos/cup.png"), Path("/photos/moon.png")]
        jobs = await queue.submit_many(resize.call(photo, 10, Path("/out")) for photo in photos)
        wanted = [Wanted(photo, "10 px", job) for photo, job in zip(photos, jobs, strict=True)]
        yield Progress("tcp://127.0.0.1:1", 2, {one.job.id: one for one in wanted})


@pytest.fixture
def told() -> Told:
    """Makes what a broker says of a job."""

    def tell(id: str, state: str, **known: Any) -> JobInfo:
        moments = dict.fromkeys(["submitted_ms", "due_ms", "started_ms", "finished_ms"], 0)
        counts = dict.fromkeys(["priority", "failures", "crashes", "runs", "generation"], 0)
        words = {"task": "demo.resize", "queue": "default", "namespace": "default", "worker": "", "own_id": None}
        rest: dict[str, Any] = {"headers": {}, "failure": None, "attempts": ()}
        return JobInfo(**{"id": id, "state": state, **moments, **counts, **words, **rest, **known})

    return tell
