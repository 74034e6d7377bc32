"""A worker process on its own side of the channel, where the supervisor's tests do not reach."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import msgspec
import pytest

from aioqueue.client.queue import Queue
from aioqueue.errors import BrokerUnavailable
from aioqueue.worker import child as child_module
from aioqueue.worker.channel import ChildEnd, Stop, Work, WorkerOptions
from aioqueue.worker.child import Child, serves


def test_a_stop_that_comes_after_the_end_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[int] = []
    monkeypatch.setattr(child_module, "_exit_after", lambda seconds, code: ends.append(code))
    ours, theirs = socket.socketpair()
    channel = ChildEnd(theirs)
    child = Child(Work(WorkerOptions(target="shop:queue"), bytes(16), "w"), Queue("tcp://127.0.0.1:1"), channel)
    loop = asyncio.new_event_loop()
    loop.close()
    ours.sendall(msgspec.json.encode(Stop(hurry=True)) + b"\n")
    ours.close()

    child._listen(loop)

    assert ends == [1]
    channel.close()


def test_what_a_worker_serves_is_said_with_some_of_its_names() -> None:
    assert serves(None, []) == "all queues; no tasks"
    assert serves(["mail"], ["shop.add", "shop.send"]) == "queue mail; tasks shop.add, shop.send"
    many = serves(["default", "mail"], [f"task-{number}" for number in range(1_000)])
    assert many.startswith("queues default, mail; tasks task-0, task-1, ")
    assert many.endswith(", task-19 and 980 more")


async def test_a_worker_that_waits_for_its_broker_says_why_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    near, far = socket.socketpair()
    with near, far:
        child = Child(
            Work(WorkerOptions(target="shop:queue"), bytes(16), "w"), Queue("tcp://127.0.0.1:1"), ChildEnd(near)
        )
        troubles = iter(["refused", "refused", "no route", "no route", "no route"])

        async def enter(queue: Queue) -> Queue:
            reason = next(troubles, None)
            if reason is not None:
                raise BrokerUnavailable(url=queue.url, reason=reason)
            return queue

        monkeypatch.setattr(Queue, "__aenter__", enter)
        async with AsyncExitStack() as stack:
            assert await child._connect(stack)
    told = [record.getMessage() for record in caplog.records if "trying again" in record.getMessage()]
    assert [message.partition(": ")[2] for message in told] == ["refused; trying again", "no route; trying again"]
