"""A worker process on its own side of the channel, where the supervisor's tests do not reach."""

from __future__ import annotations

import asyncio
import socket

import msgspec
import pytest

from aioqueue.client.queue import Queue
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
