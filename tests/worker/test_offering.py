"""What a worker tells its broker that it can run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aioqueue import Queue
from aioqueue.client.described import describe
from aioqueue.errors import BadOption
from aioqueue.limits import FRAME_BYTES_TARGET, TASK_BODY_BYTES_MAX
from aioqueue.protocol import messages as m
from aioqueue.worker import offering
from aioqueue.worker.offering import Offering

CONTROL = m.Capability.CONTROL
OLDER = m.Capability(0)

Make = Callable[..., Offering]


async def double(number: int) -> int:
    """Another process finds it by its name."""
    return 2 * number


@pytest.fixture
def make(queue: Queue) -> Make:
    """`make(slots=2)` gives what a worker of `queue` offers."""

    def offering(**options: Any) -> Offering:
        given = {"slots": 5, "process_slots": 2, "queues": None, "labels": ()} | options
        return Offering(queue.tasks, named_queues=queue.queues, up_ms=lambda: 1_500, **given)

    return offering


def test_every_task_is_declared_with_its_description_and_the_class_of_its_slots(queue: Queue, make: Make) -> None:
    async def send(to: str) -> None: ...

    task, heavy = queue.task(send, name="mail.send"), queue.task(double, name="heavy", executor="process")
    assert make(labels=["gpu"]).declaration(7) == m.Declare(
        7,
        1_500,
        [
            m.DeclaredTask("mail.send", describe(task)[0], m.SlotClass.SHARED),
            m.DeclaredTask("heavy", describe(heavy)[0], m.SlotClass.PROCESS),
        ],
        ["gpu"],
        True,
    )


def test_named_queues_are_those_of_the_capacity_and_no_others(queue: Queue, make: Make) -> None:
    offered = make(queues=["mail", "video"])
    assert not offered.declaration(1).all_queues
    assert offered.capacity(CONTROL) == offered.capacity(OLDER) == m.Capacity(5, ["mail", "video"])


def test_slots_of_processes_are_offered_only_where_a_task_has_them(queue: Queue, make: Make) -> None:
    assert make().capacity(CONTROL).process_slots == 0
    queue.task(double, name="heavy", executor="process")
    assert make().capacity(CONTROL) == m.Capacity(5, [], 0, 2)


def test_an_older_broker_is_told_the_queues_of_the_tasks_and_one_class_of_slots(queue: Queue, make: Make) -> None:
    queue.task(double, name="heavy", executor="process", queue="heavy")
    assert make().capacity(OLDER) == m.Capacity(5, ["default", "heavy"])


def test_who_stops_offers_nothing(queue: Queue, make: Make) -> None:
    queue.task(double, name="heavy", executor="process")
    offered = make()
    offered.drain()
    assert offered.capacity(CONTROL) == m.Capacity(0, [])


def test_only_what_is_wanted_is_described_and_an_index_of_nothing_is_passed_over(queue: Queue, make: Make) -> None:
    task = queue.task(double, name="heavy")
    offered = make()
    offered.declaration(1)
    assert list(offered.descriptions([0, 7])) == [[m.TaskBody("heavy", describe(task)[1])]]
    assert list(offered.descriptions([])) == []


def test_descriptions_come_in_parts_that_a_frame_has_room_for(queue: Queue, make: Make) -> None:
    for number in range(100):
        queue.task(double, name=f"t{number}", headers={"h": "x" * (TASK_BODY_BYTES_MAX - 500)})
    offered = make()
    offered.declaration(1)
    parts = list(offered.descriptions(range(100)))
    assert [told.name for part in parts for told in part] == [f"t{number}" for number in range(100)]
    assert all(sum(len(told.body) for told in part) <= FRAME_BYTES_TARGET for part in parts)


def test_a_task_whose_description_is_too_large_is_declared_all_the_same(
    queue: Queue, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    queue.task(double, name="wordy", headers={"h": "x" * TASK_BODY_BYTES_MAX})
    offered = make()
    assert offered.declaration(1).tasks == [m.DeclaredTask("wordy")]
    assert list(offered.descriptions([0])) == []
    assert "task wordy can be submitted by its name without its options only" in caplog.text


def test_more_tasks_than_can_be_declared_are_refused(queue: Queue, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offering, "TASKS_A_WORKER_MAX", 2)
    for number in range(3):
        queue.task(double, name=f"t{number}")
    with pytest.raises(BadOption, match="at most 2"):
        make()
