"""A program that submits and waits, to be killed: what it was told it has written down before it does anything else.

`acked JOB RESULT` stands in the log of all processes as soon as a submit was acknowledged, with the result that the job
must have; `seen JOB RESULT` when an end was told. So whoever looks after its death knows what was promised to it.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import Any, Final

from aioqueue import BrokerUnavailable, Job, JobFailed, Queue
from tests.support.logged_app import mark_in, pause, step

# Jobs that a producer has under way.
WINDOW: Final = 5


def main() -> None:
    """`URL LOG SEED`, until it is killed."""
    url, log, seed = sys.argv[1:]
    asyncio.run(produce(url, Path(log), random.Random(seed)))


async def produce(url: str, log: Path, chance: random.Random) -> None:
    """Submit without end."""
    while True:
        try:
            async with Queue(url, timeout=None) as queue, asyncio.TaskGroup() as tasks:
                for lane in range(WINDOW):
                    tasks.create_task(_lane(queue, log, random.Random(f"{chance.random()}/{lane}")))
        except BrokerUnavailable:
            # It is being killed as well.
            continue


async def _lane(queue: Queue, log: Path, chance: random.Random) -> None:
    while True:
        job, result = await submit_one(queue, chance)
        mark_in(log, "acked", job.id, result)
        mark_in(log, "seen", job.id, await end_of(job))


async def submit_one(queue: Queue, chance: random.Random) -> tuple[Job[Any], str]:
    """Some job, acknowledged, and the result that it must have."""
    number = chance.randrange(1_000_000)
    if chance.random() < 0.3:
        return await queue.submit(step, number), str(number * 2)
    return await queue.submit(pause, number, round(chance.uniform(0.02, 0.4), 3)), str(number * 2)


async def end_of(job: Job[Any]) -> str:
    """The end that the job's client is told: its result as text, or `failed`."""
    try:
        return str(await job)
    except JobFailed:
        return "failed"


if __name__ == "__main__":
    main()
