"""A broker with a tiny log, for the test that kills it: jobs come and go, and every tenth stays. Speaks lines."""

from __future__ import annotations

import asyncio
import sys

from aioqueue.broker.opening import open_broker
from aioqueue.broker.storage import JournalBounds
from aioqueue.core import commands as c
from aioqueue.ground import Ground
from aioqueue.transport.address import SqliteAddress
from tests.support.churn import ask
from tests.support.scene import NAMESPACE, job_id, new_job

BOUNDS = JournalBounds(16_000, history_bytes=200_000)


async def live(path: str, number: int) -> None:
    """Tell of each job once its submit is durable, and once it is over; until killed."""
    async with open_broker(SqliteAddress(path), ground=Ground(), bounds=BOUNDS) as broker:
        while True:
            number += 1
            await ask(broker, c.SubmitJobs([new_job(number, body=b"%d;" % number * 50)]))
            print("there", number, flush=True)
            if number % 10:
                await ask(broker, c.CancelJob(job_id(number), NAMESPACE))
                print("over", number, flush=True)


if __name__ == "__main__":
    asyncio.run(live(sys.argv[1], int(sys.argv[2])))
