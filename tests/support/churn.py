"""Jobs that come and go at a broker without a connection, one batch each, so that its log grows and is cut."""

from __future__ import annotations

import asyncio
from typing import Any

from aioqueue.broker.broker import Broker
from aioqueue.core import commands as c
from tests.support.scene import NAMESPACE, job_id, new_job


async def ask(broker: Broker, command: c.Command) -> Any:
    """The answer to a command, when it is durable; a refusal is raised."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    broker.engine.post(command, lambda asker, question, reply: answer.set_result(reply))
    reply = await answer
    if isinstance(reply, Exception):
        raise reply
    return reply


async def churn(broker: Broker, numbers: range, *, living: bool = False, size: int = 300) -> None:
    """Submit these jobs, and cancel each before the next comes, if they are not to stay `living`."""
    for number in numbers:
        await ask(broker, c.SubmitJobs([new_job(number, body=bytes([number % 251]) * size)]))
        if not living:
            await ask(broker, c.CancelJob(job_id(number), NAMESPACE))
