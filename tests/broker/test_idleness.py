"""A worker that is idle beside work is told of and set going; nobody else is accused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from aioqueue.broker import broker as broker_module
from aioqueue.core import partition
from aioqueue.core.leasing import decide_leases, idle_beside_work
from aioqueue.journal.memory import Faults
from aioqueue.protocol import messages as m
from tests.broker.conftest import House, item, running
from tests.support.patience import eventually


def nobody_leases(*state: Any) -> Iterator[Any]:
    return iter(())


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch looks every few milliseconds."""
    monkeypatch.setattr(broker_module, "IDLE_MS", 20)


async def test_a_broker_that_forgets_to_lease_is_found_out_and_set_going(
    house: House, often: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(house) as at:
        worker, client = await at.worker(3), await at.peer()
        monkeypatch.setattr(partition, "decide_leases", nobody_leases)
        await client.submit(item(), item())
        await eventually(lambda: "this is a defect of aioqueue" in caplog.text)
        assert f"session {worker.welcome.session}) has 3 free slots beside 2 ready jobs" in caplog.text  # type: ignore[attr-defined]
        # What it missed once it makes up for, without another command.
        monkeypatch.setattr(partition, "decide_leases", decide_leases)
        assert len(await worker.runs()) == 2
        client.say(m.Watch())
        assert (await client.hear(m.StatisticsUpdate)).statistics.idle_found > 0


async def test_nobody_is_accused_where_all_is_well(house: House, often: None, caplog: pytest.LogCaptureFixture) -> None:
    async with running(house) as at:
        client = await at.peer()
        busy, elsewhere = await at.worker(1), await at.worker(5, "elsewhere")
        draining = await at.worker(5)
        draining.say(m.Capacity(0, ["default"]))
        await client.submit(item(), item())
        await busy.runs()
        for _ in range(10):
            await asyncio.sleep(0.02)
        assert not list(idle_beside_work(at.broker.engine.partition.state))
        assert await elsewhere.heard_nothing()
        assert "defect" not in caplog.text


async def test_a_journal_that_stalls_is_no_idleness(
    house: House, often: None, caplog: pytest.LogCaptureFixture
) -> None:
    faults, gate = Faults(), asyncio.Event()
    async with running(house, faults) as at:
        client = await at.peer()
        faults.delay = gate.wait
        client.say(m.Submit(client.ask(), [item()]))
        worker = await at.connect()
        worker.say(m.Hello(1, 1, m.Role.WORKER, bytes(16)))
        for _ in range(10):
            await asyncio.sleep(0.02)
        gate.set()
        await worker.hear(m.Welcome)
        worker.say(m.Capacity(1, ["default"]))
        await worker.runs()
        assert "defect" not in caplog.text
